//! What has been read of a list of headers, kept with it.
//!
//! Each view is parsed when it is first asked for and shared by every clone of the list. A list that is changed
//! forgets them, so that a view and its header never disagree. The transport asks for all of them on its own
//! thread ([`Message::read`](super::Message::read)): whoever gets the message after it parses nothing.

use std::sync::OnceLock;

use super::addr::NameAddr;
use super::cseq::CSeq;
use super::via::Via;

/// Boxed, so that a list that is only written stays small.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) via: View<Via>,
    pub(super) from: View<NameAddr>,
    pub(super) to: View<NameAddr>,
    pub(super) contact: View<NameAddr>,
    pub(super) cseq: View<CSeq>,
}

/// One of them; empty until it is asked for, and while its header is missing or malformed.
#[derive(Debug)]
pub(super) struct View<T>(OnceLock<Box<T>>);

impl<T> Default for View<T> {
    fn default() -> Self {
        View(OnceLock::new())
    }
}

impl<T> View<T> {
    /// The view, parsed now if it never was.
    pub(super) fn or_parse<E>(&self, parse: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        let parsed = Box::new(parse()?);
        Ok(self.0.get_or_init(|| parsed))
    }
}
