//! Numbers behind which a program runs: echo, tone, prompt.

use dialtone_core::media::{BridgeKind, MediaCommand, MediaEvent};
use dialtone_core::site::Step;
use dialtone_core::{BridgeId, PortId};

use super::support::{Phone, World, sdp};

fn calls(number: &str, formats: &str) -> (World, Phone) {
    let world = World::new();
    let alice = world.registered("1001");
    alice.speaks(formats);
    alice.invite(number);
    (world, alice)
}

/// What feeds the caller.
fn feed(world: &World) -> Option<(PortId, BridgeId)> {
    world.media_commands().into_iter().find_map(|command| match command {
        MediaCommand::Bridge { bridge, kind: BridgeKind::Hold { port, .. } } => Some((port, bridge)),
        _ => None,
    })
}

#[test]
fn the_echo_begins_when_our_answer_has_arrived() {
    let (world, alice) = calls("*43", "opus pcma te");
    world.advance(100);
    assert_eq!(feed(&world), None);
    alice.ack();
    assert!(feed(&world).is_some());
    world.advance(2000);
    alice.bye();
    world.check("flow_echo");
}

#[test]
fn the_test_tone_plays_until_the_caller_hangs_up() {
    let (world, alice) = calls("*44", "pcmu te");
    alice.ack();
    world.advance(60_000);
    alice.bye();
    world.check("flow_tone");
}

#[test]
fn the_welcome_plays_once_and_hangs_up() {
    let (world, alice) = calls("900", "pcmu te");
    alice.ack();
    let (port, bridge) = feed(&world).unwrap();
    world.advance(3000);
    assert!(alice.in_call());
    world.media(MediaEvent::PlayEnded { port, bridge, complete: true });
    assert!(!alice.in_call());
    world.check("flow_welcome");
}

#[test]
fn a_caller_without_an_offer_hears_the_welcome_too() {
    let world = World::new();
    let alice = world.registered("1001");
    alice.invite_without_offer("900");
    alice.ack_with(sdp("pcma te"));
    let (port, bridge) = feed(&world).unwrap();
    world.media(MediaEvent::PlayEnded { port, bridge, complete: true });
    world.check("flow_without_offer");
}

#[test]
fn opus_alone_can_be_echoed() {
    let (world, alice) = calls("*43", "opus te");
    alice.ack();
    world.advance(100);
    alice.bye();
    world.check("flow_echo_opus");
}

#[test]
fn opus_alone_cannot_hear_the_welcome_and_gets_488() {
    let (world, alice) = calls("900", "opus te");
    assert_eq!(alice.status(), 488);
    world.check("flow_welcome_opus");
}

#[test]
fn a_caller_may_hold_a_flow() {
    let (world, alice) = calls("*43", "pcmu te");
    alice.ack();
    alice.reinvite(sdp("pcmu te").direction(dialtone_core::Direction::SendOnly));
    assert_eq!(alice.status(), 200);
    alice.ack();
    alice.bye();
    world.check("flow_held");
}

#[test]
fn a_caller_that_gives_up_before_our_answer_arrives_ends_the_flow() {
    let (world, alice) = calls("*43", "pcmu te");
    world.advance(33_000);
    assert_eq!(alice.got("BYE").len(), 1);
    assert_eq!(feed(&world), None, "it never heard anything");
    world.check("flow_without_ack");
}

#[test]
fn a_flow_that_never_answers_ends_all_the_same() {
    let world = World::with(|options| {
        let steps = vec![Step::Play { prompt: "welcome".into() }, Step::Answer];
        options.site.flows.get_mut("900").unwrap().steps = steps;
    });
    let alice = world.registered("1001");
    alice.invite("900");
    world.advance(59_999);
    assert_eq!(alice.status(), 100, "nothing can be played to it, so the prompt does not end");
    world.advance(1);
    assert!(alice.status() >= 400);
    world.check("flow_without_answer");
}
