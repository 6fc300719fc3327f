//! A run from its seed to its end: activity, faults off, everybody hangs up, and then nothing may be left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use dialtone_core::Mono;

use super::checks::Violation;
use super::picture::Picture;
use super::plant::Plant;
use super::sound::marker;
use super::swarm::Swarm;
use super::world::World;

/// The faults are off: whatever was lost has been repeated or given up when this is over.
const CALM: Duration = Duration::from_secs(75);
/// An ACK that never comes, then a BYE that nobody answers.
const QUIET: Duration = Duration::from_secs(120);

/// What a run came to.
pub struct Ran {
    pub violation: Option<Violation>,
    pub hash: u64,
    pub calls: usize,
    pub answered: usize,
    pub transfers: usize,
    pub picture: String,
}

#[derive(Clone, Copy, Default)]
pub struct Options {
    pub plant: Plant,
    pub hash: bool,
    pub draw: bool,
}

/// Plays a seed. What panics is a violation like any other.
pub fn play(swarm: &Swarm, options: Options) -> Ran {
    let mut world = World::new(swarm.clone(), options.plant);
    if options.hash {
        world.hashing();
    }
    if options.draw {
        let messages = super::from_environment("DIALTONE_SIM_MESSAGES").map(|count| count as usize);
        world.picture = Some(Picture::of(messages));
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| phases(&mut world))).err();
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let what = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.checks.fail("nothing panics", what.unwrap_or_default());
    }
    let what = world.checks.violation.as_ref().map(|violation| violation.what.clone()).unwrap_or_default();
    let cdrs = &world.checks.cdrs;
    Ran {
        hash: world.hash(),
        calls: cdrs.len(),
        answered: cdrs.iter().filter(|cdr| cdr.answered.is_some()).count(),
        transfers: cdrs.iter().map(|cdr| cdr.transfers.len()).sum(),
        picture: world.picture.as_ref().map(|picture| picture.draw(&what)).unwrap_or_default(),
        violation: world.checks.violation,
    }
}

fn phases(world: &mut World) {
    let mut until = Mono::ZERO + Duration::from_secs(world.swarm.seconds);
    world.run_until(until);
    world.faults_off();
    until = until + CALM - Duration::from_secs(38);
    world.run_until(until);
    for at in 0..world.phones.len() {
        // Who talks with nobody finds out.
        let up: Vec<u32> =
            world.phones[at].calls.iter().filter(|call| call.is_up()).map(|call| call.id).collect();
        world.with_phone(at, |phone| up.into_iter().for_each(|call| phone.ask_whether_there(call)));
    }
    until = until + Duration::from_secs(38);
    world.run_until(until);
    heard(world);
    for at in 0..world.phones.len() {
        let calls: Vec<u32> = world.phones[at].calls.iter().map(|call| call.id).collect();
        world.with_phone(at, |phone| {
            phone.resting = true;
            calls.into_iter().for_each(|call| phone.hang_up(call));
        });
    }
    until = until + Duration::from_secs(40);
    world.run_until(until);
    // Flows, and calls whose phone has forgotten them.
    world.hang_up_all();
    until = until + QUIET;
    world.run_until(until);
    silent(world);
    // The bindings run out as well, and the timers of sessions that have ended.
    let rest = world.swarm.expires_s.max(world.swarm.session_s);
    world.run_until(until + Duration::from_secs(rest + 60));
    asleep(world);
}

/// Who is in an answered call with somebody hears them.
fn heard(world: &mut World) {
    if world.checks.is_fine() {
        joined(world);
        known(world);
    }
}

/// The phone's call that receives at this address.
fn at(world: &World, rtp: std::net::SocketAddr) -> Option<(usize, u32)> {
    world.phones.iter().find_map(|phone| {
        let here = [phone.line.own.ip(), phone.line.public.ip()].contains(&rtp.ip());
        let call = phone.calls.iter().find(|call| here && call.is_up() && call.media.port == rtp.port())?;
        Some((phone.at, call.id))
    })
}

