//! The early dialogs of one INVITE of ours: RFC 3261 §12.1.2, §13.2.2.4. A proxy on the way may ring several
//! phones; each has a dialog, a line of RSeq numbers and an answer of its own.

use dialtone_core::{Cause, Description};

use super::Desk;
use super::cause::reason_value;
use super::dialog::Dialog;
use super::identity::Identity;
use super::reliable::Receiver;
use super::tokens::Tokens;
use crate::message::{Method, Name, Request, Response};
use crate::registrar::{Nat, Registrar};
use crate::stack::Ways;
use crate::transaction::TxId;
use crate::wire::{Opens, Path};

/// Early dialogs that one INVITE can have; what comes from further ones is dropped.
const FORKS_MAX: usize = 8;

/// CSeq numbers that are left out before the BYE of a fork whose early dialog is forgotten: it may have had
/// PRACKs.
const FORGOTTEN: u32 = 100;

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

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Fork> {
        self.0.iter_mut()
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

/// The way to whoever answered an INVITE whose call is over, and the ACK and the BYE that it is owed.
/// `None` when its answer has no address for them.
pub(crate) fn end_unwanted(
    invite: &Request,
    response: &Response,
    path: Path,
    ways: &Ways,
    registrar: &Registrar,
    identity: &Identity,
    tokens: &mut Tokens,
) -> Option<(Path, Request, Request)> {
    let mut dialog = Dialog::uac(invite, response, (path, Opens::Peer), Nat::Auto).ok()?;
    dialog.look_for(ways, identity, registrar);
    let ack = dialog.ack(dialog.local_cseq, identity, tokens);
    dialog.skip(FORGOTTEN);
    let mut bye = dialog.request(Method::Bye, identity, tokens);
    bye.headers.push(Name::Reason, reason_value(Cause::NormalClearing));
    Some((dialog.path, ack, bye))
}

/// Another 2xx than the one that made the dialog: a fork that lost. It is acknowledged and ended
/// (RFC 3261 §13.2.2.4), by another way when its own is gone.
pub(crate) fn end_fork(
    desk: &mut Desk<'_>,
    invite: TxId,
    dialog: &Dialog,
    early: Option<&Dialog>,
    response: &Response,
    owner: dialtone_core::LegId,
) {
    let mut fork = early.unwrap_or(dialog).clone();
    let Ok(remote) = response.headers.to() else { return };
    fork.retarget(remote, response.headers.contact().ok());
    desk.look_for(&mut fork);
    let ack = fork.ack(response.cseq().map_or(1, |cseq| cseq.number), desk.identity, desk.tokens);
    desk.tx.acknowledged(invite, &fork.remote_tag, fork.path, ack.to_bytes());
    desk.transmit(invite, fork.path, ack.to_bytes(), Some(owner));
    let mut bye = fork.request(Method::Bye, desk.identity, desk.tokens);
    bye.headers.push(Name::Reason, reason_value(Cause::AnsweredElsewhere));
    let course = fork.course(desk.ways, desk.identity);
    desk.tx.send(desk.now.mono, bye, course, Some(owner), desk.tx_out);
}
