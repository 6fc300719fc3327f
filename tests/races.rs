//! Phones that do anything at any time, over a network that loses and repeats: whatever they do, each
//! call has one record, and when everybody is silent nothing is left.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "each test uses a part of it")]
mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use dialtone_core::command::Command;
use dialtone_core::media::{BridgeKind, MediaCommand, MediaEvent};
use dialtone_core::{Cause, Direction};
use dialtone_signaling::message::{Method, Name};
use dialtone_signaling::wire::Transport;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::{Phone, World, sdp};

#[derive(Clone, Copy, Debug)]
enum Act {
    Invite {
        to: usize,
        offer: bool,
    },
    /// As a phone that has 100rel, UPDATE and session timers.
    InviteWithAll {
        to: usize,
        offer: bool,
        require: bool,
    },
    Prack {
        answer: bool,
    },
    RingReliably {
        rseq: u32,
        sdp: bool,
        fork: bool,
    },
    Update {
        offer: bool,
    },
    /// Says this to the last UPDATE that came.
    ReplyToUpdate {
        status: u16,
    },
    Info,
    Cancel,
    Trying,
    Ring,
    Progress,
    Answer,
    /// With a codec that may not fit.
    AnswerOddly,
    Refuse {
        status: u16,
    },
    Ack {
        answer: bool,
    },
    Bye,
    Hold {
        direction: usize,
    },
    AskForOffer,
    ChangeCodec,
    /// A transfer to a number.
    Refer {
        to: usize,
    },
    /// An attended transfer, with the dialog of another phone of the same person or of anybody.
    ReferTo {
        line: usize,
    },
    /// A call that takes the place of a leg of another phone.
    Replace {
        line: usize,
    },
    Repeat,
    Lose {
        what: usize,
        count: u32,
    },
    Manual(bool),
    Register {
        expires: u32,
    },
    Silent,
    PlayEnded,
    Wait {
        ms: u64,
    },
}

const NUMBERS: [&str; 9] = ["1001", "1002", "1003", "1004", "500", "500", "*43", "900", "4711"];
const LOSSES: [&str; 8] = ["INVITE", "ACK", "BYE", "CANCEL", "200", "re-INVITE", "18", "NOTIFY"];
/// Phones, of which the last two are further lines of the first and second.
const LINES: usize = 7;
const DIRECTIONS: [Direction; 3] = [Direction::SendOnly, Direction::Inactive, Direction::SendRecv];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..NUMBERS.len(), any::<bool>()).prop_map(|(to, offer)| Act::Invite { to, offer }),
        4 => (0..NUMBERS.len(), any::<bool>(), any::<bool>())
            .prop_map(|(to, offer, require)| Act::InviteWithAll { to, offer, require }),
        5 => any::<bool>().prop_map(|answer| Act::Prack { answer }),
        4 => (1..4_u32, any::<bool>(), any::<bool>())
            .prop_map(|(rseq, sdp, fork)| Act::RingReliably { rseq, sdp, fork }),
        3 => any::<bool>().prop_map(|offer| Act::Update { offer }),
        2 => prop::sample::select(vec![200, 422, 481, 491, 501]).prop_map(|status| Act::ReplyToUpdate { status }),
        1 => Just(Act::Info),
        2 => Just(Act::Cancel),
        1 => Just(Act::Trying),
        4 => Just(Act::Ring),
        2 => Just(Act::Progress),
        6 => Just(Act::Answer),
        2 => Just(Act::AnswerOddly),
        2 => prop::sample::select(vec![486, 488, 491, 500, 603, 404, 302]).prop_map(|status| Act::Refuse { status }),
        6 => any::<bool>().prop_map(|answer| Act::Ack { answer }),
        3 => Just(Act::Bye),
        2 => (0..DIRECTIONS.len()).prop_map(|direction| Act::Hold { direction }),
        1 => Just(Act::AskForOffer),
        1 => Just(Act::ChangeCodec),
        3 => (0..NUMBERS.len()).prop_map(|to| Act::Refer { to }),
        3 => (0..LINES).prop_map(|line| Act::ReferTo { line }),
        1 => (0..LINES).prop_map(|line| Act::Replace { line }),
        2 => Just(Act::Repeat),
        2 => (0..LOSSES.len(), 1..4_u32).prop_map(|(what, count)| Act::Lose { what, count }),
        1 => any::<bool>().prop_map(Act::Manual),
        1 => prop::sample::select(vec![0, 60, 3600]).prop_map(|expires| Act::Register { expires }),
        1 => Just(Act::Silent),
        1 => Just(Act::PlayEnded),
        4 => prop::sample::select(vec![1, 200, 500, 3000, 31_000, 33_000, 46_000, 910_000]).prop_map(|ms| Act::Wait { ms }),
    ]
}

