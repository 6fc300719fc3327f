//! What a seed makes of a run: how many phones, what the network does to messages, which behaviours and faults
//! are switched on. A random subset each time, because faults that hide each other are never met together.

use super::rng::Rng;

/// What a phone may begin by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Call,
    CallGroup,
    CallFlow,
    CallNobody,
    HangUp,
    Cancel,
    Hold,
    Resume,
    /// A re-INVITE without an offer.
    AskForOffer,
    ChangeCodec,
    Update,
    UpdateWithOffer,
    BlindTransfer,
    /// Holds, calls somebody else, and hands over.
    Consult,
    AttendedTransfer,
    /// Takes over a call of another phone.
    Replace,
    Info,
    Options,
    WrongPassword,
}

const ACTS: [(Act, u64); 19] = [
    (Act::Call, 10),
    (Act::CallGroup, 3),
    (Act::CallFlow, 2),
    (Act::CallNobody, 1),
    (Act::HangUp, 5),
    (Act::Cancel, 3),
    (Act::Hold, 4),
    (Act::Resume, 4),
    (Act::AskForOffer, 2),
    (Act::ChangeCodec, 2),
    (Act::Update, 2),
    (Act::UpdateWithOffer, 2),
    (Act::BlindTransfer, 3),
    (Act::Consult, 4),
    (Act::AttendedTransfer, 5),
    (Act::Replace, 1),
    (Act::Info, 1),
    (Act::Options, 1),
    (Act::WrongPassword, 1),
];

/// What may go wrong around the phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A phone hears and is heard by nobody for a while.
    Partition,
    /// A phone starts anew: it has forgotten its calls and has another port.
    Restart,
    /// The router in front of a phone gives it another port.
    Rebind,
    /// A connection breaks.
    FlowDies,
    /// An extension and the group go or come.
    Reload,
    /// Records are not written, or are again.
    Congested,
    /// Somebody outside ends a call.
    HangUpCommand,
    /// Somebody outside ends all calls.
    HangUpAll,
    Drain,
    /// No sound comes from a phone.
    Mute,
}

const FAULTS: [(Fault, u64); 10] = [
    (Fault::Partition, 4),
    (Fault::Restart, 4),
    (Fault::Rebind, 4),
    (Fault::FlowDies, 4),
    (Fault::Reload, 2),
    (Fault::Congested, 1),
    (Fault::HangUpCommand, 3),
    (Fault::HangUpAll, 1),
    (Fault::Drain, 1),
    (Fault::Mute, 2),
];

/// Of a thousand messages, and the milliseconds that each takes.
#[derive(Clone, Debug)]
pub struct Network {
    pub loss: u64,
    pub duplicate: u64,
    /// Messages that take much longer than others, and are overtaken.
    pub late: u64,
    pub late_ms: u64,
    pub delay_ms: (u64, u64),
}

/// How phones answer, each by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Answer,
    AnswerAtOnce,
    RingOn,
    EarlyMedia,
    Reliable,
    Busy,
    Decline,
    NotHere,
    Redirect,
    Odd,
}

const MANNERS: [(Manner, u64); 10] = [
    (Manner::Answer, 12),
    (Manner::AnswerAtOnce, 2),
    (Manner::RingOn, 2),
    (Manner::EarlyMedia, 2),
    (Manner::Reliable, 3),
    (Manner::Busy, 1),
    (Manner::Decline, 1),
    (Manner::NotHere, 1),
    (Manner::Redirect, 1),
    (Manner::Odd, 1),
];

/// What phones can do, of a thousand phones each.
#[derive(Clone, Debug)]
pub struct Skills {
    pub prack: u64,
    pub update: u64,
    pub timer: u64,
    pub late_offer: u64,
    pub stream: u64,
    pub nat: u64,
    pub odd_codecs: u64,
    /// Says by its registration which device it is (RFC 5626 §4.1).
    pub instance: u64,
    /// Is reached over IPv6.
    pub ipv6: u64,
    /// Of a thousand answers that came reliably before the call is answered: those after which another offer is made
    /// in the PRACK (RFC 3262 §5). Such phones also send UPDATEs by then (RFC 3311 §5.1).
    pub early_offers: u64,
}

