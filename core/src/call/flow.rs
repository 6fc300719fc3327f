//! A call that runs a flow: the interpreter asks, the call does it.

use serde::{Deserialize, Serialize};

use super::{Call, Desk, State};
use crate::app::{AppCommand, AppEvent, UNANSWERED_MAX};
use crate::cause::Cause;
use crate::codec::Codec;
use crate::description::Formats;
use crate::event::{BridgeMode, Fact, LegState};
use crate::id::BridgeId;
use crate::leg::Number;
use crate::media::{BridgeKind, Feed};
use crate::negotiate::{self, GENERATED};
use crate::site::{Flow, Step};
use crate::time::Mono;

/// Which flow runs, and what the caller hears.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Running {
    pub flow: Number,
    /// Whether our answer has reached the caller.
    pub answered: bool,
    /// When it ends, unless it was answered by then.
    patience: Mono,
    /// The bridge that feeds the caller, once there is one.
    pub bridge: Option<BridgeId>,
    /// The feed that a prompt's end must name.
    pub playing: Option<BridgeId>,
    /// What the caller hears.
    pub feed: Option<Feed>,
    formats: Formats,
}

impl Running {
    /// When an unanswered flow ends.
    pub fn deadline(&self) -> Option<Mono> {
        (!self.answered).then_some(self.patience)
    }
}

impl Call {
    pub(super) fn start_flow(&mut self, desk: &mut Desk<'_>, flow: &Flow) {
        let Some(caller) = &self.caller else { return };
        let answered = caller.state == LegState::Up;
        let offered = match &caller.remote {
            Some(_) if answered => Some(caller.agreed()),
            remote => remote.as_ref().map(|offer| offer.formats.clone()),
        };
        let Some(formats) = formats_for(flow, offered.as_deref()) else {
            return self.transfer_failed(desk, Cause::IncompatibleDestination);
        };
        desk.fact(Fact::FlowStarted { call: self.id, leg: caller.id, flow: flow.number.clone() });
        self.state = State::Flow(Running {
            flow: flow.number.clone(),
            answered,
            patience: desk.now + UNANSWERED_MAX,
            bridge: None,
            playing: None,
            feed: None,
            formats,
        });
        desk.app(self.id, AppEvent::Started { steps: flow.steps.clone() });
        if answered {
            self.transfer_completed(desk, None);
        }
    }

    pub(super) fn flow_asks(&mut self, desk: &mut Desk<'_>, command: AppCommand) {
        let State::Flow(running) = &mut self.state else { return };
        match command {
            AppCommand::Answer if running.answered => desk.app(self.id, AppEvent::Answered),
            AppCommand::Answer => {
                let formats = running.formats.clone();
                running.patience = desk.now + UNANSWERED_MAX;
                self.answered = true;
                self.answer_caller(desk, formats);
                if let Some(caller) = &self.caller {
                    desk.fact(Fact::CallAnswered { call: self.id, by: caller.id });
                }
            }
            AppCommand::Feed(feed) => self.feed(desk, feed),
            AppCommand::HangUp { cause } => self.end(desk, cause, None),
        }
    }

    pub(super) fn flow_answered(&mut self, desk: &mut Desk<'_>) {
        let State::Flow(running) = &mut self.state else { return };
        if !running.answered {
            running.answered = true;
            desk.app(self.id, AppEvent::Answered);
        }
    }

    /// Who calls the flow from now on has been answered elsewhere before, however far the flow is.
    pub(super) fn flow_has_caller(&mut self, desk: &mut Desk<'_>) {
        let State::Flow(running) = &mut self.state else { return };
        let asked = std::mem::replace(&mut self.answered, true);
        if !asked && let Some(caller) = &self.caller {
            desk.fact(Fact::CallAnswered { call: self.id, by: caller.id });
        }
        if !std::mem::replace(&mut running.answered, true) && asked {
            desk.app(self.id, AppEvent::Answered);
        }
    }

    pub(super) fn play_ended(&mut self, desk: &mut Desk<'_>, bridge: BridgeId) {
        let State::Flow(running) = &mut self.state else { return };
        if running.playing == Some(bridge) {
            running.playing = None;
            desk.app(self.id, AppEvent::PlayEnded);
        }
    }

    /// Another leg has taken the caller's place: it hears what that one heard, a prompt from its beginning.
    pub(super) fn feed_again(&mut self, desk: &mut Desk<'_>) {
        let State::Flow(running) = &mut self.state else { return };
        running.bridge = None;
        if let Some(feed) = running.feed.take() {
            self.feed(desk, feed);
        }
    }

    fn feed(&mut self, desk: &mut Desk<'_>, feed: Feed) {
        let (State::Flow(running), Some(caller)) = (&mut self.state, &self.caller) else { return };
        let Some(port) = caller.port else { return };
        let media = desk.ids.bridge();
        running.feed = Some(feed.clone());
        running.playing = matches!(feed, Feed::Prompt { .. }).then_some(media);
        if running.bridge.is_none() {
            running.bridge = Some(media);
            desk.fact(Fact::BridgeCreated { bridge: media, call: self.id, mode: BridgeMode::Hold });
            desk.fact(Fact::BridgeEntered { bridge: media, leg: caller.id, legs: 1 });
        }
        desk.bridge(media, BridgeKind::Hold { port: port.port, feed });
    }
}

/// What a flow's caller is answered with, or offered when it made no offer. A flow that generates sound
/// needs a codec that we can generate; one that only echoes takes any.
pub(super) fn formats_for(flow: &Flow, offered: Option<&[crate::Format]>) -> Option<Formats> {
    let generates = |step: &Step| match step {
        Step::Tone { .. } | Step::Play { .. } => true,
        Step::Answer | Step::Wait { .. } | Step::Echo | Step::HangUp { .. } => false,
    };
    let Some(offered) = offered else { return Some(negotiate::own_offer(GENERATED)) };
    let generated = negotiate::answer_from(offered, GENERATED);
    if !generated.is_empty() {
        return Some(generated);
    }
    let any = negotiate::answer_from(offered, Codec::VOICE);
    (!any.is_empty() && !flow.steps.iter().any(generates)).then_some(any)
}
