//! A transfer that a leg's peer asks for: REFER (RFC 3515) and the subscription that it begins, whose NOTIFYs
//! carry how far the transfer is as `message/sipfrag` (RFC 3420).
//!
//! ```text
//!   REFER ─▶ Asked ──refused──▶ 491, 603
//!              └──accepted──▶ 202, Subscribed ──NOTIFY…──▶ final NOTIFY, 481, or its time is up
//! ```
//!
//! One at a time. A peer that declines the subscription (RFC 4488) gets none. The subscription is a usage of the
//! dialog of its own: it outlives a BYE (RFC 5057 §4), and so the leg is kept until it is over.

use std::time::Duration;

use dialtone_core::leg::{TransferProgress, TransferTo};
use dialtone_core::{Cause, LegEvent, Mono};

use super::Desk;
use super::cause::{reason_value, status_of};
use super::dialog::Dialog;
use super::leg::{Leg, State};
use crate::message::{Method, Name, Request, Response, reason};
use crate::transaction::TxId;
use crate::wire::Path;

/// How long a subscription lasts without an end: longer than anybody lets a phone ring.
const LIFETIME: Duration = Duration::from_secs(300);

/// Where a REFER leads, or the answer that it is owed.
pub(crate) type ReferTo = Result<TransferTo, Box<Response>>;

/// A REFER that calls have not decided about.
struct Asked {
    tx: TxId,
    request: Request,
    path: Path,
}

/// Somebody is told how far a transfer is.
struct Subscription {
    /// Names it when it is not the first one of its dialog.
    id: Option<u32>,
    until: Mono,
    /// The last status that was told.
    status: u16,
    /// The NOTIFY that was sent last.
    notify: Option<TxId>,
    /// The way to the peer, once the call's part of the dialog is over.
    dialog: Option<Dialog>,
}

/// The transfers of one leg.
#[derive(Default)]
pub(crate) struct Refers {
    asked: Option<Asked>,
    subscription: Option<Subscription>,
    /// How many were accepted.
    accepted: u32,
}

impl Refers {
    /// Whether nobody waits for news.
    pub fn is_over(&self) -> bool {
        self.subscription.is_none()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.subscription.as_ref().map(|subscription| subscription.until)
    }

    /// The peer has ended the call, and still wants to know.
    pub fn outlive(&mut self, dialog: &Dialog) {
        if let Some(subscription) = &mut self.subscription {
            subscription.dialog = Some(dialog.clone());
        }
    }

    /// Nobody is there to be told any more.
    pub fn forget(&mut self) {
        self.subscription = None;
    }

    /// Whether this was about a NOTIFY. What a peer refuses it does not want to know (RFC 6665 §4.2.2).
    pub fn notified(&mut self, tx: TxId, status: Option<u16>) -> bool {
        let ours = self.subscription.as_ref().is_some_and(|subscription| subscription.notify == Some(tx));
        if ours && !matches!(status, Some(100..=299)) {
            self.subscription = None;
        }
        ours
    }
}

impl Leg {
    /// Their REFER.
    pub(crate) fn their_refer(
        &mut self,
        desk: &mut Desk<'_>,
        tx: TxId,
        request: Request,
        path: Path,
        to: Option<ReferTo>,
    ) {
        let to = match to {
            Some(Ok(to)) if matches!(self.state, State::Up(_)) => to,
            Some(Err(response)) => return self.reply_with(desk, tx, *response),
            // Nobody can be handed over before the answer.
            Some(Ok(_)) | None => return self.reply(desk, tx, &request, 603),
        };
        if !self.wanted || !self.refers.is_over() {
            let cause = if self.wanted { Cause::TemporaryFailure } else { Cause::NormalClearing };
            let response = self.refer_response(desk, &request, refusal_of(cause), path);
            return desk.respond(tx, &response);
        }
        self.refers.asked = Some(Asked { tx, request, path });
        self.tell(desk, LegEvent::TransferAsked { to });
    }

    /// Calls do not want it. The statuses are those that leave the dialog alone (RFC 5057 §5.1).
    pub(crate) fn refuse_transfer(&mut self, desk: &mut Desk<'_>, cause: Cause) {
        let Some(Asked { tx, request, path }) = self.refers.asked.take() else { return };
        let mut response = self.refer_response(desk, &request, refusal_of(cause), path);
        response.headers.push(Name::Reason, reason_value(cause));
        desk.respond(tx, &response);
    }

