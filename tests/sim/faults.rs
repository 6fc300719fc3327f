//! What happens around phones: their people, and what goes wrong.

use std::time::Duration;

use dialtone::switch::Input;
use dialtone_core::command::Command;
use dialtone_core::{Cause, Mono};

use super::phone::{Others, replaces};
use super::rng::Rng;
use super::site;
use super::swarm::Fault;
use super::world::{Happening, World};

pub struct Faults {
    rng: Rng,
    /// Until when no sound comes from each phone.
    pub muted: Vec<Mono>,
    whole: bool,
    congested: bool,
}

impl Faults {
    pub fn new(seed: u64, phones: usize) -> Faults {
        Faults { rng: Rng::new(seed, 5), muted: vec![Mono::ZERO; phones], whole: true, congested: false }
    }
}

impl World {
    /// A phone's person does something, and will again.
    pub fn act(&mut self, at: usize) {
        if !self.acting {
            return;
        }
        let swarm_acts = self.swarm.acts.clone();
        if let Some(act) = self.rng.weighted(&swarm_acts) {
            let dialogs = self.phones.iter().filter(|phone| phone.at != at);
            let dialogs = dialogs.flat_map(|phone| &phone.calls).filter(|call| !call.remote_tag.is_empty());
            let dialogs = dialogs.map(replaces).collect();
            let others = Others { numbers: site::numbers(&self.swarm), dialogs };
            self.with_phone(at, |phone| phone.act(act, &others));
        }
        let after = self.rng.millis(100, self.swarm.pace_ms);
        self.plan(after, Happening::Act(at));
    }

    /// Something goes wrong, and will again.
    pub fn fault(&mut self) {
        if !self.acting {
            return;
        }
        let faults = self.swarm.faults.clone();
        if let Some(fault) = self.faults.rng.weighted(&faults) {
            let phone = self.faults.rng.below(self.phones.len() as u64) as usize;
            self.inflict(fault, phone);
        }
        let after = self.faults.rng.millis(200, self.swarm.fault_ms);
        self.plan(after, Happening::Fault);
    }

    fn inflict(&mut self, fault: Fault, phone: usize) {
        match fault {
            Fault::Partition => self.net.cut[phone] = self.now + self.faults.rng.millis(500, 40_000),
            Fault::Mute => self.faults.muted[phone] = self.now + self.faults.rng.millis(1000, 25_000),
            Fault::Restart => {
                let flow = self.phones[phone].line.flow;
                self.new_port(phone);
                self.with_phone(phone, |phone| phone.restart());
                if let Some(flow) = flow {
                    self.break_flow(flow, Duration::from_millis(20));
                    self.phones[phone].line.flow = None;
                }
            }
            Fault::Rebind if self.phones[phone].line.flow.is_none() => {
                // Without a router in between nothing moves.
                let line = &self.phones[phone].line;
                if line.own.ip() != line.public.ip() {
                    self.new_port(phone);
                }
            }
            Fault::Rebind | Fault::FlowDies => {
                let after = self.faults.rng.millis(0, 5000);
                if let Some(flow) = self.phones[phone].line.flow {
                    self.break_flow(flow, after);
                }
            }
            Fault::Reload => {
                self.faults.whole = !self.faults.whole;
                self.reload(self.faults.whole);
            }
            Fault::Congested => {
                self.faults.congested = !self.faults.congested;
                self.input(Input::Congested(self.faults.congested));
            }
            Fault::HangUpCommand => {
                let open = self.checks.open_calls();
                if !open.is_empty() {
                    let call = *self.faults.rng.pick(&open);
                    self.command(Command::HangUp { call, cause: Cause::NormalClearing });
                }
            }
            Fault::HangUpAll => self.hang_up_all(),
            Fault::Drain => self.command(Command::Drain),
        }
    }

    /// Packets of a phone come from another port; without a router in between it knows that port.
    fn new_port(&mut self, phone: usize) {
        let port = self.net.port();
        let line = &mut self.phones[phone].line;
        let direct = line.own.ip() == line.public.ip();
        if !line.transport.is_reliable() {
            line.public.set_port(port);
        }
        if direct {
            line.own = line.public;
        }
    }

    /// Nothing goes wrong any more, and nobody begins anything.
    pub fn faults_off(&mut self) {
        self.acting = false;
        self.net.faults = false;
        self.reload(true);
        self.input(Input::Congested(false));
        for phone in &mut self.phones {
            phone.calm = true;
        }
    }
}
