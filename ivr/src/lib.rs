//! Interprets call flows: a program of steps, one session per call.
//!
//! ```text
//!   Started ─▶ Stepping ─Answer─▶ Answering ─Answered─▶ Stepping
//!                 │  ▲
//!            Play │  │ PlayEnded          Wait: until its deadline
//!                 ▼  │
//!              Playing       Echo, Tone: Forever      end of program: HangUp
//! ```
//!
//! Pure: it is told what happened to the call and asks for what should happen. It does not know SIP,
//! sockets or files; a step that must look something up will leave as a request and come back as an
//! event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use dialtone_core::app::{About, AppCommand, AppEvent};
use dialtone_core::media::Feed;
use dialtone_core::site::Step;
use dialtone_core::{CallId, Cause, Machine, Mono};
use serde::{Deserialize, Serialize};

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Our answer to arrive.
    Answering,
    /// A prompt to end.
    Playing,
    /// An instant.
    Waiting { until: Mono },
    /// The caller to hang up.
    Forever,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Session {
    state: State,
    rest: VecDeque<Step>,
}

/// Every flow that runs. As many as there are calls in a flow; the PBX bounds those.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    sessions: HashMap<CallId, Session>,
    deadlines: BinaryHeap<Reverse<(Mono, CallId)>>,
}

impl Flows {
    /// Flows that run.
    pub fn running(&self) -> usize {
        self.sessions.len()
    }

    /// Carries steps out until one must wait.
    fn step(&mut self, now: Mono, call: CallId, out: &mut Vec<About<AppCommand>>) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let mut ask = |what| out.push(About { call, what });
        session.state = match session.rest.pop_front() {
            Some(Step::Answer) => {
                ask(AppCommand::Answer);
                State::Answering
            }
            Some(Step::Wait { ms }) => {
                let until = now + Duration::from_millis(u64::from(ms));
                self.deadlines.push(Reverse((until, call)));
                State::Waiting { until }
            }
            Some(Step::Echo) => {
                ask(AppCommand::Feed(Feed::Echo));
                State::Forever
            }
            Some(Step::Tone { hz, level_dbm0 }) => {
                ask(AppCommand::Feed(Feed::Tone { hz, level_dbm0 }));
                State::Forever
            }
            Some(Step::Play { prompt }) => {
                ask(AppCommand::Feed(Feed::Prompt { prompt }));
                State::Playing
            }
            Some(Step::HangUp { cause }) => {
                ask(AppCommand::HangUp { cause });
                State::Forever
            }
            None => {
                ask(AppCommand::HangUp { cause: Cause::NormalClearing });
                State::Forever
            }
        };
    }
}

impl Machine for Flows {
    type Input = About<AppEvent>;
    type Output = About<AppCommand>;

    fn handle(&mut self, now: Mono, About { call, what }: Self::Input, out: &mut Vec<Self::Output>) {
        let state = self.sessions.get(&call).map(|session| session.state);
        match (state, what) {
            (None, AppEvent::Started { steps }) => {
                self.sessions.insert(call, Session { state: State::Forever, rest: steps.into() });
                self.step(now, call, out);
            }
            (Some(State::Answering), AppEvent::Answered) | (Some(State::Playing), AppEvent::PlayEnded) => {
                self.step(now, call, out);
            }
            (_, AppEvent::Ended) => {
                self.sessions.remove(&call);
            }
            // A call starts one flow, and what a session does not wait for does not move it.
            (Some(_), AppEvent::Started { .. })
            | (None | Some(State::Playing | State::Waiting { .. } | State::Forever), AppEvent::Answered)
            | (None | Some(State::Answering | State::Waiting { .. } | State::Forever), AppEvent::PlayEnded) =>
                {}
        }
    }

    fn expire(&mut self, now: Mono, out: &mut Vec<Self::Output>) {
        while let Some(&Reverse((at, call))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            let waits =
                self.sessions.get(&call).is_some_and(|session| session.state == State::Waiting { until: at });
            if waits {
                self.step(now, call, out);
            }
        }
    }

    fn deadline(&self) -> Option<Mono> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialtone_core::{IdSource, NodeId};

    #[test]
    fn a_flow_answers_waits_plays_and_hangs_up() {
        let call = IdSource::new(NodeId(1), 1, 1, 1).call();
        let (mut flows, mut out) = (Flows::default(), Vec::new());
        let about = |what| About { call, what };
        let prompt = || "welcome".to_owned();
        let steps = vec![Step::Answer, Step::Wait { ms: 500 }, Step::Play { prompt: prompt() }];
        flows.handle(Mono::ZERO, about(AppEvent::Started { steps }), &mut out);
        assert_eq!(out, [about_command(call, AppCommand::Answer)]);
        out.clear();
        flows.handle(Mono::from_millis(10), about(AppEvent::PlayEnded), &mut out);
        assert_eq!(out, [], "not what it waits for");
        flows.handle(Mono::from_millis(20), about(AppEvent::Answered), &mut out);
        assert_eq!((out.len(), flows.deadline()), (0, Some(Mono::from_millis(520))));
        flows.expire(Mono::from_millis(519), &mut out);
        assert_eq!(out, []);
        flows.expire(Mono::from_millis(520), &mut out);
        assert_eq!(out, [about_command(call, AppCommand::Feed(Feed::Prompt { prompt: prompt() }))]);
        out.clear();
        flows.handle(Mono::from_millis(3000), about(AppEvent::PlayEnded), &mut out);
        assert_eq!(out, [about_command(call, AppCommand::HangUp { cause: Cause::NormalClearing })]);
        flows.handle(Mono::from_millis(3001), about(AppEvent::Ended), &mut out);
        assert_eq!((flows.running(), flows.deadline()), (0, None));
    }

    fn about_command(call: CallId, what: AppCommand) -> About<AppCommand> {
        About { call, what }
    }
}
