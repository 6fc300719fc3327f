//! Who can be reached where, and what every phone is doing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::event::{DeviceState, Fact, LegState, Side};
use crate::id::{ContactId, IdMap, LegId, TextMap};
use crate::leg::Number;

/// One place where an endpoint can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its name.
    pub id: ContactId,
    /// Preference, thousandths: 1000 is tried first (RFC 3261 §20.10).
    pub q: u16,
    /// Whether its audio should use IPv6.
    pub ipv6: bool,
    /// Names the device, when the device says which it is: its contacts are several ways to one bell.
    pub device: Option<String>,
    /// Whether it can be reached, as far as is known.
    pub reachable: bool,
}

/// What a contact tells about itself, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactFacts {
    /// Its address, as it gave it.
    pub address: String,
    /// Over what it is reached: `udp`.
    pub transport: String,
    /// Its make; may be empty.
    pub agent: String,
    /// How long it stays without being asked for again, seconds.
    pub lasts_s: u64,
}

/// A change of where an endpoint can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContactChange {
    /// One more place.
    Added {
        /// Whose.
        endpoint: Number,
        /// Which.
        contact: Contact,
        /// From where it registered.
        source: std::net::SocketAddr,
        /// For people.
        facts: ContactFacts,
    },
    /// A place stays for longer.
    Refreshed {
        /// Whose.
        endpoint: Number,
        /// Which.
        contact: ContactId,
        /// From now on, seconds.
        lasts_s: u64,
    },
    /// A place was asked whether it is there, or its connection broke.
    Reached {
        /// Whose.
        endpoint: Number,
        /// Which.
        contact: ContactId,
        /// Whether it is.
        reachable: bool,
        /// From the question to the answer.
        round_trip: Option<Duration>,
    },
    /// One place less.
    Removed {
        /// Whose.
        endpoint: Number,
        /// Which.
        contact: ContactId,
        /// Whether it ran out, rather than being taken back.
        expired: bool,
    },
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Endpoint {
    contacts: SmallVec<[Contact; 2]>,
    /// Branches that alert it.
    alerting: u32,
    /// Legs that it talks on, or calls with.
    talking: u32,
    /// Of those, the ones that it holds.
    held: u32,
}

/// What one leg means for its phone.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Activity {
    alerting: bool,
    talking: bool,
    held: bool,
}

impl Activity {
    fn new(side: Side, state: LegState, held: bool) -> Self {
        let (alerting, talking) = match (side, state) {
            (Side::Outbound, LegState::Ringing | LegState::Early) => (true, false),
            // A branch that has not rung yet says nothing about the phone.
            (Side::Outbound, LegState::Down) => (false, false),
            (Side::Outbound, LegState::Ring | LegState::Up) | (Side::Inbound, _) => (false, true),
        };
        Activity { alerting, talking, held: talking && held }
    }
}

impl Endpoint {
    fn state(&self) -> DeviceState {
        match (self.talking > 0, self.alerting > 0) {
            (true, true) => DeviceState::RingInUse,
            (true, false) if self.held == self.talking => DeviceState::OnHold,
            (true, false) => DeviceState::InUse,
            (false, true) => DeviceState::Ringing,
            (false, false) if !self.contacts.iter().any(|contact| contact.reachable) => {
                DeviceState::Unavailable
            }
            (false, false) => DeviceState::Idle,
        }
    }

    fn begin(&mut self, activity: Activity) {
        self.alerting += u32::from(activity.alerting);
        self.talking += u32::from(activity.talking);
        self.held += u32::from(activity.held);
    }

    fn end(&mut self, activity: Activity) {
        self.alerting -= u32::from(activity.alerting);
        self.talking -= u32::from(activity.talking);
        self.held -= u32::from(activity.held);
    }

    fn is_gone(&self) -> bool {
        self.contacts.is_empty() && self.alerting + self.talking == 0
    }
}

/// Every endpoint that has a contact or a leg.
///
/// **Invariant:** a change costs the same however many legs an endpoint has: a trunk has thousands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Endpoints {
    by_number: TextMap<Number, Endpoint>,
    legs: IdMap<LegId, (Number, Activity)>,
}

