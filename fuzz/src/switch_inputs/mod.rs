//! The switch, on virtual time, with any inputs in any order: phones that do anything, messages that are almost right,
//! time, media, DNS, connections, the store, commands, new sites.
//!
//! The bytes are a program: what happens, who does it, with what. [`World`] checks every step; when they are used up
//! everybody hangs up, and nothing may be left.

mod message;
mod reader;

use std::time::Duration;

use dialtone::switch::Input;
use dialtone_core::command::Command;
use dialtone_core::media::{BridgeKind, MediaCommand, MediaEvent};
use dialtone_core::{Cause, Fact};

use self::reader::Reader;
use super::support::acts::{Act, DIRECTIONS, LINES, LOSSES, NUMBERS, carry_out, lines};
use super::support::{Mood, Phone, World, sample};

/// Things that happen in one run.
const STEPS_MAX: usize = 150;
const INPUT_MAX: usize = 4096;

const WAITS_MS: [u64; 10] = [1, 100, 500, 2000, 4000, 31_000, 33_000, 65_000, 181_000, 910_000];
const CAUSES: [Cause; 4] =
    [Cause::NormalClearing, Cause::UserBusy, Cause::TemporaryFailure, Cause::CallRejected];

/// Whatever happens, each call has one record, and when everybody is silent nothing is left.
pub fn switch_inputs(data: &[u8]) {
    play(data);
}

/// How many calls of this input are answered.
pub fn answered(data: &[u8]) -> usize {
    play(data).cdrs().iter().filter(|cdr| cdr.answered.is_some()).count()
}

fn play(data: &[u8]) -> World {
    let data = &data[..data.len().min(INPUT_MAX)];
    let world = World::with(|options| options.ports = 40);
    let phones = lines(&world);
    world.srv("_sip._udp.name.example", 1, "sip1.name.example", "10.0.0.12:5060");
    world.host("other.example", "10.0.0.13");
    let mut input = Reader::new(data);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut input, &world, &phones);
    }
    end(&world);
    world
}

fn end(world: &World) {
    world.dns_is(Mood::Answers);
    world.persist();
    world.input(Input::Congested(false));
    world.command(Command::HangUpAll { cause: Cause::NormalClearing });
    // A question to DNS that is never answered, an ACK that never comes, then a BYE that nobody answers.
    world.advance(300_000);
    world.check_nothing_left();
    world.forget_registrations();
}

fn step(input: &mut Reader<'_>, world: &World, phones: &[Phone; LINES]) {
    let (kind, phone) = (input.below(32), input.below(LINES));
    match kind {
        0..=13 => {
            let act = act(input);
            note(format_args!("{phone} {act:?}"));
            carry_out(world, phones, phone, act);
        }
        14..=22 => {
            let proves = input.below(4) != 0;
            if let Some(bytes) = message::damaged(input, phones, &phones[phone]) {
                note(format_args!("{phone} proves {proves}: {}", bytes.escape_ascii()));
                phones[phone].throws(bytes, proves);
            }
        }
        23..=25 => {
            let ms = input.pick(&WAITS_MS);
            note(format_args!("waits {ms} ms"));
            world.advance(ms);
        }
        26 | 27 => media(input, world),
        28 => {
            note(format_args!("{phone} connection"));
            if input.flag() { phones[phone].connects() } else { phones[phone].hangs_up_on_us() }
        }
        29 => {
            let mood = input.pick(&[Mood::Silent, Mood::Fails, Mood::Answers]);
            note(format_args!("DNS {mood:?}"));
            world.dns_is(mood);
        }
        _ => shell(input, world),
    }
}

/// What `cargo test` shows of an input that fails.
fn note(what: std::fmt::Arguments<'_>) {
    if cfg!(test) {
        println!("{what}");
    }
}

fn media(input: &mut Reader<'_>, world: &World) {
    let Some(MediaCommand::Bridge { bridge, kind }) = world.last_bridge() else { return };
    let port = match kind {
        BridgeKind::Relay { a, b } => input.pick(&[a, b]),
        BridgeKind::Hold { port, .. } => port,
    };
    let event = match input.below(4) {
        0 => MediaEvent::PlayEnded { port, bridge, complete: input.flag() },
        1 => MediaEvent::Latched { port, source: ([10, 0, 0, 77], 4000).into() },
        _ => MediaEvent::Silent { port, silence: Duration::from_secs(u64::from(input.byte())) },
    };
    note(format_args!("{event:?}"));
    world.media(event);
}

/// What the process around the switch does.
fn shell(input: &mut Reader<'_>, world: &World) {
    let what = input.below(12);
    note(format_args!("the shell: {what}"));
    match what {
        0 => world.hold_persist(),
        1 => world.persist(),
        2 => world.lose(),
        3 => world.send_failed(),
        4 => world.input(Input::Congested(input.flag())),
        5 => world.stock(2),
        6 => {
            let mut site = sample();
            site.extensions.retain(|_, _| input.flag());
            site.flows.retain(|_, _| input.flag());
            site.ring_groups.clear();
            world.apply(site);
        }
        7 => world.apply(sample()),
        8 | 9 => {
            let started = world.facts().into_iter().filter_map(|fact| match fact {
                Fact::CallStarted { call, .. } => Some(call),
                _ => None,
            });
            let started: Vec<_> = started.collect();
            if !started.is_empty() {
                let (call, cause) =
                    (input.pick(&started[started.len().saturating_sub(200)..]), input.pick(&CAUSES));
                world.command(Command::HangUp { call, cause });
            }
        }
        10 => drop(world.command(Command::HangUpAll { cause: input.pick(&CAUSES) })),
        // Nothing begins after this.
        _ if input.below(8) == 0 => drop(world.command(Command::Drain)),
        _ => {}
    }
}

fn act(input: &mut Reader<'_>) -> Act {
    match input.below(40) {
        0..=2 => Act::Invite { to: input.below(NUMBERS.len()), offer: input.below(4) != 0 },
        3 | 4 => {
            let (to, offer, require) = (input.below(NUMBERS.len()), input.flag(), input.flag());
            Act::InviteWithAll { to, offer, require }
        }
        5 | 6 => Act::Prack { answer: input.flag() },
        7 | 8 => Act::RingReliably { rseq: input.below(4) as u32, sdp: input.flag(), fork: input.flag() },
        9 => Act::Update { offer: input.flag() },
        10 => Act::ReplyToUpdate { status: input.pick(&[200, 422, 481, 491, 501]) },
        11 => Act::Info,
        12 | 13 => Act::Cancel,
        14 => Act::Trying,
        15 | 16 => Act::Ring,
        17 => Act::Progress,
        18..=21 => Act::Answer,
        22 => Act::AnswerOddly,
        23 => Act::Refuse { status: input.pick(&[486, 488, 491, 500, 503, 603, 404, 302, 408]) },
        24..=26 => Act::Ack { answer: input.below(4) == 0 },
        27 => Act::Bye,
        28 => Act::Hold { direction: input.below(DIRECTIONS.len()) },
        29 => Act::AskForOffer,
        30 => Act::ChangeCodec,
        31 | 32 => Act::Refer { to: input.below(NUMBERS.len()) },
        33 | 34 => Act::ReferTo { line: input.below(LINES) },
        35 => Act::Replace { line: input.below(LINES) },
        36 => Act::Repeat,
        37 => Act::Lose { what: input.below(LOSSES.len()), count: 1 + input.below(3) as u32 },
        38 => Act::Manual(input.flag()),
        _ => Act::Register { expires: input.pick(&[0, 60, 3600]) },
    }
}