    /// Calls have begun it, or say how far it is.
    pub(crate) fn transfer_progress(&mut self, desk: &mut Desk<'_>, progress: TransferProgress) {
        if let Some(asked) = self.refers.asked.take() {
            self.accept_refer(desk, asked);
        }
        let (status, last) = match progress {
            TransferProgress::Trying => (100, false),
            TransferProgress::Ringing => (180, false),
            TransferProgress::Done => (200, true),
            // Nobody refused: the transfer was given up.
            TransferProgress::Failed { cause: Cause::NormalClearing } => (487, true),
            TransferProgress::Failed { cause } => (status_of(cause), true),
        };
        self.notify(desk, status, last.then_some("noresource"));
    }

    fn accept_refer(&mut self, desk: &mut Desk<'_>, Asked { tx, request, path }: Asked) {
        let mut response = self.refer_response(desk, &request, 202, path);
        response.headers.push(Name::Contact, self.contact(desk, path, &request.uri));
        let wanted =
            request.headers.bare(&Name::ReferSub).is_none_or(|value| !value.eq_ignore_ascii_case("false"));
        if !wanted {
            response.headers.push(Name::ReferSub, "false");
        }
        desk.respond(tx, &response);
        self.refers.accepted += 1;
        if wanted {
            // RFC 3515 §2.4.6: any but the first one of a dialog is named by its CSeq.
            let cseq = request.cseq().ok().map(|cseq| cseq.number);
            self.refers.subscription = Some(Subscription {
                id: cseq.filter(|_| self.refers.accepted > 1),
                until: desk.now.mono + LIFETIME,
                status: 100,
                notify: None,
                dialog: None,
            });
        }
    }

    /// Its time is up (RFC 6665 §4.2.2).
    pub(crate) fn expire_refers(&mut self, desk: &mut Desk<'_>) {
        if let Some(subscription) = &self.refers.subscription
            && subscription.until <= desk.now.mono
        {
            self.notify(desk, subscription.status, Some("timeout"));
        }
    }

    /// Tells the peer (RFC 3515 §2.4.4); for the last time when there is a reason.
    fn notify(&mut self, desk: &mut Desk<'_>, status: u16, ended: Option<&str>) {
        let Some(mut subscription) = self.refers.subscription.take() else { return };
        let dialog = match (&mut self.state, &mut subscription.dialog) {
            (_, Some(dialog)) => dialog,
            (State::Up(session), None) => &mut session.dialog,
            (State::Offered(_) | State::Calling(_) | State::Gone, None) => return,
        };
        desk.look_for(dialog);
        let mut notify = dialog.request(Method::Notify, desk.identity, desk.tokens);
        let (path, course) = (dialog.path, dialog.course(desk.ways, desk.identity));
        let left = subscription.until.since(desk.now.mono).as_secs();
        let state = match ended {
            Some(reason) => format!("terminated;reason={reason}"),
            None => format!("active;expires={left}"),
        };
        let event = subscription.id.map_or("refer".to_owned(), |id| format!("refer;id={id}"));
        notify.headers.push(Name::Contact, self.contact(desk, path, &notify.uri));
        notify.headers.push(Name::Event, event);
        notify.headers.push(Name::SubscriptionState, state);
        notify.set_body("message/sipfrag;version=2.0", format!("SIP/2.0 {status} {}\r\n", reason(status)));
        let tx = desk.tx.send(desk.now.mono, notify, course, Some(self.id), desk.tx_out);
        if ended.is_none() {
            (subscription.notify, subscription.status) = (Some(tx), status);
            self.refers.subscription = Some(subscription);
        }
    }

    fn refer_response(&self, desk: &Desk<'_>, request: &Request, status: u16, path: Path) -> Response {
        self.response(desk, request, status, &self.tag, path)
    }
}

fn refusal_of(cause: Cause) -> u16 {
    match cause {
        Cause::TemporaryFailure => 491,
        Cause::BearerNotAuthorized => 403,
        _ => 603,
    }
}
