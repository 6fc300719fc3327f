//! Several phones ring: the contacts of an extension, the members of a group.

use dialtone_core::media::{BridgeKind, Feed, MediaCommand};
use dialtone_core::site::Ringback;
use dialtone_signaling::message::Name;

use super::support::{Phone, World, sdp};

/// Carol calls group 500 of Alma and Ben.
fn group(ringback: Ringback) -> (World, Phone, Phone, Phone) {
    let world = World::with(|options| {
        options.site.ring_groups.get_mut("500").unwrap().ringback = ringback;
    });
    let (alma, ben, carol) = (world.registered("1001"), world.registered("1002"), world.registered("1003"));
    carol.speaks("opus:111 pcmu te:126");
    carol.invite("500");
    world.advance(100);
    (world, alma, ben, carol)
}

#[test]
fn all_phones_of_an_extension_ring_and_the_first_to_answer_wins() {
    let world = World::new();
    let (alice, desk, mobile) =
        (world.registered("1001"), world.registered("1002"), world.registered("1002"));
    alice.invite("1002");
    desk.ring();
    mobile.ring();
    assert_eq!(alice.got("180").len(), 1, "somebody rings: once is enough");
    world.advance(2000);
    mobile.answer();
    alice.ack();
    assert!(desk.header("CANCEL", Name::Reason).starts_with("SIP;cause=200"), "no missed call");
    world.advance(1000);
    mobile.bye();
    world.check("fork_first_answer_wins");
}

#[test]
fn two_answers_at_once_make_one_call() {
    let world = World::new();
    let (alice, desk, mobile) =
        (world.registered("1001"), world.registered("1002"), world.registered("1002"));
    alice.invite("1002");
    desk.ring();
    mobile.ring();
    desk.manual();
    mobile.answer();
    desk.automatic();
    desk.answer();
    assert_eq!((desk.got("ACK").len(), desk.got("BYE").len()), (1, 1));
    assert!(desk.header("BYE", Name::Reason).starts_with("SIP;cause=200"));
    assert!(mobile.in_call() && !desk.in_call());
    assert_eq!(alice.got("200 OK (sdp)").len(), 1);
    alice.ack();
    alice.bye();
    world.check("fork_two_answers");
}

#[test]
fn a_group_plays_our_ringing_tone() {
    let (world, alma, ben, carol) = group(Ringback::Tone);
    alma.ring();
    ben.ring();
    assert_eq!(carol.got("180 Ringing (sdp)").len(), 1);
    world.advance(2000);
    ben.speaks("pcmu te");
    ben.answer();
    carol.ack();
    let (early, last) = (carol.last("180"), carol.last("200"));
    assert_eq!(early.body(), last.body(), "one answer of ours");
    assert_eq!(
        carol.address_of("180", Name::To).tag(),
        carol.address_of("200", Name::To).tag(),
        "and one tag"
    );
    world.advance(1000);
    carol.bye();
    world.check("group_tone");
}

#[test]
fn a_caller_that_takes_no_tone_of_ours_makes_its_own() {
    let world = World::new();
    let (alma, carol) = (world.registered("1001"), world.registered("1003"));
    carol.speaks("opus te");
    carol.invite("500");
    alma.ring();
    assert!(carol.last("180").body().is_empty());
    alma.speaks("opus te");
    alma.answer();
    carol.ack();
    carol.bye();
    world.check("group_tone_opus_only");
}

#[test]
fn a_group_leaves_the_tone_to_the_callers_phone() {
    let (world, alma, ben, carol) = group(Ringback::Phone);
    ben.progress();
    assert!(carol.last("180").body().is_empty(), "what a member plays is not for the caller");
    alma.ring();
    assert_eq!(carol.got("18").len(), 1);
    alma.answer();
    carol.ack();
    carol.bye();
    world.check("group_phone");
}

#[test]
fn a_group_plays_what_its_first_member_plays() {
    let (world, alma, ben, carol) = group(Ringback::Member);
    ben.progress();
    alma.progress();
    assert_eq!(carol.got("183 Session Progress (sdp)").len(), 1);
    world.advance(1000);
    alma.answer();
    carol.ack();
    assert_eq!(carol.last("183").body(), carol.last("200").body());
    carol.bye();
    world.check("group_member");
}