impl Endpoints {
    /// None yet, with room for so many legs.
    pub fn with_room(legs: usize) -> Self {
        let legs = IdMap::with_capacity_and_hasher(legs, Default::default());
        Endpoints { by_number: TextMap::default(), legs }
    }

    /// Applies a change and pushes what it means.
    pub fn apply(&mut self, change: ContactChange, facts: &mut Vec<Fact>) {
        match change {
            ContactChange::Added { endpoint, contact, source, facts: about } => {
                let (whose, id) = (endpoint.clone(), contact.id);
                facts.push(Fact::ContactAdded { endpoint: whose, contact: id, source, about });
                facts.extend(self.change(&endpoint, |entry| {
                    entry.contacts.retain(|old| old.id != contact.id);
                    entry.contacts.push(contact);
                    entry.contacts.sort_by_key(|contact| std::cmp::Reverse(contact.q));
                }));
            }
            ContactChange::Refreshed { endpoint, contact, lasts_s } => {
                facts.push(Fact::ContactRefreshed { endpoint, contact, lasts_s });
            }
            ContactChange::Reached { endpoint, contact, reachable, round_trip } => {
                let round_trip_us =
                    round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
                let told = endpoint.clone();
                facts.push(Fact::ContactReached { endpoint: told, contact, reachable, round_trip_us });
                facts.extend(self.change(&endpoint, |entry| {
                    let meant = entry.contacts.iter_mut().filter(|known| known.id == contact);
                    meant.for_each(|known| known.reachable = reachable);
                }));
            }
            ContactChange::Removed { endpoint, contact, expired } => {
                facts.extend(self.change(&endpoint, |entry| entry.contacts.retain(|old| old.id != contact)));
                facts.push(Fact::ContactRemoved { endpoint, contact, expired });
            }
        }
    }

    /// Where an endpoint can be reached, most wanted first.
    fn contacts(&self, endpoint: &str) -> &[Contact] {
        self.by_number.get(endpoint).map_or(&[], |entry| &entry.contacts)
    }

    /// Where to ring an endpoint, or one device of it, most wanted first: each device once, by the best way to it,
    /// and what cannot be reached only when nothing else can.
    pub fn bells(&self, endpoint: &str, device: Option<&str>) -> Vec<Contact> {
        let meant = |contact: &&Contact| device.is_none() || contact.device.as_deref() == device;
        let all = || self.contacts(endpoint).iter().filter(meant);
        let some_answer = all().any(|contact| contact.reachable);
        let mut bells: Vec<Contact> = Vec::new();
        for contact in all().filter(|contact| contact.reachable || !some_answer) {
            let known = contact.device.is_some() && bells.iter().any(|bell| bell.device == contact.device);
            if !known {
                bells.push(contact.clone());
            }
        }
        bells
    }

    /// What a phone is doing.
    pub fn state(&self, endpoint: &str) -> DeviceState {
        self.by_number.get(endpoint).map_or(DeviceState::Unavailable, Endpoint::state)
    }

    /// A leg of the endpoint began or does something else now. Gives the fact that the phone does, if so.
    pub fn leg(
        &mut self,
        endpoint: &str,
        leg: LegId,
        side: Side,
        state: LegState,
        held: bool,
    ) -> Option<Fact> {
        let activity = Activity::new(side, state, held);
        let (_, known) = self.legs.entry(leg).or_insert_with(|| (endpoint.to_owned(), Activity::default()));
        // Of a leg that is new it did nothing.
        let before = std::mem::replace(known, activity);
        self.change(endpoint, |entry| {
            entry.end(before);
            entry.begin(activity);
        })
    }

    /// A leg of the endpoint is over.
    pub fn leg_ended(&mut self, leg: LegId) -> Option<Fact> {
        let (endpoint, activity) = self.legs.remove(&leg)?;
        self.change(&endpoint, |entry| entry.end(activity))
    }

