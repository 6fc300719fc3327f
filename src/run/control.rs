//! The control thread and the queue in front of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dialtone_api::Unavailable;
use dialtone_core::Mono;
use dialtone_core::command::{Command, Reply};
use dialtone_core::media::MediaEvent;
use dialtone_core::pbx::ReplyTo;
use dialtone_signaling::net::Addresses;
use dialtone_signaling::registrar::PersistToken;
use dialtone_signaling::stack::SipInput;
use dialtone_signaling::transport::{Class, Sink};
use dialtone_signaling::wire::TransportEvent;
use dialtone_store::Notice;
use tokio::sync::oneshot;

use super::effects::Shell;
use super::lag::{Lag, Pace};
use super::metrics::Writers;
use super::offer;
use super::turns::{Did, Meter, Turns, What};
use crate::clock::ProcessClock;
use crate::switch::{Effect, Input, Switch, SwitchCounts};

/// What stands in the queue.
pub(super) enum Item {
    /// For the switch, and since when it waits.
    Input(Mono, Input),
    /// End the thread.
    Stop,
}

/// The way into the control thread: bounded, with a share kept for what calls in progress need.
#[derive(Clone)]
pub(super) struct ControlQueue {
    sender: SyncSender<Item>,
    depth: Arc<AtomicUsize>,
    capacity: usize,
    clock: ProcessClock,
    lag: Arc<Lag>,
}

impl ControlQueue {
    pub fn new(sender: SyncSender<Item>, capacity: usize, clock: ProcessClock, lag: Lag) -> Self {
        ControlQueue { sender, depth: Arc::default(), capacity, clock, lag: Arc::new(lag) }
    }

    /// How far the control thread is behind.
    pub fn lag(&self) -> &Lag {
        &self.lag
    }

    fn item(&self, input: Input) -> Item {
        Item::Input(self.clock.now().mono, input)
    }

    /// Items that wait.
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Items that may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn push(&self, item: Item) -> Result<(), Item> {
        self.depth.fetch_add(1, Ordering::Relaxed);
        offer(&self.sender, item).inspect_err(|_| {
            self.depth.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// From the SIP transport. New work may fill three quarters.
    pub fn transport(&self, class: Class, event: TransportEvent) -> Result<(), TransportEvent> {
        if class != Class::Kept && self.depth() >= self.capacity / 4 * 3 {
            return Err(event);
        }
        self.push(self.item(Input::Sip(SipInput::Transport(event)))).map_err(|item| match item {
            Item::Input(_, Input::Sip(SipInput::Transport(event))) => event,
            Item::Input(..) | Item::Stop => unreachable!("the queue gives back what was offered"),
        })
    }

    /// Which addresses of ours peers can use from now on; false when there is no room now.
    pub fn addresses(&self, external: Addresses, default: Addresses) -> bool {
        self.push(self.item(Input::Sip(SipInput::Addresses { external, default }))).is_ok()
    }

    /// From the media engine.
    pub fn media(&self, event: MediaEvent) -> Result<(), MediaEvent> {
        self.push(self.item(Input::Media(event))).map_err(|item| match item {
            Item::Input(_, Input::Media(event)) => event,
            Item::Input(..) | Item::Stop => unreachable!("the queue gives back what was offered"),
        })
    }

    /// From the state writer, on its own thread. It may wait here: the control thread never waits for it.
    pub fn noticed(&self, notice: Notice) {
        let input = match notice {
            Notice::Persisted { seq } => SipInput::Persisted(PersistToken(seq)),
            Notice::Lost { seq } => SipInput::NotPersisted(PersistToken(seq)),
        };
        self.depth.fetch_add(1, Ordering::Relaxed);
        // An error means that the control thread has ended, and with it everybody who waited.
        let _ = self.sender.send(self.item(Input::Sip(input)));
    }

    /// Ends the thread when it has done what came before.
    pub fn stop(&self) {
        self.depth.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(Item::Stop);
    }
}

impl Sink for ControlQueue {
    fn offer(&self, class: Class, event: TransportEvent) -> Result<(), Box<TransportEvent>> {
        self.transport(class, event).map_err(Box::new)
    }

    fn is_open(&self, class: Class, now: Mono) -> bool {
        self.lag.is_open(class, self.depth(), now)
    }
}

/// Who waits for the reply to which command.
#[derive(Default)]
pub(super) struct Replies {
    waiting: Mutex<HashMap<ReplyTo, oneshot::Sender<Reply>>>,
    next: AtomicU64,
}

impl Replies {
    /// Hands a reply to whoever waits.
    pub fn reply(&self, reply_to: ReplyTo, reply: Reply) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&reply_to);
        if let Some(waiting) = waiting {
            // Whoever asked may have gone away.
            let _ = waiting.send(reply);
        }
    }

    /// The commands of the outside, on their way to `queue`.
    pub fn commands(self: &Arc<Self>, queue: ControlQueue) -> Commands {
        Commands { replies: Arc::clone(self), queue }
    }
}

/// See [`Replies::commands`].
#[derive(Clone)]
pub(super) struct Commands {
    replies: Arc<Replies>,
    queue: ControlQueue,
}

impl dialtone_api::Control for Commands {
    async fn command(&self, command: Command) -> Result<Reply, Unavailable> {
        let reply_to = ReplyTo(self.replies.next.fetch_add(1, Ordering::Relaxed));
        let (sender, reply) = oneshot::channel();
        self.replies.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(reply_to, sender);
        if self.queue.push(self.queue.item(Input::Command { reply_to, command })).is_err() {
            self.replies.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&reply_to);
            return Err(Unavailable::Busy);
        }
        reply.await.map_err(|_| Unavailable::Stopped)
    }
}