/// Two legs that are up, and of which none is held, are in one relay, and their phones hear each other.
fn joined(world: &mut World) {
    for call in world.checks.open_calls() {
        let legs: Vec<_> = world.checks.legs.iter().filter(|(_, leg)| leg.call == call).collect();
        let [(a, first), (b, second)] = legs[..] else { continue };
        if !first.up || !second.up || first.held || second.held {
            continue;
        }
        let bridge = first.bridge.filter(|bridge| second.bridge == Some(*bridge));
        let relayed = bridge.is_some_and(|bridge| world.checks.is_relay(bridge));
        let text = format!("{call:?}: {a:?} {first:?}, {b:?} {second:?}");
        let ends = [first.remote, second.remote].map(|remote| at(world, remote?));
        let deaf = match ends {
            [Some(first), Some(second)] => !hears(world, first, second) || !hears(world, second, first),
            // One of the two has forgotten the call, and is found silent.
            [None, _] | [_, None] => false,
        };
        world.checks.require(relayed, "two who were answered are joined", || text.clone());
        if deaf {
            let streams = streams(world, ends);
            world.checks.fail("who is in a call hears the other", format!("{text} {ends:?} {streams}"));
        }
    }
}

/// What phones believe of their streams.
fn streams(world: &World, ends: [Option<(usize, u32)>; 2]) -> String {
    let of = |(at, id): (usize, u32)| world.phones[at].calls.iter().find(|call| call.id == id);
    let texts =
        ends.into_iter().flatten().filter_map(of).map(|call| format!("{}: {:?}", call.call_id, call.media));
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether one phone's call hears another's, if both are to send and to receive.
fn hears(world: &World, here: (usize, u32), there: (usize, u32)) -> bool {
    let call = |(at, id): (usize, u32)| world.phones[at].calls.iter().find(|call| call.id == id);
    let (Some(listens), Some(speaks)) = (call(here), call(there)) else { return true };
    if !listens.media.flow.receives || !speaks.media.flow.sends {
        return true;
    }
    let (now, expected) = (world.now, marker(there.0, there.1));
    let recent = |when| now.since(when) < Duration::from_secs(3);
    listens.media.heard.is_some_and(|(who, when)| who == expected && recent(when))
}

/// A phone that believes in a call has a port of ours.
fn known(world: &mut World) {
    let mut wrong = None;
    for phone in &world.phones {
        for call in phone.calls.iter().filter(|call| call.is_quiet() && call.confirmed) {
            let configured = world.media.told.values();
            let ours = configured.filter(|stream| at(world, stream.rtp) == Some((phone.at, call.id)));
            // One that was just begun, by a transfer or a repeated answer, may still be on its way.
            let settled = world.now.since(call.began) > Duration::from_secs(45);
            if settled && ours.count() != 1 {
                wrong = Some(format!("{} {call:?}", phone.number));
            }
        }
    }
    if let Some(wrong) = wrong {
        world.checks.fail("a call has a port", wrong);
    }
}

/// Nothing goes on.
fn silent(world: &mut World) {
    let counts = world.counts();
    // Whoever is still registered is asked whether they are there, and the answer is remembered for a moment.
    let questions = if world.swarm.qualify_s > 0 { counts.stack.bindings } else { 0 };
    let left = [
        ("no call is left", counts.calls),
        ("no leg is left", counts.legs + counts.stack.legs),
        ("no dialog is left", counts.stack.dialogs),
        ("no transaction is left", counts.stack.transactions.saturating_sub(questions)),
        ("no flow is left", counts.flows),
        ("no port is left", counts.ports_used as usize),
    ];
    for (name, left) in left.into_iter().rev() {
        world.checks.require(left == 0, name, || format!("{counts:?}"));
    }
    let busy: Vec<String> = world
        .phones
        .iter()
        .filter(|phone| !phone.is_idle())
        .map(|phone| format!("{}: {}", phone.number, phone.busy_with()))
        .collect();
    world.checks.require(busy.is_empty(), "every phone is idle", || busy.join("\n"));
    world.checks.totals();
}

/// Nothing will ever happen again.
fn asleep(world: &mut World) {
    let (counts, deadline) = (world.counts(), world.switch.deadline());
    world.checks.require(counts.stack.bindings == 0, "no binding is left", || format!("{counts:?}"));
    world.checks.require(counts.stack.transactions == 0, "no transaction is left", || format!("{counts:?}"));
    world.checks.require(deadline.is_none(), "no timer is left", || format!("{deadline:?}"));
    let deadline = world.media.deadline();
    world.checks.require(deadline.is_none(), "no timer of a worker is left", || format!("{deadline:?}"));
}
