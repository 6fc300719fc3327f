//! Changes of a stream in a dialog, both ways: re-INVITE (RFC 3261 §14), UPDATE (RFC 3311), and the refresh
//! of a session, which changes nothing (RFC 4028 §7.4).
//!
//! ```text
//!  theirs: ──▶ Asked ──accept──▶ 200     ours: ask ──▶ Sent ──2xx──▶ done
//!               └──refuse──▶ 488 …               ▲      │ │ 491, 500, 503, busy
//!                                                └─Later┘ └──1xx, and then nothing──▶ CANCEL
//! ```
//!
//! One of each at a time; who breaks that is told 491 when our offer is open, and 500 when its own is.

mod ours;
mod theirs;

use dialtone_core::{Description, Mono, Party};

pub(crate) use self::theirs::change_refusal;
use super::Desk;
use crate::message::{Method, Request};
use crate::transaction::{Failure, TxId};
use crate::wire::{Opens, Path};

/// A change of theirs that calls have not decided about.
pub(crate) struct Asked {
    pub tx: TxId,
    /// A re-INVITE, an UPDATE, or a PRACK that offers.
    pub request: Request,
    pub has_offer: bool,
}

/// What we want of the far end.
#[derive(Clone)]
pub(crate) enum Wish {
    /// Another stream.
    Offer(Description),
    /// A sign that it is still there.
    Refresh,
}

/// A request of ours.
enum Asking {
    /// On its way.
    Sent { tx: TxId, method: Method, wish: Wish, tries: u32, patience: Patience, detour: Option<Box<Detour>> },
    /// It is sent then.
    Later { wish: Wish, at: Mono, tries: u32 },
}

/// A way other than the dialog's, by which a request has gone on (RFC 3263 §4.3). The dialog goes on there when it is
/// agreed to; whoever does not have the dialog says nothing of it.
struct Detour {
    path: Path,
    opens: Opens,
    /// What went wrong on the dialog's own way.
    failure: Failure,
}

/// How long a final answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// As long as the transaction gives it: nothing has come, or it is no INVITE.
    Transaction,
    /// A provisional answer came, after which the transaction of an INVITE waits for ever; until then.
    Until(Mono),
    /// It was cancelled; until then (RFC 3261 §9.1).
    Cancelled(Mono),
}

impl Patience {
    fn deadline(self) -> Option<Mono> {
        match self {
            Patience::Transaction => None,
            Patience::Until(at) | Patience::Cancelled(at) => Some(at),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Exchange {
    pub asked: Option<Asked>,
    asking: Option<Asking>,
    /// A change that is wanted while a refresh is under way.
    next: Option<Description>,
    /// Whom they talk with, which they have not been told, or not for certain.
    connected: Option<Connected>,
    /// Whom they were told last that they talk with, if they are told such things.
    told: Option<Party>,
}

/// Whom a far end talks with from now on.
struct Connected {
    party: Party,
    /// Whether it is on its way to them.
    sent: bool,
}

impl Exchange {
    /// Whether this transaction carries our change.
    pub fn is_about(&self, tx: TxId) -> bool {
        matches!(&self.asking, Some(Asking::Sent { tx: asking, .. }) if *asking == tx)
    }

    /// Our change goes by another way, after this went wrong.
    pub fn goes_by(&mut self, tx: TxId, (path, opens): (Path, Opens), failure: Failure) {
        let Some(Asking::Sent { tx: asking, detour, .. }) = &mut self.asking else { return };
        match detour {
            _ if *asking != tx => {}
            Some(detour) => (detour.path, detour.opens) = (path, opens),
            None => *detour = Some(Box::new(Detour { path, opens, failure })),
        }
    }

    fn take_detour(&mut self) -> Option<Box<Detour>> {
        match &mut self.asking {
            Some(Asking::Sent { detour, .. }) => detour.take(),
            Some(Asking::Later { .. }) | None => None,
        }
    }

    /// Whether something of ours is under way or waits.
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether an offer of ours, or an INVITE, waits for its answer.
    fn glares(&self) -> bool {
        match &self.asking {
            Some(Asking::Sent { method, wish, .. }) => {
                matches!(wish, Wish::Offer(_)) || *method == Method::Invite
            }
            Some(Asking::Later { .. }) | None => false,
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        match &self.asking {
            Some(Asking::Later { at, .. }) => Some(*at),
            Some(Asking::Sent { patience, .. }) => patience.deadline(),
            None => None,
        }
    }

    /// The dialog ends: what a change of ours would bring matters no more.
    pub fn stop(&mut self, desk: &mut Desk<'_>) {
        self.next = None;
        if let Some(Asking::Sent { tx, .. }) = self.asking.take() {
            desk.tx.dismiss(desk.now.mono, tx, desk.tx_out);
        }
    }

    fn later(&mut self, wish: Wish, at: Mono, tries: u32) {
        self.asking = Some(Asking::Later { wish, at, tries });
    }
}
