//! Phones that do anything at any time, over a network that loses and repeats: whatever they do, each
//! call has one record, and when everybody is silent nothing is left.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports, reason = "each test uses a part of it")]
mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;

use dialtone_core::Cause;
use dialtone_core::command::Command;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use support::acts::{Act, DIRECTIONS, LINES, LOSSES, NUMBERS, carry_out, lines};
use support::{Phone, World};

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

/// Gives what came of each call and of each transfer.
fn play(steps: &[(usize, Act)], begin: fn(&World, &[Phone; LINES])) -> Vec<String> {
    let world = World::with(|options| options.ports = 80);
    let phones = lines(&world);
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
