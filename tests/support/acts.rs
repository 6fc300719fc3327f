//! What phones do when nobody tells them what is right.

use std::time::Duration;

use dialtone_core::Direction;
use dialtone_core::media::{BridgeKind, MediaCommand, MediaEvent};
use dialtone_signaling::message::{Method, Name};
use dialtone_signaling::wire::Transport;

use super::{Phone, World, sdp};

#[derive(Clone, Copy, Debug)]
pub enum Act {
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

pub const NUMBERS: [&str; 9] = ["1001", "1002", "1003", "1004", "500", "500", "*43", "900", "4711"];
pub const LOSSES: [&str; 8] = ["INVITE", "ACK", "BYE", "CANCEL", "200", "re-INVITE", "18", "NOTIFY"];
/// Phones, of which the last two are further lines of the first and second.
pub const LINES: usize = 7;
pub const DIRECTIONS: [Direction; 3] = [Direction::SendOnly, Direction::Inactive, Direction::SendRecv];

/// The phones of a test in which anybody does anything, registered.
pub fn lines(world: &World) -> [Phone; LINES] {
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
    phones
}

/// One of them does this, if it can now.
pub fn carry_out(world: &World, phones: &[Phone; LINES], phone: usize, act: Act) {
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
