//! Session timers: RFC 4028. A session that nobody refreshes ends.
//!
//! ```text
//!  refreshed ──interval/2──▶ refresh, if it is ours to do ──refused──▶ again, at half of what is left
//!      │
//!      └──interval − min(32 s, interval/3)──▶ BYE, if the far end keeps the timer too
//! ```
//!
//! A far end without session timers is refreshed by us all the same, to learn whether it is still there;
//! then it is the refresh without an answer that ends the session.

use std::time::Duration;

use dialtone_core::Mono;

use super::policy::{CallPolicy, understands};
use crate::message::{Headers, Name};

/// Who of the two of a request refreshes from now on (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answered it.
    Uas,
}

impl Refresher {
    fn as_str(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// How long before its end a session is ended at the latest (RFC 4028 §10).
const MARGIN: Duration = Duration::from_secs(32);

/// The longest interval that we agree to: with a longer one nobody would find out that a peer is gone.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How long a refresh waits when another request is under way.
const BUSY: Duration = Duration::from_secs(10);

/// The least time between a refresh that is refused and the next one. As each waits for half of what is left,
/// no interval has thirty of them.
const AGAIN_MIN: Duration = Duration::from_secs(5);

/// The value of a Session-Expires header (RFC 4028 §4): the interval, and who refreshes if it says so.
pub(crate) fn session_expires(headers: &Headers) -> Option<(Duration, Option<Refresher>)> {
    let mut parts = headers.text(&Name::SessionExpires)?.split(';').map(str::trim);
    let interval = seconds(parts.next()?)?;
    let refresher = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        match name.eq_ignore_ascii_case("refresher") {
            true if value.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            true if value.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            true | false => None,
        }
    });
    Some((interval, refresher))
}

/// The value of a Min-SE header (RFC 4028 §5).
pub(crate) fn min_se(headers: &Headers) -> Option<Duration> {
    seconds(headers.bare(&Name::MinSe)?)
}

fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u32 = text.parse().ok().filter(|_| digits)?;
    Some(Duration::from_secs(seconds.into()))
}

/// What we ask for in a request of ours (RFC 4028 §7.1, §7.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    interval: Duration,
    min_se: Duration,
}

impl Ask {
    pub fn new(policy: &CallPolicy) -> Self {
        Ask { interval: policy.session_expires.max(policy.min_se), min_se: policy.min_se }
    }

    /// A 422: the peer wants no less than it says (RFC 4028 §7.3). False when it does not say more than we
    /// asked for, or more than [`LONGEST`].
    pub fn raise(&mut self, headers: &Headers) -> bool {
        let raises = |least: &Duration| *least > self.min_se && *least <= LONGEST;
        let Some(least) = min_se(headers).filter(raises) else { return false };
        self.min_se = least;
        self.interval = self.interval.max(least);
        true
    }

    /// Puts it into a request. `refresher` is left open in the first one.
    pub fn write(&self, refresher: Option<Refresher>, headers: &mut Headers) {
        headers.set(Name::SessionExpires, expires(self.interval, refresher));
        headers.set(Name::MinSe, self.min_se.as_secs().to_string());
    }
}

fn expires(interval: Duration, refresher: Option<Refresher>) -> String {
    let seconds = interval.as_secs();
    refresher.map_or(seconds.to_string(), |refresher| format!("{seconds};refresher={}", refresher.as_str()))
}

/// What we answer to a request of theirs, and what holds from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    interval: Duration,
    refresher: Refresher,
    /// Whether the peer has session timers.
    kept: bool,
}

impl Terms {
    /// RFC 4028 §9, Table 2. `Err` holds the least interval that we take: the request is owed 422.
    pub fn of(policy: &CallPolicy, headers: &Headers) -> Result<Terms, Duration> {
        let kept = understands(headers, "timer");
        let asked = session_expires(headers);
        let least = min_se(headers).unwrap_or_default();
        let ours = policy.session_expires.max(policy.min_se).max(least);
        let interval = match asked {
            // Without session timers it would not know a 422.
            Some((interval, _)) if kept && interval < policy.min_se => return Err(policy.min_se),
            Some((interval, _)) => interval.min(ours),
            None => ours,
        };
        let refresher = match asked {
            Some((_, Some(refresher))) if kept => refresher,
            // When it is left to us we do it: who asks learns who is gone.
            Some(_) | None => Refresher::Uas,
        };
        Ok(Terms { interval, refresher, kept })
    }