    fn change(&mut self, endpoint: &str, what: impl FnOnce(&mut Endpoint)) -> Option<Fact> {
        if !self.by_number.contains_key(endpoint) {
            self.by_number.insert(endpoint.to_owned(), Endpoint::default());
        }
        let entry = self.by_number.get_mut(endpoint)?;
        let before = entry.state();
        what(entry);
        let (state, gone) = (entry.state(), entry.is_gone());
        if gone {
            self.by_number.remove(endpoint);
        }
        (state != before).then(|| Fact::DeviceStateChanged { endpoint: endpoint.to_owned(), state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{IdSource, NodeId};

    fn added(endpoint: &str, contact: Contact) -> ContactChange {
        let (source, facts) = ("127.0.0.1:5071".parse().unwrap(), ContactFacts::default());
        ContactChange::Added { endpoint: endpoint.into(), contact, source, facts }
    }

    fn reached(contact: ContactId, reachable: bool) -> ContactChange {
        ContactChange::Reached { endpoint: "1001".into(), contact, reachable, round_trip: None }
    }

    /// RFC 5626 §7: two contacts of one instance are never tried at once.
    #[test]
    fn a_device_has_one_bell_and_what_does_not_answer_is_rung_last() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let (mut endpoints, mut facts) = (Endpoints::default(), Vec::new());
        let mut contact = |device: Option<&str>, q| Contact {
            id: ids.contact(),
            q,
            ipv6: false,
            device: device.map(str::to_owned),
            reachable: true,
        };
        let all =
            [contact(Some("desk"), 1000), contact(None, 900), contact(Some("desk"), 800), contact(None, 700)];
        let [first, second, third, fourth] = all.clone().map(|contact| contact.id);
        all.into_iter().for_each(|contact| endpoints.apply(added("1001", contact), &mut facts));
        let bells = |endpoints: &Endpoints, device| {
            endpoints.bells("1001", device).iter().map(|bell| bell.id).collect::<Vec<_>>()
        };
        assert_eq!(bells(&endpoints, None), [first, second, fourth]);
        assert_eq!(bells(&endpoints, Some("desk")), [first]);
        assert_eq!(bells(&endpoints, Some("mobile")), []);
        endpoints.apply(reached(first, false), &mut facts);
        endpoints.apply(reached(fourth, false), &mut facts);
        assert_eq!(bells(&endpoints, None), [second, third]);
        assert_eq!(endpoints.state("1001"), DeviceState::Idle);
        endpoints.apply(reached(second, false), &mut facts);
        endpoints.apply(reached(third, false), &mut facts);
        assert_eq!(bells(&endpoints, None), [first, second, fourth], "none answers: all are tried");
        assert_eq!(endpoints.state("1001"), DeviceState::Unavailable);
        endpoints.apply(reached(third, true), &mut facts);
        assert_eq!((bells(&endpoints, None), endpoints.state("1001")), (vec![third], DeviceState::Idle));
    }

    #[test]
    fn a_phones_state_follows_its_contacts_and_legs() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let (mut endpoints, mut facts) = (Endpoints::default(), Vec::new());
        let contact = Contact { id: ids.contact(), q: 1000, ipv6: false, device: None, reachable: true };
        let (call, second) = (ids.leg(), ids.leg());
        let id = contact.id;
        endpoints.apply(added("1001", contact), &mut facts);
        assert_eq!(endpoints.state("1001"), DeviceState::Idle);
        let steps = [
            (call, Side::Outbound, LegState::Down, false, DeviceState::Idle),
            (call, Side::Outbound, LegState::Ringing, false, DeviceState::Ringing),
            (call, Side::Outbound, LegState::Up, false, DeviceState::InUse),
            (second, Side::Outbound, LegState::Ringing, false, DeviceState::RingInUse),
            (second, Side::Outbound, LegState::Up, false, DeviceState::InUse),
            (call, Side::Outbound, LegState::Up, true, DeviceState::InUse),
            (second, Side::Outbound, LegState::Up, true, DeviceState::OnHold),
        ];
        for (leg, side, state, held, expected) in steps {
            endpoints.leg("1001", leg, side, state, held);
            assert_eq!(endpoints.state("1001"), expected, "{leg:?} {state:?}");
        }
        endpoints.leg_ended(call);
        endpoints.leg_ended(second);
        endpoints.apply(
            ContactChange::Removed { endpoint: "1001".into(), contact: id, expired: true },
            &mut facts,
        );
        assert_eq!(endpoints.state("1001"), DeviceState::Unavailable);
        assert!(
            endpoints.by_number.is_empty() && endpoints.legs.is_empty(),
            "nothing is kept of a phone that is gone"
        );
    }
}
