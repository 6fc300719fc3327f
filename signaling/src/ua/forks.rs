//! The early dialogs of one INVITE of ours: RFC 3261 §12.1.2, §13.2.2.4. A proxy on the way may ring several
//! phones; each has a dialog, a line of RSeq numbers and an answer of its own.

use dialtone_core::Description;

use super::dialog::Dialog;
use super::reliable::Receiver;

/// Early dialogs that one INVITE can have; what comes from further ones is dropped.
const FORKS_MAX: usize = 8;

/// One early dialog.
pub(crate) struct Fork {
    pub dialog: Dialog,
    pub receiver: Receiver,
    /// What it says of its stream: its answer to our offer, or what it changed that to.
    pub answer: Option<Description>,
    /// Whether that came reliably, so that it stands (RFC 3262 §5).
    pub settled: bool,
}

/// All of them, in the order in which they were heard of.
#[derive(Default)]
pub(crate) struct Forks(Vec<Fork>);

impl Forks {
    pub fn all(&self) -> &[Fork] {
        &self.0
    }

    pub fn get(&mut self, tag: &str) -> Option<&mut Fork> {
        self.0.iter_mut().find(|fork| fork.dialog.remote_tag == tag)
    }

    /// The one that has a stream; of several the first, which is the one that is heard.
    pub fn heard(&mut self) -> Option<&mut Fork> {
        self.0.iter_mut().find(|fork| fork.answer.is_some())
    }

    /// One more; false when there are too many.
    pub fn add(&mut self, dialog: Dialog) -> bool {
        let room = self.0.len() < FORKS_MAX;
        if room {
            self.0.push(Fork { dialog, receiver: Receiver::default(), answer: None, settled: false });
        }
        room
    }

    /// The one with this tag, and the dialogs of the others.
    pub fn split(self, tag: &str) -> (Option<Fork>, Vec<Dialog>) {
        let (mine, others): (Vec<Fork>, Vec<Fork>) =
            self.0.into_iter().partition(|fork| fork.dialog.remote_tag == tag);
        (mine.into_iter().next(), others.into_iter().map(|fork| fork.dialog).collect())
    }
}
