//! Carries out what the switch asks for. Nothing here blocks: what finds no room waits in a bounded
//! backlog, or is answered as failed.
//!
//! Of a turn in which a call is answered nothing is sent before the keeper has noted the call: who is told that a call
//! is up finds its record, whatever happens to the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use dialtone_core::event::Fact;
use dialtone_core::media::MediaCommand;
use dialtone_media::Engine;
use dialtone_signaling::registrar::{BindingChange, PersistToken};
use dialtone_signaling::transport::TransportHandle;
use dialtone_store::{StateWriter, WriterCounters};

use super::control::Replies;
use super::held::Held;
use super::keeper::Kept;
use super::waiting::Waiting;
use super::{offer, restore};
use crate::clock::ProcessClock;
use crate::switch::Effect;

/// Media commands that may wait for a worker's ring, or things to keep that may wait for the keeper, before
/// new calls are refused. What calls in progress add after that is bounded by their number.
pub(super) const BACKLOG_LIMIT: usize = 4096;

/// The ways out of the control thread.
pub(super) struct Shell {
    transport: TransportHandle,
    engine: Engine,
    /// By worker: one that is behind holds up nobody else's sound.
    media_backlog: BTreeMap<u16, VecDeque<MediaCommand>>,
    keeper: SyncSender<Kept>,
    /// What waits for it, the backlog included.
    keeper_waiting: Arc<Waiting>,
    keeper_backlog: VecDeque<Kept>,
    held: Held,
    state: Arc<StateWriter>,
    clock: ProcessClock,
    replies: Arc<Replies>,
    /// Changes that could not even be queued.
    failed: Vec<PersistToken>,
}

impl Shell {
    pub fn new(
        transport: TransportHandle,
        engine: Engine,
        keeper: (SyncSender<Kept>, Arc<Waiting>),
        held: Held,
        state: Arc<StateWriter>,
        clock: ProcessClock,
        replies: Arc<Replies>,
    ) -> Self {
        let (media_backlog, keeper_backlog) = (BTreeMap::new(), VecDeque::new());
        let (failed, (keeper, keeper_waiting)) = (Vec::new(), keeper);
        Shell {
            transport,
            engine,
            media_backlog,
            keeper,
            keeper_waiting,
            keeper_backlog,
            held,
            state,
            clock,
            replies,
            failed,
        }
    }

    /// Carries out the effects of one turn, in order.
    pub fn carry_out(&mut self, effects: &mut Vec<Effect>) {
        let answers = effects.iter().any(tells_of_an_answer);
        let mut later = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(transmit) if answers || self.held.holds(transmit.path.remote) => {
                    later.push(transmit)
                }
                Effect::Send(transmit) => self.transport.send(transmit),
                Effect::LookUp(question) => self.transport.look_up(question),
                Effect::Close(flow) => self.transport.close(flow),
                Effect::Media(command) => self.media(command),
                Effect::Publish(event) => self.keep(Kept::Event(Box::new(event))),
                Effect::Trace(traced) if self.keeper_waiting.takes_traces() => {
                    self.keep(Kept::Trace(Box::new(traced)));
                }
                Effect::Trace(_) => self.keeper_waiting.lose_trace(),
                Effect::Persist { changes, notify } => self.persist(&changes, notify),
                Effect::Reply { reply_to, reply } => self.replies.reply(reply_to, reply),
            }
        }
        for transmit in later {
            self.held.hold(transmit.path.remote);
            self.keep(Kept::Send(Box::new(transmit)));
        }
    }

    /// Changes that could not be kept since the last look; whoever waits for them must be told.
    pub fn take_failed(&mut self) -> Vec<PersistToken> {
        std::mem::take(&mut self.failed)
    }

    /// What the state writer counts.
    pub fn state_counters(&self) -> WriterCounters {
        self.state.counters()
    }

    /// Commands that wait for a media worker's ring, of the worker of which most do.
    pub fn media_backlog(&self) -> usize {
        self.media_backlog.values().map(VecDeque::len).max().unwrap_or(0)
    }

    /// Whether so much waits that new calls must be refused.
    pub fn is_behind(&self) -> bool {
        self.media_backlog().max(self.keeper_backlog.len()) >= BACKLOG_LIMIT
    }

    /// Tries again what found no room.
    pub fn retry(&mut self) {
        self.media_backlog.retain(|_, backlog| {
            while let Some(command) = backlog.pop_front() {
                if let Err(command) = self.engine.send(command) {
                    backlog.push_front(command);
                    break;
                }
            }
            !backlog.is_empty()
        });
        while let Some(kept) = self.keeper_backlog.pop_front() {
            if let Err(kept) = offer(&self.keeper, kept) {
                self.keeper_backlog.push_front(kept);
                break;
            }
        }
    }

    /// The last of it: what waits for the keeper is handed over, however long that takes.
    pub fn close(self) {
        for kept in self.keeper_backlog {
            // An error means that the keeper has ended already.
            let _ = self.keeper.send(kept);
        }
        drop(self.keeper);
        // The state writer ends with the keeper, who has the last word to it.
        drop(self.state);
    }

    fn media(&mut self, command: MediaCommand) {
        let worker = command.worker();
        let command = match self.media_backlog.get(&worker) {
            None => self.engine.send(command).err(),
            Some(_) => Some(command),
        };
        if let Some(command) = command {
            self.media_backlog.entry(worker).or_default().push_back(command);
        }
    }

    fn keep(&mut self, kept: Kept) {
        self.keeper_waiting.put();
        let kept = match self.keeper_backlog.is_empty() {
            true => offer(&self.keeper, kept).err(),
            false => Some(kept),
        };
        let Some(kept) = kept else { return };
        // A trace may be lost; nothing else may.
        if self.keeper_backlog.len() < BACKLOG_LIMIT || !matches!(kept, Kept::Trace(_)) {
            self.keeper_backlog.push_back(kept);
        } else {
            self.keeper_waiting.taken();
            self.keeper_waiting.lose_trace();
        }
    }

    fn persist(&mut self, changes: &[BindingChange], notify: Option<PersistToken>) {
        let batch = restore::batch(changes, notify.map(|token| token.0), self.clock.reading());
        if let Err(error) = self.state.submit(batch) {
            tracing::warn!(%error, "a registration could not be kept");
            if let Some(token) = notify {
                self.failed.push(token);
            }
        }
    }
}

fn tells_of_an_answer(effect: &Effect) -> bool {
    matches!(effect, Effect::Publish(event) if matches!(event.fact, Fact::CallAnswered { .. }))
}