    /// Puts it into a 2xx (RFC 4028 §9).
    pub fn write(&self, headers: &mut Headers) {
        if self.kept && self.refresher == Refresher::Uac {
            headers.push(Name::Require, "timer");
        }
        headers.push(Name::SessionExpires, expires(self.interval, Some(self.refresher)));
    }
}

/// The timer of a session.
#[derive(Clone, Debug)]
pub(crate) struct SessionTimer {
    ask: Ask,
    interval: Duration,
    we_refresh: bool,
    /// When our refresh is due; `None` while it is under way.
    refresh: Option<Mono>,
    /// When the session is ended unless it is refreshed before.
    end: Option<Mono>,
    /// Whether the last refresh was an UPDATE that was refused.
    by_invite: bool,
}

impl SessionTimer {
    /// After our 2xx with these terms.
    pub fn answered(now: Mono, policy: &CallPolicy, terms: Terms) -> Self {
        let mut timer = SessionTimer::idle(Ask::new(policy));
        timer.accept(now, terms);
        timer
    }

    /// After a 2xx with these headers to an INVITE of ours.
    pub fn accepted(now: Mono, ask: Ask, headers: &Headers) -> Self {
        let mut timer = SessionTimer::idle(ask);
        timer.granted(now, headers);
        timer
    }

    fn idle(ask: Ask) -> Self {
        let (refresh, end) = (None, None);
        SessionTimer { ask, interval: ask.interval, we_refresh: true, refresh, end, by_invite: false }
    }

    /// We have answered a request of theirs with these terms.
    pub fn accept(&mut self, now: Mono, terms: Terms) {
        self.restart(now, terms.interval, terms.refresher == Refresher::Uas, terms.kept);
    }

    /// A request of ours got a 2xx with these headers (RFC 4028 §7.2).
    pub fn granted(&mut self, now: Mono, headers: &Headers) {
        match session_expires(headers) {
            Some((interval, refresher)) => {
                self.restart(now, interval, refresher != Some(Refresher::Uas), true);
            }
            None => self.restart(now, self.ask.interval, true, false),
        }
    }

    fn restart(&mut self, now: Mono, interval: Duration, we_refresh: bool, kept: bool) {
        // RFC 4028 §9: nobody may raise what was asked for. Who does it without measure is looked for by us.
        let boundless = interval > LONGEST;
        let interval = if boundless { self.ask.interval } else { interval };
        let we_refresh = we_refresh || boundless;
        // An interval that nobody may ask for would make us send without end.
        let interval = interval.max(Duration::from_secs(30));
        self.interval = interval;
        self.we_refresh = we_refresh;
        self.refresh = we_refresh.then_some(now + interval / 2);
        self.end = kept.then_some(now + (interval - MARGIN.min(interval / 3)));
    }

    /// The peer said something about our refresh, an UPDATE or a re-INVITE, that is no consent: it is there,
    /// which is all that we can ask of one that does not keep the timer. With one that does, time runs on, and
    /// it is asked again when half of what is left has passed, or as long as it wants us to wait when that is
    /// more, the other way when it allows both. Only silence, 408 and 481 end a session at once (RFC 4028 §10).
    pub fn refused(&mut self, now: Mono, update: bool, wait: Option<Duration>) {
        self.by_invite = update;
        self.refresh = match self.end {
            None => Some(now + self.interval / 2),
            Some(end) => {
                let half = end.since(now) / 2;
                let wanted = wait.map(|wait| now + wait).filter(|at| *at < end);
                (half >= AGAIN_MIN).then_some(wanted.map_or(now + half, |at| at.max(now + half)))
            }
        };
    }

    /// Whether the next refresh must be a re-INVITE, whatever they allow.
    pub fn by_invite(&self) -> bool {
        self.by_invite
    }

