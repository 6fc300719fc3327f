//! Requests of ours to somebody who is known by name: there may be more than one way to them (RFC 3263 §4.3).

use std::collections::VecDeque;

use super::TxId;
use crate::locate::{Hop, Target};
use crate::message::{Request, Response};
use crate::wire::{Opens, Path};

/// Which way a request takes.
#[derive(Clone, Debug)]
pub struct Course {
    /// The way. When it is not known, only our end of it counts.
    pub path: Path,
    /// Whether it is known, and not yet to be looked for.
    pub known: bool,
    /// Where else it may lead: to whom its URI names.
    pub hop: Option<Hop>,
    /// The way when the name leads nowhere.
    pub fallback: Option<Path>,
    /// Where a connection is opened for it.
    pub opens: Opens,
}

impl From<Path> for Course {
    fn from(path: Path) -> Self {
        Course { path, known: true, hop: None, fallback: None, opens: Opens::Peer }
    }
}

/// A request that may be sent again by another way.
#[derive(Debug)]
pub struct Errand {
    /// It, as it was sent last.
    pub request: Request,
    /// To whom.
    pub hop: Hop,
    /// The targets that are left; `None` before anybody looked for them.
    pub targets: Option<VecDeque<Target>>,
    /// The way when no target is left.
    pub fallback: Option<Path>,
}

/// Why a request came to nothing by one way.
#[derive(Debug)]
pub enum Failure {
    /// It was not sent: its way is to be looked for.
    Unsent,
    /// Nobody answered.
    Silent,
    /// The transport could not send.
    Unreachable,
    /// Whoever answered is overloaded: 503 (RFC 3263 §4.3).
    Refused(Response),
}

/// What came to nothing by one way; it keeps the name of its transaction for the next one.
#[derive(Debug)]
pub struct Undelivered {
    /// Its transaction.
    pub tx: TxId,
    /// It.
    pub errand: Errand,
    /// The way that it took, or of which our end is wanted.
    pub path: Path,
    /// What went wrong.
    pub failure: Failure,
}
