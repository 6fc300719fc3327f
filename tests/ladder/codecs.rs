//! Branches and codecs: what one branch cannot do is no concern of the others, and never of the caller.

use dialtone_core::Codec;
use dialtone_core::media::MediaCommand;

use super::support::{Phone, World, sdp};

/// Carol, who offers Opus and PCMU, hears our tone in PCMU while Ben rings.
fn hears_tone() -> (World, Phone, Phone) {
    let world = World::new();
    let (ben, carol) = (world.registered("1002"), world.registered("1003"));
    carol.speaks("opus:111 pcmu te:126");
    ben.speaks("opus pcmu te");
    carol.invite("500");
    ben.ring();
    world.advance(1000);
    (world, ben, carol)
}

#[test]
fn a_branch_that_answers_with_another_codec_is_asked_to_change() {
    let (world, ben, carol) = hears_tone();
    ben.answer_with(sdp("opus te"));
    carol.ack();
    assert_eq!(carol.last("180").body(), carol.last("200").body(), "the caller was told PCMU");
    let asked = ben.last("re-INVITE").to_string();
    assert!(asked.contains("PCMU/8000") && !asked.contains("opus"), "{asked}");
    ben.answer();
    assert_eq!(carol.got("re-INVITE").len(), 0, "upstream never changes because of a branch");
    world.advance(1000);
    carol.bye();
    world.check("branch_realigned");
}

#[test]
fn a_branch_that_does_not_change_ends_the_call() {
    let (world, ben, carol) = hears_tone();
    ben.answer_with(sdp("opus te"));
    carol.ack();
    ben.respond(488);
    assert!(!carol.in_call() && !ben.in_call());
    world.check("branch_not_realigned");
}

#[test]
fn glare_is_tried_again() {
    let (world, ben, carol) = hears_tone();
    ben.answer_with(sdp("opus te"));
    carol.ack();
    // Both ask at once; RFC 3261 §14.1: both are refused, and whoever chose the Call-ID waits longer.
    ben.reinvite(sdp("opus pcmu te"));
    assert_eq!(ben.status(), 491);
    ben.respond(491);
    let asked = ben.got("re-INVITE").len();
    world.advance(2099);
    assert_eq!(ben.got("re-INVITE").len(), asked);
    let waited = (0..190).find(|_| {
        world.advance(10);
        ben.got("re-INVITE").len() > asked
    });
    assert!(waited.is_some(), "within 4 s");
    ben.answer();
    carol.bye();
    world.check("glare");
}

#[test]
fn a_refusal_for_media_removes_that_branch_alone() {
    let world = World::new();
    let (alma, ben, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    carol.invite("500");
    alma.respond(488);
    assert_eq!(carol.got("488").len(), 0);
    ben.ring();
    ben.answer();
    carol.ack();
    carol.bye();
    world.check("branch_488");
}

#[test]
fn a_branch_that_answers_with_nothing_of_ours_is_hung_up() {
    let world = World::new();
    let (alma, ben, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    carol.speaks("pcmu te");
    carol.invite("500");
    ben.ring();
    alma.answer_with(sdp("g722"));
    assert!(!alma.in_call());
    ben.answer();
    carol.ack();
    carol.bye();
    world.check("branch_with_nothing_in_common");
}

#[test]
fn no_codec_in_common_is_488() {
    let world = World::with(|options| {
        options.site.extensions.get_mut("1002").unwrap().codecs = vec![Codec::G722];
    });
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    assert_eq!((alice.status(), bob.got("INVITE").len()), (488, 0));
    world.check("no_common_codec");
}

#[test]
fn a_call_speaks_what_both_have_not_what_one_would_rather() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.speaks("opus g722 pcma te");
    bob.speaks("pcma");
    alice.invite("1002");
    bob.answer();
    alice.ack();
    alice.bye();
    world.finish();
    assert!(world.cdrs()[0].legs.iter().all(|leg| leg.codec == Some(Codec::Pcma)));
}

#[test]
fn packet_length_is_asked_for_on_both_legs() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.set_sdp(sdp("pcmu te").ptime(30));
    bob.set_sdp(sdp("pcmu te").ptime(30));
    alice.invite("1002");
    assert!(bob.last("INVITE").to_string().contains("a=ptime:30"));
    bob.answer();
    alice.ack();
    alice.bye();
    let lengths = world.media_commands().into_iter().filter_map(|command| match command {
        MediaCommand::Configure { stream, .. } => Some(stream.ptime_ms),
        _ => None,
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [30, 30]);
    world.finish();
}