    /// A 422 to a request of ours; whether it is worth another try.
    pub fn raise(&mut self, headers: &Headers) -> bool {
        self.ask.raise(headers)
    }

    /// Puts what we ask for into a request (RFC 4028 §7.4): the interval that was agreed, unless nobody may ask for
    /// one that short, and who refreshed goes on to do it.
    pub fn write(&self, headers: &mut Headers) {
        let refresher = if self.we_refresh { Refresher::Uac } else { Refresher::Uas };
        let interval = self.interval.max(self.ask.min_se);
        Ask { interval, ..self.ask }.write(Some(refresher), headers);
    }

    /// Takes a due refresh.
    pub fn take_refresh(&mut self, now: Mono) -> bool {
        self.refresh.take_if(|at| *at <= now).is_some()
    }

    /// The refresh cannot be sent now.
    pub fn later(&mut self, now: Mono) {
        self.refresh = Some(now + BUSY);
    }

    /// Whether the session is over.
    pub fn is_over(&self, now: Mono) -> bool {
        self.end.is_some_and(|at| at <= now)
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.refresh.into_iter().chain(self.end).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(Name, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(name.clone(), *value);
        }
        headers
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// RFC 4028 §4.
    #[test]
    fn a_session_expires_header_is_read() {
        let read = |text: &str| session_expires(&headers(&[(Name::SessionExpires, text)]));
        assert_eq!(read("1800"), Some((secs(1800), None)));
        assert_eq!(read("90 ; x=1 ;Refresher = UAS"), Some((secs(90), Some(Refresher::Uas))));
        assert_eq!(read("90;refresher=me"), Some((secs(90), None)));
        for bad in ["", "x", "-1", "+5", "99999999999"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    /// RFC 4028 §9: Table 2, and who is told 422.
    #[test]
    fn who_refreshes_and_how_often() {
        let policy = CallPolicy::default();
        let timer = (Name::Supported, "timer");
        let se = |text| (Name::SessionExpires, text);
        let terms = |interval, refresher, kept| Ok(Terms { interval: secs(interval), refresher, kept });
        use Refresher::{Uac, Uas};
        let table = [
            (vec![], terms(1800, Uas, false)),
            (vec![se("600")], terms(600, Uas, false)),
            (vec![se("60")], terms(60, Uas, false)),
            (vec![timer.clone()], terms(1800, Uas, true)),
            (vec![timer.clone(), se("600")], terms(600, Uas, true)),
            (vec![timer.clone(), se("600;refresher=uac")], terms(600, Uac, true)),
            (vec![timer.clone(), se("600;refresher=uas")], terms(600, Uas, true)),
            (vec![timer.clone(), se("7200")], terms(1800, Uas, true)),
            (vec![timer.clone(), se("7200"), (Name::MinSe, "3600")], terms(3600, Uas, true)),
            (vec![(Name::Require, "timer"), se("89")], Err(secs(90))),
        ];
        for (lines, expected) in table {
            assert_eq!(Terms::of(&policy, &headers(&lines)), expected, "{lines:?}");
        }
    }

    /// RFC 4028 §10: half the interval, and the margin before its end.
    #[test]
    fn when_a_session_is_refreshed_and_when_it_ends() {
        let ask = Ask::new(&CallPolicy::default());
        let at = |text: &str| {
            let timer = SessionTimer::accepted(Mono::ZERO, ask, &headers(&[(Name::SessionExpires, text)]));
            (
                timer.refresh.map(|at| at.as_nanos() / 1_000_000_000),
                timer.end.map(|at| at.as_nanos() / 1_000_000_000),
            )
        };
        assert_eq!(at("1800;refresher=uac"), (Some(900), Some(1768)));
        assert_eq!(at("90;refresher=uas"), (None, Some(60)));
        assert_eq!(at("1"), (Some(15), Some(20)));
        let none = SessionTimer::accepted(Mono::ZERO, ask, &Headers::new());
        assert_eq!((none.refresh, none.end), (Some(Mono::ZERO + secs(900)), None));
    }
}
