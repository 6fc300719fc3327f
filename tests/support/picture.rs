//! What a test shows: each call's ladder, what the media engine was told, and the records.

use std::fmt::Write as _;

use dialtone::ladder::draw;
use dialtone::switch::Effect;
use dialtone_core::media::{BridgeKind, Feed, MediaCommand, Stream};
use dialtone_core::{Codec, Fact, PortId};

use super::World;

impl World {
    /// Ends the test: lets the network fall silent, checks that nothing is left, compares the picture of
    /// its calls.
    pub fn check(&self, name: &str) {
        self.finish();
        golden(name, &self.picture());
    }

    /// The same for what is no call: every message, as it passed.
    pub fn check_wire(&self, name: &str) {
        let wire = draw(&self.0.borrow().wire);
        self.finish();
        golden(name, &wire);
    }

    pub fn picture(&self) -> String {
        let mut inner = self.0.borrow_mut();
        let now = inner.now.mono;
        let mut picture = String::new();
        for trace in inner.recorder.complete(now) {
            let _ = writeln!(picture, "{}", draw(&trace.rungs));
        }
        let began = inner.events.iter().find_map(|event| match event.fact {
            Fact::CallStarted { .. } => Some(event.at.mono),
            _ => None,
        });
        for (at, effect) in &inner.effects {
            if let Effect::Media(command) = effect {
                let at = at.since(began.unwrap_or_default());
                let _ = writeln!(
                    picture,
                    "media  {:<69}  +{}.{:03}",
                    media(command),
                    at.as_secs(),
                    at.subsec_millis()
                );
            }
        }
        for cdr in &inner.cdrs {
            let answered_by = cdr.answered_by.as_deref().unwrap_or("-");
            let _ = writeln!(
                picture,
                "\ncdr    {} to {}: {:?}, answered by {answered_by}, {:?} ended it: {}, {} of {} ms",
                cdr.from.number,
                cdr.dialed,
                cdr.disposition,
                cdr.ended_by,
                cdr.cause,
                cdr.talk_ms,
                cdr.duration_ms
            );
            for transfer in &cdr.transfers {
                let outcome = transfer.outcome.map_or("open".to_owned(), |outcome| format!("{outcome:?}"));
                let (by, kind, to) = (&transfer.by, transfer.kind, &transfer.to);
                let _ = writeln!(picture, "       {by} transfers to {to}: {kind:?}, {outcome}");
            }
            if let Some(call) = cdr.merged_into {
                let _ = writeln!(picture, "       goes on in {call} of {}", cdr.conversation);
            }
            for leg in &cdr.legs {
                let (codec, outcome) = (leg.codec.map_or("-", Codec::name), leg.outcome);
                let outcome = outcome.map_or(String::new(), |outcome| format!(" {outcome:?}"));
                let cause = leg.cause.map_or(0, |cause| cause.code());
                let moved = leg.moved_to.map_or(String::new(), |call| format!(" moved to {call}"));
                let _ = writeln!(
                    picture,
                    "       {} {:?} {codec}{outcome} cause={cause}{moved}",
                    leg.endpoint, leg.side
                );
            }
        }
        picture
    }
}

fn golden(name: &str, picture: &str) {
    insta::with_settings!({
        snapshot_path => "../ladder",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, picture);
    });
}

fn media(command: &MediaCommand) -> String {
    let port = |port: &PortId| format!("{}/{}", port.worker, port.number);
    match command {
        MediaCommand::Configure { port: id, stream } => format!("{} {}", port(id), describe(stream)),
        MediaCommand::Bridge { kind: BridgeKind::Relay { a, b }, .. } => {
            format!("{} relay {}", port(a), port(b))
        }
        MediaCommand::Bridge { kind: BridgeKind::Hold { port: id, feed }, .. } => {
            let feed = match feed {
                Feed::Nothing => "nothing".into(),
                Feed::Echo => "echo".into(),
                Feed::Tone { hz, level_dbm0 } => format!("tone {hz} Hz {level_dbm0} dBm0"),
                Feed::Ringback => "ringback".into(),
                Feed::Prompt { prompt } => format!("prompt {prompt}"),
            };
            format!("{} {feed}", port(id))
        }
        MediaCommand::Release { port: id } => format!("{} release", port(id)),
    }
}

fn describe(stream: &Stream) -> String {
    let short = |codec: Codec| if codec == Codec::TelephoneEvent { "te" } else { codec.name() };
    let maps = |list: &mut dyn Iterator<Item = (Codec, u8)>| {
        list.map(|(codec, number)| format!(" {}:{number}", short(codec))).collect::<String>()
    };
    let receive = maps(&mut stream.receive.iter().map(|(number, codec)| (*codec, *number)));
    let send = maps(&mut stream.send.iter().copied());
    let ptime = if stream.ptime_ms == 20 { String::new() } else { format!(" {} ms", stream.ptime_ms) };
    let relatch = if stream.relatch { " relatch" } else { "" };
    let (direction, rtp) = (stream.direction, stream.rtp);
    format!("{rtp} {direction:?}, receives{receive}, sends{send}{ptime}{relatch}")
}
