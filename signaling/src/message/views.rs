//! What has been read of a list of headers, kept with it.
//!
//! Each view is parsed when it is first asked for and shared by every clone of the list. When a header is changed
//! its view is forgotten, so that the two never disagree. The transport asks for all of them on its own
//! thread ([`Message::read`](super::Message::read)): whoever gets the message after it parses nothing.

use std::sync::{Arc, OnceLock};

use super::addr::NameAddr;
use super::cseq::CSeq;
use super::name::Name;
use super::via::Via;

/// One box for all of them, made when the first is asked for: a list that is only written stays small.
#[derive(Debug, Default)]
pub(super) struct Views(OnceLock<Box<All>>);

/// See [`Views`].
#[derive(Debug, Default)]
pub(super) struct All {
    pub(super) via: View<Via>,
    pub(super) from: View<NameAddr>,
    pub(super) to: View<NameAddr>,
    pub(super) contact: View<NameAddr>,
    pub(super) cseq: View<CSeq>,
}

impl Views {
    /// All of them, to read.
    pub(super) fn all(&self) -> &All {
        self.0.get_or_init(Box::default)
    }

    /// Headers of this name change.
    pub(super) fn forget(&mut self, name: &Name) {
        let Some(all) = self.0.get_mut() else { return };
        match name {
            Name::Via => all.via = View::default(),
            Name::From => all.from = View::default(),
            Name::To => all.to = View::default(),
            Name::Contact => all.contact = View::default(),
            Name::CSeq => all.cseq = View::default(),
            _ => {}
        }
    }

    /// What was read of the headers that an answer to this request has too, and that are asked for again.
    pub(super) fn of_answer(&self) -> Views {
        let Some(all) = self.0.get() else { return Views::default() };
        Views(OnceLock::from(Box::new(All { to: all.to.clone(), cseq: all.cseq.clone(), ..All::default() })))
    }
}

/// One of them; empty until it is asked for, and while its header is missing or malformed.
#[derive(Debug)]
pub(super) struct View<T>(OnceLock<Arc<T>>);

impl<T> Default for View<T> {
    fn default() -> Self {
        View(OnceLock::new())
    }
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        View(self.0.clone())
    }
}

impl<T> View<T> {
    /// The view, parsed now if it never was.
    pub(super) fn or_parse<E>(&self, parse: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        let parsed = Arc::new(parse()?);
        Ok(self.0.get_or_init(|| parsed))
    }
}
