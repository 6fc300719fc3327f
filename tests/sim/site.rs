//! The site of a run: an extension for each phone, a ring group, flows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dialtone_core::site::{Extension, Flow, RingGroup, Ringback, Site, Step};
use dialtone_core::{Cause, Codec, NodeId};
use dialtone_signaling::auth::{Accounts, NonceKey};
use dialtone_signaling::registrar::{ContactPolicy, ExpiryPolicy, GruuKey, ReachPolicy};
use dialtone_signaling::stack::{StackConfig, Subscriber, Subscribers};
use dialtone_signaling::transaction::Timing;
use dialtone_signaling::ua::{CallPolicy, Identity, IdentityPolicy};

use super::phone::REALM;
use super::rng::Rng;
use super::swarm::Swarm;

pub fn numbers(swarm: &Swarm) -> Vec<String> {
    (1..=swarm.phones).map(|at| (1000 + at).to_string()).collect()
}

/// Whose each device is.
pub fn devices(swarm: &Swarm) -> Vec<String> {
    let further = swarm.devices.iter().map(|at| (1001 + at).to_string());
    numbers(swarm).into_iter().chain(further).collect()
}

/// The whole site, or one without its last extension and its group.
pub fn site(swarm: &Swarm, whole: bool) -> (Arc<Site>, Arc<Subscribers>) {
    let mut numbers = numbers(swarm);
    if !whole {
        numbers.pop();
    }
    let extension = |number: &String| {
        let extension = Extension {
            number: number.clone(),
            name: format!("Phone {number}"),
            codecs: Codec::VOICE.to_vec(),
            ring_timeout: Duration::from_secs(25),
            pickup_groups: vec!["desk".to_owned()],
        };
        (number.clone(), extension)
    };
    let group = RingGroup {
        number: "500".into(),
        name: "Front desk".into(),
        members: numbers.iter().take(3).cloned().collect(),
        ring_timeout: Duration::from_secs(20),
        ringback: *Rng::new(swarm.seed, 2).pick(&[Ringback::Tone, Ringback::Phone, Ringback::Member]),
    };
    let flow = |number: &str, steps: Vec<Step>| {
        (number.to_owned(), Flow { number: number.into(), name: number.into(), steps })
    };
    let greeting = vec![
        Step::Answer,
        Step::Play { prompt: "welcome".into() },
        Step::HangUp { cause: Cause::NormalClearing },
    ];
    let site = Site {
        name: "Simulated".into(),
        extensions: numbers.iter().map(extension).collect(),
        ring_groups: if whole { BTreeMap::from([("500".to_owned(), group)]) } else { BTreeMap::new() },
        flows: BTreeMap::from([
            flow("*43", vec![Step::Answer, Step::Echo]),
            flow("*44", vec![Step::Answer, Step::Tone { hz: 1004, level_dbm0: -10 }]),
            flow("900", greeting),
        ]),
    };
    (Arc::new(site), subscribers(swarm, &numbers))
}

fn subscribers(swarm: &Swarm, numbers: &[String]) -> Arc<Subscribers> {
    let reach = ReachPolicy { qualify: Duration::from_secs(swarm.qualify_s), ..ReachPolicy::default() };
    let subscriber = |number: &String| {
        let trunk = swarm.trunk && number == "1001";
        let subscriber = Subscriber {
            name: format!("Phone {number}"),
            contacts: ContactPolicy::default(),
            reach: reach.clone(),
            identity: IdentityPolicy::new(trunk, None),
            ..Subscriber::default()
        };
        (number.clone(), subscriber)
    };
    let passwords = numbers.iter().map(|number| (number.clone(), "secret"));
    Arc::new(Subscribers {
        accounts: Arc::new(Accounts::new(REALM, &[], passwords)),
        by_number: numbers.iter().map(subscriber).collect(),
    })
}

pub fn nonce_key() -> NonceKey {
    NonceKey::new([1; 32])
}

pub fn config(swarm: &Swarm) -> StackConfig {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&swarm.seed.to_be_bytes());
    StackConfig {
        identity: Identity {
            domain: REALM.into(),
            aliases: Vec::new(),
            product: "Dialtone".into(),
            net: Default::default(),
        },
        timing: Timing::default(),
        calls: CallPolicy {
            session_expires: Duration::from_secs(swarm.session_s),
            timer_c: Duration::from_secs(60),
            ..CallPolicy::default()
        },
        expiry: ExpiryPolicy::default(),
        transactions_max: 400,
        legs_max: 60,
        node: NodeId(1),
        boot: 1,
        seed,
        nonce_key: nonce_key(),
        gruu_key: GruuKey::new([2; 32]),
        dns: Default::default(),
    }
}
