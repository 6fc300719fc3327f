//! Whoever we call says where else its person is: RFC 3261 §8.1.3.4.

use std::cmp::Reverse;

use dialtone_core::{Cause, HungUpBy, LegEvent, Number};

use super::Desk;
use super::cause::cause_of;
use super::leg::{Leg, State};
use crate::message::{ContactList, NameAddr, Response};
use crate::wire::Path;

/// Contacts of one redirection that are looked at further.
const REDIRECTIONS_MAX: usize = 8;

impl Leg {
    /// The far end says where else its person is (RFC 3261 §8.1.3.4). What is not served here cannot be reached.
    pub(crate) fn redirected(&mut self, desk: &mut Desk<'_>, path: Path, response: &Response) {
        let to = match response.contacts() {
            Ok(ContactList::List(contacts)) if !contacts.is_empty() => numbers(desk, path, contacts),
            Ok(ContactList::List(_) | ContactList::Star) | Err(_) => {
                self.state = State::Gone;
                let cause = cause_of(response.status, &response.headers);
                return self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::Phone });
            }
        };
        self.state = State::Gone;
        if to.is_empty() {
            let cause = Cause::DestinationOutOfOrder;
            return self.tell(desk, LegEvent::HungUp { cause, by: HungUpBy::Phone });
        }
        self.tell(desk, LegEvent::Redirected { to });
    }
}

/// The numbers of this server among contacts, by their q (RFC 3261 §8.1.3.4).
fn numbers(desk: &Desk<'_>, path: Path, mut contacts: Vec<NameAddr>) -> Vec<Number> {
    contacts.retain(|contact| desk.ways.serves(desk.identity, path, &contact.uri));
    contacts.sort_by_key(|contact| Reverse(contact.q().unwrap_or(1000)));
    let users = contacts.iter().filter_map(|contact| contact.uri.user_decoded());
    users.filter(|user| !user.is_empty()).map(|user| user.into_owned()).take(REDIRECTIONS_MAX).collect()
}