fn carry_out(world: &World, phones: &[Phone; LINES], phone: usize, act: Act) {
    let phone = &phones[phone];
    match act {
        Act::Invite { to, offer: true } => phone.invite(NUMBERS[to]),
        Act::Invite { to, offer: false } => phone.invite_without_offer(NUMBERS[to]),
        Act::InviteWithAll { to, offer, require } => phone.invite_with(NUMBERS[to], |request| {
            let headers = &mut request.headers;
            headers.push(if require { Name::Require } else { Name::Supported }, "100rel, timer");
            headers.push(Name::Allow, "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE");
            headers.push(Name::SessionExpires, if require { "90;refresher=uac" } else { "90" });
            if !offer {
                headers.remove(&Name::ContentType);
                request.body = Default::default();
            }
        }),
        Act::Prack { answer: false } if phone.can_prack() => phone.prack(),
        Act::Prack { answer: true } if phone.can_prack() => phone.prack_with(sdp("pcma te")),
        Act::RingReliably { rseq, sdp: says, fork } if phone.is_asked() => {
            let tag = if fork { "fork" } else { "" };
            phone.rings_reliably(183, rseq, tag, says.then(|| sdp("pcmu pcma te")));
        }
        Act::Update { offer: false } if phone.in_call() => phone.within(Method::Update, |_| {}),
        Act::Update { offer: true } if phone.in_call() => {
            phone.within_saying(Method::Update, sdp("pcmu te").direction(Direction::SendOnly), |_| {});
        }
        Act::ReplyToUpdate { status } if !phone.got("UPDATE").is_empty() => {
            phone.reply("UPDATE", status, |response| response.headers.push(Name::MinSe, "100"));
        }
        Act::Info if phone.in_call() => phone.within(Method::Info, |_| {}),
        Act::Cancel if phone.has_called() => phone.cancel(),
        Act::Trying if phone.is_asked() => phone.respond(100),
        Act::Ring if phone.is_asked() => phone.ring(),
        Act::Progress if phone.is_asked() => phone.progress(),
        Act::Answer if phone.is_asked() => phone.answer(),
        Act::AnswerOddly if phone.is_asked() => phone.answer_with(sdp("g722 opus")),
        Act::Refuse { status } if phone.is_asked() => phone.respond(status),
        Act::Ack { answer: false } if phone.in_call() => phone.ack(),
        Act::Ack { answer: true } if phone.in_call() => phone.ack_with(sdp("pcma te")),
        Act::Bye if phone.in_call() => phone.bye(),
        Act::Hold { direction } if phone.in_call() => {
            phone.reinvite(sdp("pcmu pcma te").direction(DIRECTIONS[direction]));
        }
        Act::AskForOffer if phone.in_call() => phone.reinvite_without_offer(),
        Act::ChangeCodec if phone.in_call() => phone.reinvite(sdp("pcma te")),
        Act::Refer { to } if phone.in_call() => phone.refer(NUMBERS[to]),
        Act::ReferTo { line } if phone.in_call() && phones[line].has_dialog() => {
            phone.refer_to_line(&phones[line]);
        }
        Act::Replace { line } if phones[line].has_dialog() => {
            let (number, replaces) = phones[line].replaces();
            phone.invite_with(&number, |invite| invite.headers.push(Name::Replaces, replaces));
        }
        Act::Repeat if phone.has_sent() => phone.repeat(),
        Act::Lose { what, count } => phone.loses(LOSSES[what], count),
        Act::Manual(true) => phone.manual(),
        Act::Manual(false) => phone.automatic(),
        Act::Register { expires } => phone.register(expires),
        Act::Silent => {
            if let Some(MediaCommand::Bridge { kind: BridgeKind::Relay { a, .. }, .. }) = world.last_bridge()
            {
                world.media(MediaEvent::Silent { port: a, silence: Duration::from_secs(30) });
            }
        }
        Act::PlayEnded => {
            if let Some(MediaCommand::Bridge { bridge, kind: BridgeKind::Hold { port, .. } }) =
                world.last_bridge()
            {
                world.media(MediaEvent::PlayEnded { port, bridge, complete: true });
            }
        }
        Act::Wait { ms } => world.advance(ms),
        // What a phone cannot do now.
        Act::Prack { .. }
        | Act::RingReliably { .. }
        | Act::Update { .. }
        | Act::ReplyToUpdate { .. }
        | Act::Info
        | Act::Cancel
        | Act::Trying
        | Act::Ring
        | Act::Progress
        | Act::Answer
        | Act::AnswerOddly
        | Act::Refuse { .. }
        | Act::Ack { .. }
        | Act::Bye
        | Act::Hold { .. }
        | Act::AskForOffer
        | Act::ChangeCodec
        | Act::Refer { .. }
        | Act::ReferTo { .. }
        | Act::Replace { .. }
        | Act::Repeat => {}
    }
}