#[test]
fn when_the_member_that_played_is_gone_the_caller_hears_that_others_ring() {
    let (world, alma, ben, carol) = group(Ringback::Member);
    let fed = || match world.last_bridge() {
        Some(MediaCommand::Bridge { kind: BridgeKind::Hold { feed, .. }, .. }) => Some(feed),
        _ => None,
    };
    ben.progress();
    alma.ring();
    assert_eq!(fed(), None, "it hears Ben's announcement");
    ben.respond(480);
    assert_eq!(fed(), Some(Feed::Ringback));
    world.advance(1000);
    alma.answer();
    carol.ack();
    assert_eq!(fed(), None);
    carol.bye();
    world.check("group_member_gone");
}

#[test]
fn early_media_passes_and_180_after_it_too() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.progress();
    assert_eq!(alice.got("183 Session Progress (sdp)").len(), 1);
    world.advance(1000);
    bob.ring();
    assert_eq!(alice.got("180 Ringing (sdp)").len(), 1, "with the answer that was given");
    world.advance(1000);
    bob.answer();
    alice.ack();
    let bodies = ["183", "180", "200"].map(|status| alice.last(status).body().clone());
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2]);
    alice.bye();
    world.check("early_media");
}

#[test]
fn early_media_that_fits_nobody_still_rings() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.progress_with(180, sdp("g722"));
    assert_eq!(alice.got("180").len(), 1);
    assert!(alice.last("180").body().is_empty());
    bob.answer();
    alice.ack();
    bob.bye();
    world.check("early_media_unusable");
}

#[test]
fn a_phone_need_not_repeat_its_early_answer() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    bob.progress();
    bob.respond(200);
    alice.ack();
    assert!(alice.in_call() && bob.in_call());
    alice.bye();
    world.check("early_media_then_200_without_body");
}

#[test]
fn a_declined_call_stops_the_other_phones_of_the_same_person() {
    let world = World::new();
    let (alice, desk, mobile) =
        (world.registered("1001"), world.registered("1002"), world.registered("1002"));
    alice.invite("1002");
    desk.ring();
    mobile.ring();
    mobile.respond(603);
    assert_eq!(desk.got("CANCEL").len(), 1);
    assert_eq!(alice.status(), 603);
    world.check("decline_extension");
}

#[test]
fn only_a_6xx_speaks_for_the_other_phones_of_a_person() {
    for (status, stops) in [(480, false), (486, false), (600, true), (604, true), (606, true)] {
        let world = World::new();
        let (alice, desk, mobile) =
            (world.registered("1001"), world.registered("1002"), world.registered("1002"));
        alice.invite("1002");
        desk.ring();
        mobile.respond_with(status, |response| {
            response.headers.push(Name::Reason, "Q.850;cause=21;text=\"Call rejected\"");
        });
        assert_eq!(desk.got("CANCEL").len(), usize::from(stops), "{status}");
        alice.cancel();
        world.finish();
    }
}

#[test]
fn a_member_speaks_for_its_own_phones() {
    let (world, alma, ben, carol) = group(Ringback::Member);
    alma.ring();
    ben.ring();
    alma.respond(603);
    assert_eq!(ben.got("CANCEL").len(), 0);
    ben.answer();
    carol.ack();
    carol.bye();
    world.finish();
}

#[test]
fn a_member_that_declines_leaves_the_group_ringing() {
    let (world, alma, ben, carol) = group(Ringback::Tone);
    alma.ring();
    ben.ring();
    alma.respond(603);
    assert_eq!(ben.got("CANCEL").len(), 0);
    world.advance(1000);
    ben.answer();
    carol.ack();
    carol.bye();
    world.check("decline_group");
}

#[test]
fn a_caller_who_is_a_member_does_not_ring_itself() {
    let world = World::new();
    let (alma, ben) = (world.registered("1001"), world.registered("1002"));
    alma.invite("500");
    assert_eq!((alma.got("INVITE").len(), ben.got("INVITE").len()), (0, 1));
    alma.cancel();
    world.finish();
}