#[derive(Clone, Debug)]
pub struct Swarm {
    pub seed: u64,
    /// People; the first device of each.
    pub phones: u64,
    /// Devices beyond that: whose each is, from 0.
    pub devices: Vec<u64>,
    pub seconds: u64,
    /// Milliseconds between two acts of one phone, at most.
    pub pace_ms: u64,
    pub network: Network,
    pub acts: Vec<(Act, u64)>,
    pub manners: Vec<(Manner, u64)>,
    pub skills: Skills,
    pub faults: Vec<(Fault, u64)>,
    /// Milliseconds between two faults, at most.
    pub fault_ms: u64,
    /// Of a thousand changes of bindings, those that are kept late, and those that are not kept.
    pub persist_late: u64,
    pub persist_lost: u64,
    /// Media ports of each worker.
    pub ports: u32,
    /// Seconds between two questions whether a phone is there; 0 for none.
    pub qualify_s: u64,
    /// Seconds that a registration lasts.
    pub expires_s: u64,
    /// Seconds of a session.
    pub session_s: u64,
    /// Phone 0 stands for a trunk: believed about who calls, with many calls at once.
    pub trunk: bool,
}

fn some<T: Copy>(rng: &mut Rng, from: &[(T, u64)], permille: u64) -> Vec<(T, u64)> {
    from.iter().copied().filter(|_| rng.chance(permille)).collect()
}

impl Swarm {
    pub fn draw(seed: u64) -> Swarm {
        let mut rng = Rng::new(seed, 1);
        let rng = &mut rng;
        let sometimes = |rng: &mut Rng, max: u64| if rng.chance(500) { rng.between(1, max) } else { 0 };
        let network = Network {
            loss: sometimes(rng, 150),
            duplicate: sometimes(rng, 100),
            late: sometimes(rng, 100),
            late_ms: *rng.pick(&[300, 900, 3500]),
            delay_ms: *rng.pick(&[(0, 0), (1, 5), (10, 60), (50, 400)]),
        };
        let mut acts = some(rng, &ACTS, 650);
        acts.push((Act::Call, 5));
        acts.push((Act::HangUp, 1));
        let mut manners = some(rng, &MANNERS, 600);
        manners.push((Manner::Answer, 4));
        let more = &mut Rng::new(seed, 6);
        let faults = if rng.chance(250) { Vec::new() } else { some(rng, &FAULTS, 350) };
        let phones = rng.between(3, 8);
        Swarm {
            seed,
            phones,
            devices: (0..sometimes(more, 4)).map(|_| more.below(phones)).collect(),
            seconds: rng.between(20, 70),
            pace_ms: *rng.pick(&[1500, 4000, 9000]),
            network,
            acts,
            manners,
            skills: Skills {
                prack: *rng.pick(&[0, 500, 1000]),
                update: *rng.pick(&[0, 500, 1000]),
                timer: *rng.pick(&[0, 500, 1000]),
                late_offer: *rng.pick(&[0, 0, 150, 600]),
                stream: *rng.pick(&[0, 300, 1000]),
                nat: *rng.pick(&[0, 300, 700]),
                odd_codecs: *rng.pick(&[0, 300]),
                instance: *more.pick(&[0, 500, 1000]),
                early_offers: *more.pick(&[0, 500]),
                ipv6: *more.pick(&[0, 0, 500]),
            },
            faults,
            fault_ms: *rng.pick(&[3000, 10_000, 30_000]),
            persist_late: sometimes(rng, 300),
            persist_lost: if rng.chance(200) { 150 } else { 0 },
            ports: if rng.chance(150) { rng.between(2, 6) as u32 } else { 60 },
            qualify_s: *rng.pick(&[0, 0, 10, 30]),
            expires_s: *rng.pick(&[60, 120, 600]),
            session_s: *rng.pick(&[90, 100, 1800]),
            trunk: rng.chance(400),
        }
    }
}