/// Gives what came of each call and of each transfer.
fn play(steps: &[(usize, Act)], begin: fn(&World, &[Phone; LINES])) -> Vec<String> {
    let world = World::with(|options| options.ports = 80);
    let phones = [
        world.registered("1001"),
        world.registered("1002"),
        world.registered("1002"),
        world.phone_at("1003", Transport::Tcp, "10.0.0.14:40003"),
        world.phone_at("1004", Transport::Udp, "[2001:db8::15]:5060"),
        world.phone("1001"),
        world.phone("1002"),
    ];
    phones[3].register(3600);
    phones[4].register(3600);
    begin(&world, &phones);
    for (phone, act) in steps {
        carry_out(&world, &phones, *phone, *act);
    }
    world.command(Command::HangUpAll { cause: Cause::NormalClearing });
    // An ACK that never comes, then a BYE that nobody answers.
    world.advance(110_000);
    world.check_nothing_left();
    world.forget_registrations();
    let mut came = Vec::new();
    for cdr in world.cdrs() {
        came.push(format!("{:?} by {:?}", cdr.disposition, cdr.ended_by));
        came.extend(cdr.merged_into.map(|_| "merged".to_owned()));
        for transfer in cdr.transfers {
            let outcome = transfer.outcome.expect("a transfer that began has ended");
            came.push(format!("{:?} {outcome:?}", transfer.kind));
        }
    }
    came
}

/// 1001 talks with 1002, which talks on another line with 1003.
fn consulting(world: &World, phones: &[Phone; LINES]) {
    for (caller, callee, number) in [(0, 1, "1002"), (6, 3, "1003")] {
        phones[caller].invite(number);
        phones[callee].answer();
        phones[caller].ack();
        world.advance(100);
    }
}

/// Plays many cases, and checks that each of these was met often: a test that meets only dull calls proves
/// nothing.
fn meets(
    begin: fn(&World, &[Phone; LINES]),
    steps: impl Strategy<Value = Vec<(usize, Act)>>,
    (seed, expected): (u8, &[&str]),
) {
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, random);
    let met = RefCell::new(BTreeMap::<String, u32>::new());
    let played = runner.run(&steps, |steps| {
        for what in play(&steps, begin) {
            *met.borrow_mut().entry(what).or_default() += 1;
        }
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
    let met = met.into_inner();
    for what in expected {
        assert!(met.get(*what).is_some_and(|count| *count >= 15), "{what}: {met:?}");
    }
}

#[test]
fn whatever_phones_do_nothing_is_left_and_each_call_has_one_record() {
    let expected = [
        "Answered by Caller",
        "Answered by Callee",
        "Answered by System",
        "NoAnswer by System",
        "Busy by System",
        "Cancelled by Caller",
        "Failed by System",
    ];
    meets(|_, _| {}, prop::collection::vec((0..5_usize, act()), 1..60), (11, &expected));
}

#[test]
fn whatever_phones_hand_over_nothing_is_left_and_each_call_has_one_record() {
    let expected = [
        "merged",
        "Blind Completed",
        "Blind Busy",
        "Blind NoAnswer",
        "Blind Unreachable",
        "Blind Abandoned",
        "Attended Completed",
        "Attended Abandoned",
    ];
    // Transfers are what this is about; they come from who talks, and are answered by anybody.
    let act = || {
        prop_oneof![
            2 => act(),
            2 => prop::sample::select(vec![4, 5, 6, 7, 8, 3]).prop_map(|to| Act::Refer { to }),
            2 => prop::sample::select(vec![0, 1, 3, 6]).prop_map(|line| Act::ReferTo { line }),
            3 => prop_oneof![4 => Just(Act::Answer), 1 => Just(Act::Ring), 1 => Just(Act::Refuse { status: 486 })],
            1 => Just(Act::Wait { ms: 31_000 }),
        ]
    };
    let who = prop::sample::select(vec![0_usize, 1, 1, 3, 3, 4, 6, 6]);
    meets(consulting, prop::collection::vec((who, act()), 1..20), (12, &expected));
}
