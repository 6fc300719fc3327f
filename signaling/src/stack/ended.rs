//! Dialogs that have just ended: a BYE that crossed ours, and a PRACK that crossed our refusal, are no
//! mistake of whoever sent them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use dialtone_core::{Mono, TextMap};

use crate::message::{Method, Request};

/// Dialogs that are remembered; the oldest goes.
const ENDED_MAX: usize = 4096;

struct Dialog {
    call_id: Bytes,
    remote_tag: String,
    peer: IpAddr,
    until: Mono,
    /// The number of its peer's last farewell.
    farewell: Option<u32>,
}

/// See the module. By our tag.
pub(crate) struct Ended {
    dialogs: TextMap<String, Dialog>,
    order: VecDeque<(Mono, String)>,
}

/// With room for all of them: growing moves all of it within the turn of some BYE.
impl Default for Ended {
    fn default() -> Self {
        Ended {
            dialogs: TextMap::with_capacity_and_hasher(ENDED_MAX, Default::default()),
            order: VecDeque::with_capacity(ENDED_MAX),
        }
    }
}

impl Ended {
    /// A dialog has ended; it is remembered until then.
    pub fn remember(&mut self, now: Mono, until: Mono, local_tag: &str, of: (&Bytes, &str, IpAddr)) {
        while let Some(&(at, _)) = self.order.front()
            && (at <= now || self.order.len() >= ENDED_MAX)
            && let Some((_, tag)) = self.order.pop_front()
        {
            let later = self.dialogs.get(&tag).map(|dialog| dialog.until).filter(|until| *until > now);
            match later.filter(|_| at <= now) {
                Some(until) => self.order.push_back((until, tag)),
                None => drop(self.dialogs.remove(&tag)),
            }
        }
        let (call_id, remote_tag, peer) = of;
        let dialog = Dialog {
            call_id: call_id.clone(),
            remote_tag: remote_tag.to_owned(),
            peer,
            until,
            farewell: None,
        };
        if self.dialogs.insert(local_tag.to_owned(), dialog).is_none() {
            self.order.push_back((until, local_tag.to_owned()));
        }
    }

    /// Whether a request is the peer's farewell in one of them. It may be repeated for `patience`, and is answered as
    /// before (RFC 3261 §8.2.7).
    pub fn knows(&mut self, now: Mono, request: &Request, from: IpAddr, patience: Duration) -> bool {
        if !matches!(request.method, Method::Bye | Method::Prack) {
            return false;
        }
        let (Ok(to), Ok(theirs), Ok(call_id)) = (request.to(), request.from(), request.call_id()) else {
            return false;
        };
        let dialog = to.tag().and_then(|tag| self.dialogs.get_mut(tag)).filter(|dialog| {
            dialog.call_id == call_id
                && dialog.remote_tag == theirs.tag().unwrap_or_default()
                && dialog.peer == from
                && now < dialog.until
        });
        let (Some(dialog), Ok(cseq)) = (dialog, request.cseq()) else { return false };
        if dialog.farewell.is_none_or(|last| cseq.number > last) {
            dialog.farewell = Some(cseq.number);
            dialog.until = now + patience;
        }
        true
    }
}