/// The control thread.
pub(super) struct Control {
    pub clock: ProcessClock,
    pub received: Receiver<Item>,
    pub queue: ControlQueue,
    pub shell: Shell,
    pub counts: Arc<Mutex<SwitchCounts>>,
    /// Set by the record keeper while it cannot keep up.
    pub congested: Arc<AtomicBool>,
    pub turns: Arc<Turns>,
    pub writers: Arc<Writers>,
}

/// What the thread works with, used again at each turn.
#[derive(Default)]
struct Bench {
    effects: Vec<Effect>,
    meter: Meter,
}

/// Inputs that one sampling of the clock may serve, so that a burst does not starve timers.
const BATCH: usize = 64;
/// The longest sleep: counts and congestion are looked at this often.
const LOOK: Duration = Duration::from_millis(250);
/// The same while the last calls end.
const LAST_LOOK: Duration = Duration::from_millis(10);

impl Control {
    /// Wait for the next input or deadline, sample the clock, fire timers, apply, carry out.
    pub fn run(mut self, switch: &mut Switch, first: Vec<Input>) {
        let (mut bench, mut pace) = (Bench::default(), Pace::default());
        let (mut effects, mut congested) = (Vec::new(), false);
        for input in first {
            switch.handle(self.clock.now(), input, &mut effects);
            self.shell.carry_out(&mut effects);
        }
        self.publish(switch);
        loop {
            if self.queue.depth() == 0 {
                self.queue.lag.rests(&mut pace);
            }
            let now = self.clock.now();
            let wait = switch.deadline().map_or(LOOK, |deadline| deadline.since(now.mono).min(LOOK));
            let mut item = match self.received.recv_timeout(wait) {
                Ok(item) => Some(item),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.expire(switch, &mut bench);
            let mut left = BATCH;
            while let Some(next) = item.take() {
                self.queue.depth.fetch_sub(1, Ordering::Relaxed);
                let Item::Input(came, input) = next else {
                    return self.finish(switch);
                };
                self.queue.lag.works_on(came);
                let over = self.turn(switch, input, &mut bench);
                self.queue.lag.has_done_one(&mut pace, over);
                left -= 1;
                item = if left > 0 { self.received.try_recv().ok() } else { None };
            }
            if (self.congested.load(Ordering::Relaxed) || self.shell.is_behind()) != congested {
                congested = !congested;
                self.turn(switch, Input::Congested(congested), &mut bench);
            }
            for token in self.shell.take_failed() {
                self.turn(switch, Input::Sip(SipInput::NotPersisted(token)), &mut bench);
            }
            self.shell.retry();
            self.queue.lag.congested(congested || switch.is_full());
            self.publish(switch);
            *self.writers.state.lock().unwrap_or_else(PoisonError::into_inner) = self.shell.state_counters();
            self.writers.media_backlog.store(self.shell.media_backlog(), Ordering::Relaxed);
        }
    }

    /// Applies an input and carries out what follows; when that was done.
    fn turn(&mut self, switch: &mut Switch, input: Input, bench: &mut Bench) -> Mono {
        let commanded = matches!(input, Input::Command { .. });
        let what = What::of(&input);
        let now = self.clock.now();
        switch.handle(now, input, &mut bench.effects);
        if commanded {
            // Whoever gets the reply to `Drain` looks here for calls that began before it.
            self.publish(switch);
        }
        self.settle(what, now.mono, bench)
    }

    /// Fires what is due, if anything is.
    fn expire(&mut self, switch: &mut Switch, bench: &mut Bench) {
        let now = self.clock.now();
        if switch.deadline().is_some_and(|deadline| deadline <= now.mono) {
            switch.expire(now, &mut bench.effects);
            self.settle(What::TIMERS, now.mono, bench);
        }
    }

    /// Carries out what a turn asks for, and notes how long it took; when it was over.
    fn settle(&mut self, what: What, began: Mono, bench: &mut Bench) -> Mono {
        let decided = self.clock.now().mono;
        let did = Did::of(&bench.effects);
        self.shell.carry_out(&mut bench.effects);
        let over = self.clock.now();
        bench.meter.note(&self.turns, what, did, began, decided, over);
        over.mono
    }

    fn publish(&self, switch: &Switch) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = switch.counts();
    }

    /// Ends what the drain has left, so that every call has its BYE and its record, then the writers.
    fn finish(mut self, switch: &mut Switch) {
        let mut effects = Vec::new();
        let everything = Command::HangUpAll { cause: dialtone_core::Cause::NormalUnspecified };
        // Nobody waits for this reply.
        let input = Input::Command { reply_to: ReplyTo(u64::MAX), command: everything };
        switch.handle(self.clock.now(), input, &mut effects);
        while switch.counts().calls > 0 {
            let now = self.clock.now();
            switch.expire(now, &mut effects);
            // What the media threads measured belongs into the records; a call waits for it two seconds.
            if let Ok(Item::Input(_, input)) = self.received.recv_timeout(LAST_LOOK) {
                switch.handle(now, input, &mut effects);
            }
            self.shell.carry_out(&mut effects);
            self.shell.retry();
        }
        let stopped = Input::Process(dialtone_core::event::Fact::Stopped);
        switch.handle(self.clock.now(), stopped, &mut effects);
        self.shell.carry_out(&mut effects);
        // The state writer may be waiting for room in this queue, and is waited for next.
        drop(self.received);
        self.shell.close();
    }
}
