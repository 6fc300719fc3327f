//! Requests within a dialog that go on to another server of the peer's name: RFC 3263 §4.3, RFC 3261 §12.2.1.

use dialtone_signaling::message::{Headers, Name};
use dialtone_signaling::registrar::{Nat, ReachPolicy};
use dialtone_signaling::wire::Transport;

use super::support::{Phone, World};

/// 1002 talks with the first of two servers of a name, whose session is to be refreshed now; that is refused with 503.
fn refused_by_the_first() -> (World, [Phone; 3]) {
    let world =
        World::with(|options| options.reach = ReachPolicy { nat: Nat::Never, ..ReachPolicy::default() });
    let bob = world.registered("1002");
    let [first, second] =
        ["10.0.0.21:5060", "10.0.0.22:5060"].map(|address| world.phone_at("1001", Transport::Udp, address));
    world.srv("_sip._udp.cluster.example", 10, "a.cluster.example", "10.0.0.21:5060");
    world.srv("_sip._udp.cluster.example", 20, "b.cluster.example", "10.0.0.22:5060");
    let refreshes_itself = |headers: &mut Headers| {
        headers.push(Name::Supported, "timer");
        headers.push(Name::SessionExpires, "1800;refresher=uas");
    };
    first.invite_with("1002", |request| {
        request.headers.set(Name::Contact, "<sip:1001@cluster.example>");
        refreshes_itself(&mut request.headers);
    });
    let body = bob.answering_body();
    bob.respond_with(200, |response| {
        refreshes_itself(&mut response.headers);
        response.set_body("application/sdp", body);
    });
    first.ack();
    world.advance(900_000);
    assert!(first.is_asked() && !bob.is_asked());
    (world, [bob, first, second])
}

/// RFC 3261 §12.2.1.2, §14.1: a server that does not have the dialog says nothing of it: the call goes on, and its end is
/// told to who has it.
#[test]
fn who_does_not_have_a_dialog_does_not_end_it() {
    for status in [408, 481] {
        let (world, [bob, first, second]) = refused_by_the_first();
        first.respond(503);
        assert!(second.is_asked());
        second.respond(status);
        assert!(first.in_call() && bob.in_call(), "{status}");
        bob.bye();
        assert_eq!((first.got("BYE").len(), second.got("BYE").len()), (1, 0));
        world.finish();
    }
}

/// RFC 3261 §8.1.3.1: silence says no more than that.
#[test]
fn a_silent_server_does_not_end_a_dialog_that_another_has() {
    let (world, [bob, first, second]) = refused_by_the_first();
    second.loses("re-INVITE", 100);
    first.respond(503);
    world.advance(33_000);
    assert!(first.in_call() && bob.in_call());
    bob.bye();
    assert_eq!((first.got("BYE").len(), second.got("BYE").len()), (1, 0));
    world.finish();
}

/// RFC 3261 §12.2.1.2: who agrees has the dialog from then on.
#[test]
fn who_agrees_to_a_change_has_the_dialog() {
    let (world, [bob, first, second]) = refused_by_the_first();
    first.respond(503);
    second.answer();
    assert_eq!(second.got("ACK").len(), 1);
    bob.bye();
    assert_eq!((first.got("BYE").len(), second.got("BYE").len()), (0, 1));
    world.finish();
}
