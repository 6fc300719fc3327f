//! The site that the scenarios play on: the sample site, cut to four extensions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dialtone_core::site::{Extension, Flow, RingGroup, Ringback, Site, Step};
use dialtone_core::{Cause, Codec, NodeId};
use dialtone_signaling::auth::{Accounts, NonceKey};
use dialtone_signaling::registrar::{ContactPolicy, ExpiryPolicy, GruuKey, ReachPolicy};
use dialtone_signaling::stack::{StackConfig, Subscriber, Subscribers};
use dialtone_signaling::transaction::Timing;
use dialtone_signaling::ua::{CallPolicy, Identity, IdentityPolicy, Reliability};

pub const REALM: &str = "pbx.example";

const PEOPLE: [(&str, &str); 4] = [("1001", "Alma"), ("1002", "Ben"), ("1003", "Ann"), ("1004", "Bob")];

/// 1001 to 1004, ring group 500 of 1001 and 1002, echo *43, tone *44, welcome 900.
pub fn sample() -> Site {
    let extension = |(number, name): (&str, &str)| {
        let ring_timeout = Duration::from_secs(30);
        let codecs = Codec::VOICE.to_vec();
        // Ben and Ann sit at one desk.
        let pickup_groups =
            if ["1002", "1003"].contains(&number) { vec!["desk".to_owned()] } else { Vec::new() };
        let extension =
            Extension { number: number.into(), name: name.into(), codecs, ring_timeout, pickup_groups };
        (number.to_owned(), extension)
    };
    let flow = |number: &str, name: &str, steps: Vec<Step>| {
        (number.to_owned(), Flow { number: number.into(), name: name.into(), steps })
    };
    let group = RingGroup {
        number: "500".into(),
        name: "Front desk".into(),
        members: vec!["1001".into(), "1002".into()],
        ring_timeout: Duration::from_secs(30),
        ringback: Ringback::Tone,
    };
    Site {
        name: "Sample site".into(),
        extensions: PEOPLE.into_iter().map(extension).collect(),
        ring_groups: BTreeMap::from([("500".to_owned(), group)]),
        flows: BTreeMap::from([
            flow("*43", "Echo test", vec![Step::Answer, Step::Echo]),
            flow("*44", "Test tone", vec![Step::Answer, Step::Tone { hz: 1004, level_dbm0: -10 }]),
            flow(
                "900",
                "Welcome",
                vec![
                    Step::Answer,
                    Step::Play { prompt: "welcome".into() },
                    Step::HangUp { cause: Cause::NormalClearing },
                ],
            ),
        ]),
    }
}

pub fn subscribers(
    contacts: ContactPolicy,
    reliability: Reliability,
    reach: ReachPolicy,
    identities: &[(&str, IdentityPolicy)],
) -> Arc<Subscribers> {
    let passwords = PEOPLE.map(|(number, _)| (number, format!("dialtone-{number}")));
    let subscriber = |(number, name): (&str, &str)| {
        let identity = identities.iter().find(|(whose, _)| *whose == number).map(|(_, policy)| *policy);
        let (reach, identity) = (reach.clone(), identity.unwrap_or_default());
        (number.to_owned(), Subscriber { name: name.into(), contacts, reliability, reach, identity })
    };
    Arc::new(Subscribers {
        accounts: Arc::new(Accounts::new(REALM, &[], passwords)),
        by_number: PEOPLE.into_iter().map(subscriber).collect(),
    })
}

pub fn nonce_key() -> NonceKey {
    NonceKey::new([1; 32])
}

pub fn config() -> StackConfig {
    StackConfig {
        identity: Identity {
            domain: REALM.into(),
            aliases: Vec::new(),
            product: "Dialtone".into(),
            net: Default::default(),
        },
        timing: Timing::default(),
        dns: Default::default(),
        calls: CallPolicy::default(),
        expiry: ExpiryPolicy::default(),
        transactions_max: 1000,
        legs_max: 100,
        node: NodeId(1),
        boot: 1,
        seed: [7; 32],
        nonce_key: nonce_key(),
        gruu_key: GruuKey::new([2; 32]),
    }
}
