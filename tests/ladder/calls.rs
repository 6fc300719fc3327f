//! Calls from the first INVITE to the last BYE.

use super::support::World;

#[test]
fn a_call_with_an_offer_rings_is_answered_and_ends_with_the_callers_bye() {
    let world = World::new();
    let (alice, bob) = (world.registered("1001"), world.registered("1002"));
    alice.invite("1002");
    world.advance(200);
    bob.ring();
    world.advance(500);
    bob.answer();
    alice.ack();
    world.advance(2000);
    alice.bye();
    world.check("call_with_offer");
}
