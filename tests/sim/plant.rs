//! Faults that are planted between the switch and whoever checks it: each must be found, by its name.

use dialtone::switch::{Effect, SwitchCounts};
use dialtone_api::View;
use dialtone_core::cdr::Cdr;
use dialtone_core::media::{BridgeKind, MediaCommand};
use dialtone_core::{Event, Fact};
use dialtone_signaling::message::{Message, Method, Name};
use dialtone_signaling::wire::Transmit;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// The switch as it is.
    #[default]
    Nothing,
    /// An end of a call is not published.
    LosesRecord,
    EndsEarly,
    SkipsSeq,
    TalksLonger,
    CountsTwice,
    RepeatsCseq,
    ChangesTag,
    AnswersTwice,
    SkipsRseq,
    AsksStrangers,
    OutsideDialog,
    ChangesRepetition,
    AcknowledgesNothing,
    CancelsNothing,
    AnswersNothing,
    LeaksPort,
    UsesPortAgain,
    /// Ports are not joined.
    Deaf,
    KeepsLeg,
    KeepsDialog,
    KeepsTransaction,
    KeepsCall,
    KeepsFlow,
    KeepsBinding,
}

/// What a message of ours says instead.
fn rewrite(transmit: &mut Transmit, change: impl FnOnce(&mut Message) -> bool) -> bool {
    let Ok(mut message) = Message::parse(transmit.payload.clone()) else { return false };
    let changed = change(&mut message);
    if changed {
        transmit.payload = message.to_bytes();
    }
    changed
}

fn is_request(transmit: &Transmit, method: &str) -> bool {
    transmit.payload.starts_with(format!("{method} ").as_bytes())
}

impl Plant {
    pub fn effects(&self, effects: &mut Vec<Effect>) {
        let mut more = Vec::new();
        effects.retain_mut(|effect| self.keep(effect, &mut more));
        effects.extend(more);
    }

    fn keep(&self, effect: &mut Effect, more: &mut Vec<Effect>) -> bool {
        match effect {
            Effect::Publish(event) => self.event(event),
            Effect::Media(command) => return self.command(command, more),
            Effect::Send(transmit) => self.message(transmit, more),
            Effect::Close(_)
            | Effect::LookUp(_)
            | Effect::Persist { .. }
            | Effect::Reply { .. }
            | Effect::Trace(_) => {}
        }
        true
    }

    fn event(&self, event: &mut Event) {
        match (self, &event.fact) {
            (Plant::LosesRecord, Fact::CallEnded { .. }) => {
                event.fact = Fact::Fault { call: None, what: "lost".into() }
            }
            (Plant::EndsEarly, Fact::RouteTaken { call, .. }) => {
                let call = *call;
                event.fact = Fact::CallEnded { call, cause: dialtone_core::Cause::NormalClearing, by: None };
            }
            (Plant::SkipsSeq, Fact::CallAnswered { .. }) => event.seq += 1,
            _ => {}
        }
    }

    fn command(&self, command: &mut MediaCommand, more: &mut Vec<Effect>) -> bool {
        match (self, &*command) {
            (Plant::LeaksPort, MediaCommand::Release { .. }) => false,
            (Plant::Deaf, MediaCommand::Bridge { kind: BridgeKind::Relay { .. }, .. }) => false,
            (Plant::UsesPortAgain, MediaCommand::Release { .. }) => {
                more.push(Effect::Media(command.clone()));
                true
            }
            _ => true,
        }
    }

    fn message(&self, transmit: &mut Transmit, more: &mut Vec<Effect>) {
        match self {
            Plant::RepeatsCseq => {
                rewrite(transmit, |message| {
                    let Message::Request(request) = message else { return false };
                    let within = request.to().is_ok_and(|to| to.tag().is_some());
                    let right = within && !matches!(request.method, Method::Ack | Method::Cancel);
                    if right {
                        let text = format!("1 {}", request.method.as_str());
                        request.headers.set(Name::CSeq, text);
                    }
                    right
                });
            }
            Plant::ChangesTag => {
                rewrite(transmit, |message| {
                    let Message::Response(response) = message else { return false };
                    let answers = response.is_success()
                        && response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
                    if answers && let Ok(to) = response.headers.to() {
                        let mut to = to.clone();
                        to.set_tag("other");
                        response.headers.set(Name::To, to);
                    }
                    answers
                });
            }
            Plant::AnswersTwice => {
                let mut again = transmit.clone();
                let refused = rewrite(&mut again, |message| {
                    let Message::Response(response) = message else { return false };
                    let success = response.is_success();
                    response.status = 486;
                    success
                });
                if refused {
                    more.push(Effect::Send(again));
                }
            }
            Plant::SkipsRseq => {
                let mut again = transmit.clone();
                let skips = rewrite(&mut again, |message| {
                    let rseq = message.headers().text(&Name::RSeq).and_then(|text| text.parse::<u32>().ok());
                    let Some(rseq) = rseq else { return false };
                    message.headers_mut().set(Name::RSeq, (rseq + 2).to_string());
                    true
                });
                if skips {
                    more.push(Effect::Send(again));
                }
            }
            Plant::AsksStrangers if is_request(transmit, "INVITE") => transmit.path.remote.set_port(9),
            Plant::OutsideDialog if is_request(transmit, "BYE") => {
                rewrite(transmit, |message| {
                    message.headers_mut().set(Name::CallId, "nobody-knows");
                    true
                });
            }
            Plant::ChangesRepetition if is_request(transmit, "INVITE") => {
                let mut again = transmit.clone();
                rewrite(&mut again, |message| {
                    message.headers_mut().push(Name::Subject, "other");
                    true
                });
                more.push(Effect::Send(again));
            }
            Plant::AcknowledgesNothing | Plant::CancelsNothing if is_request(transmit, "INVITE") => {
                let mut again = transmit.clone();
                let method = if *self == Plant::CancelsNothing { Method::Cancel } else { Method::Ack };
                rewrite(&mut again, |message| {
                    let Message::Request(request) = message else { return false };
                    let number = request.cseq().map_or(1, |cseq| cseq.number);
                    request.headers.set(Name::CSeq, format!("{number} {}", method.as_str()));
                    request.method = method;
                    true
                });
                more.push(Effect::Send(again));
            }
            Plant::AnswersNothing => {
                rewrite(transmit, |message| {
                    let Message::Response(_) = message else { return false };
                    let via = "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKnobody";
                    message.headers_mut().set(Name::Via, via);
                    true
                });
            }
            _ => {}
        }
    }

    pub fn cdr(&self, mut cdr: Cdr) -> Cdr {
        if *self == Plant::TalksLonger {
            cdr.talk_ms = cdr.duration_ms + 1;
        }
        cdr
    }

    pub fn view(&self, view: &View, event: &Event) {
        if *self == Plant::CountsTwice && matches!(event.fact, Fact::CallAnswered { .. }) {
            view.apply(event);
        }
    }

    pub fn counts(&self, mut counts: SwitchCounts) -> SwitchCounts {
        match self {
            Plant::KeepsLeg => counts.stack.legs += 1,
            Plant::KeepsDialog => {
                counts.stack.legs += 1;
                counts.stack.dialogs += 1;
            }
            Plant::KeepsTransaction => counts.stack.transactions += 1,
            Plant::KeepsCall => counts.calls += 1,
            Plant::KeepsFlow => counts.flows += 1,
            Plant::KeepsBinding => counts.stack.bindings += 1,
            _ => {}
        }
        counts
    }
}
