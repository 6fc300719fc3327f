//! The machine as a whole, against a zone that answers when the test lets it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::message::Uri;
use crate::wire::Transport;

/// What DNS says.
#[derive(Default)]
struct Zone(HashMap<Question, Vec<Record>>);

impl Zone {
    fn with(mut self, kind: Kind, name: &str, record: Record) -> Zone {
        self.0.entry(Question::new(kind, name)).or_default().push(record);
        self
    }

    fn naptr(self, name: &str, order: u16, service: &str, replacement: &str) -> Zone {
        let (flags, service) = ("s".into(), service.into());
        let record = Record::Naptr { order, preference: 0, flags, service, replacement: replacement.into() };
        self.with(Kind::Naptr, name, record)
    }

    fn srv(self, name: &str, priority: u16, port: u16, target: &str) -> Zone {
        self.with(Kind::Srv, name, Record::Srv { priority, weight: 0, port, target: target.into() })
    }

    fn host(self, name: &str, ip: &str) -> Zone {
        let ip: IpAddr = ip.parse().unwrap();
        let kind = if ip.is_ipv4() { Kind::A } else { Kind::Aaaa };
        self.with(kind, name, Record::Address(ip))
    }

    fn reply(&self, question: &Question) -> Reply {
        let ttl = Some(Duration::from_secs(60));
        match self.0.get(question) {
            Some(records) => Reply { answer: Answer::Records(records.clone().into()), ttl },
            None => Reply { answer: Answer::Nothing, ttl },
        }
    }
}

struct Bench {
    locator: Locator<u32>,
    now: Mono,
    asked: Vec<Question>,
    found: Vec<(u32, Vec<Target>)>,
    means: Means,
}

impl Bench {
    fn new(policy: DnsPolicy) -> Bench {
        let means = Means { allowed: Allowed::where_(|_| true), ipv4: true, ipv6: true, ipv6_first: false };
        let (asked, found) = (Vec::new(), Vec::new());
        Bench { locator: Locator::new(policy), now: Mono::ZERO, asked, found, means }
    }

    fn take(&mut self, out: Vec<LocatorOutput<u32>>) {
        for output in out {
            match output {
                LocatorOutput::Ask(question) => self.asked.push(question),
                LocatorOutput::Found(key, targets) => self.found.push((key, targets)),
            }
        }
    }

    fn find(&mut self, key: u32, uri: &str) -> bool {
        self.find_for(&key.to_string(), key, uri)
    }

    fn find_for(&mut self, whose: &str, key: u32, uri: &str) -> bool {
        let hop = Hop::of(&Uri::parse(uri).unwrap()).unwrap();
        let sought = (hop, self.means, Some(whose.to_owned()));
        let mut out = Vec::new();
        let taken = self.locator.find(self.now, key, sought, &mut |_| 0, &mut out);
        self.take(out);
        taken
    }

    fn answer(&mut self, question: &Question, reply: &Reply) {
        let mut out = Vec::new();
        self.locator.answered(self.now, question, reply, &mut |_| 0, &mut out);
        self.take(out);
    }

    /// DNS answers until nobody asks; gives what was asked.
    fn serve(&mut self, reply: impl Fn(&Question) -> Reply) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some(question) = self.asked.pop() {
            asked.push(question.to_string());
            self.answer(&question, &reply(&question));
        }
        asked.sort();
        asked
    }

    fn advance(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        let mut out = Vec::new();
        self.locator.expire(self.now, &mut |_| 0, &mut out);
        self.take(out);
    }

    fn last(&mut self) -> Vec<String> {
        let (_, targets) = self.found.pop().expect("an answer");
        let print = |target: &Target| format!("{} {}", target.transport.uri(), target.address);
        targets.iter().map(print).collect()
    }

    /// Asks, lets DNS answer all; gives the targets and the questions.
    fn located(&mut self, zone: &Zone, uri: &str) -> (Vec<String>, Vec<String>) {
        assert!(self.find(1, uri));
        let asked = self.serve(|question| zone.reply(question));
        (self.last(), asked)
    }
}

fn located(zone: &Zone, uri: &str) -> (Vec<String>, Vec<String>) {
    Bench::new(DnsPolicy::default()).located(zone, uri)
}

fn example() -> Zone {
    Zone::default()
        .naptr("example.com", 20, "SIP+D2T", "_sip._tcp.example.com")
        .naptr("example.com", 30, "SIP+D2U", "_sip._udp.example.com.")
        .naptr("example.com", 10, "SIPS+D2T", "_sips._tcp.example.com")
        .srv("_sip._udp.example.com", 20, 5062, "b.example.com")
        .srv("_sip._udp.example.com", 10, 5060, "a.example.com")
        .srv("_sip._tcp.example.com", 10, 5060, "a.example.com")
        .srv("_sips._tcp.example.com", 10, 5061, "a.example.com")
        .host("a.example.com", "192.0.2.1")
        .host("a.example.com", "2001:db8::1")
        .host("b.example.com", "192.0.2.2")
        .host("example.com", "192.0.2.9")
}

/// RFC 3263 §4.1: neither transport nor port named: NAPTR says which transports, in which order.
#[test]
fn naptr_chooses_the_transport() {
    let (targets, asked) = located(&example(), "sip:a@example.com");
    assert_eq!(
        targets,
        [
            "tls 192.0.2.1:5061",
            "tls [2001:db8::1]:5061",
            "tcp 192.0.2.1:5060",
            "tcp [2001:db8::1]:5060",
            "udp 192.0.2.1:5060",
            "udp [2001:db8::1]:5060",
            "udp 192.0.2.2:5062",
        ]
    );
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("NAPTR")).count(), 1);
    assert!(!asked.contains(&"A example.com".to_owned()));
}

/// RFC 3263 §4.1: "a client resolving a SIPS URI MUST discard any services that do not contain SIPS".
#[test]
fn sips_leads_to_tls_alone() {
    let (targets, asked) = located(&example(), "sips:a@example.com");
    assert_eq!(targets, ["tls 192.0.2.1:5061", "tls [2001:db8::1]:5061"]);
    assert!(asked.iter().all(|asked| !asked.contains("_sip.")), "{asked:?}");
    // Without any record but addresses too; and a SIPS URI that names UDP leads nowhere.
    let plain = Zone::default().host("example.com", "192.0.2.9");
    assert_eq!(located(&plain, "sips:a@example.com").0, ["tls 192.0.2.9:5061"]);
    assert!(located(&plain, "sips:a@example.com;transport=udp").0.is_empty());
}

/// RFC 3263 §4.1, §4.2: a named transport asks no NAPTR, a named port no SRV either.
#[test]
fn what_is_named_is_not_asked_for() {
    let (targets, asked) = located(&example(), "sip:a@example.com;transport=udp");
    assert_eq!(targets, ["udp 192.0.2.1:5060", "udp [2001:db8::1]:5060", "udp 192.0.2.2:5062"]);
    assert!(asked.contains(&"SRV _sip._udp.example.com".into()));
    assert!(asked.iter().all(|asked| !asked.starts_with("NAPTR")), "{asked:?}");
    let addresses = ["A example.com", "AAAA example.com"].map(String::from).to_vec();
    let port = located(&example(), "sip:a@example.com:5070");
    assert_eq!(port, (vec!["udp 192.0.2.9:5070".into()], addresses.clone()));
    let both = located(&example(), "sip:a@example.com:5070;transport=tcp");
    assert_eq!(both, (vec!["tcp 192.0.2.9:5070".into()], addresses.clone()));
    let secure = located(&example(), "sips:a@example.com:5070");
    assert_eq!(secure, (vec!["tls 192.0.2.9:5070".into()], addresses));
}

/// RFC 3263 §4.1: an address in maddr asks nobody.
#[test]
fn an_address_is_no_question() {
    let (targets, asked) = located(&example(), "sip:a@example.com;maddr=192.0.2.77");
    assert_eq!((targets, asked), (vec!["udp 192.0.2.77:5060".into()], vec![]));
    assert_eq!(located(&example(), "sips:a@example.com;maddr=192.0.2.77").0, ["tls 192.0.2.77:5061"]);
}

/// RFC 3263 §4.1, §4.2: without NAPTR each transport's SRV is asked; without SRV it is UDP at the default port.
#[test]
fn without_naptr_srv_and_without_srv_addresses() {
    let zone = Zone::default()
        .srv("_sip._tcp.example.com", 1, 5070, "a.example.com")
        .host("a.example.com", "192.0.2.1");
    assert_eq!(located(&zone, "sip:a@example.com").0, ["tcp 192.0.2.1:5070"]);
    let zone = Zone::default().host("example.com", "192.0.2.9");
    assert_eq!(located(&zone, "sip:a@example.com").0, ["udp 192.0.2.9:5060"]);
    assert_eq!(located(&zone, "sip:a@example.com;transport=tls").0, ["tls 192.0.2.9:5061"]);
    assert!(located(&Zone::default(), "sip:a@example.com").0.is_empty());
}

/// RFC 3263 §4.1, §4.2: only transports and families for which we have sockets; that of the peer's first.
#[test]
fn targets_are_those_that_we_have_sockets_for() {
    let mut bench = Bench::new(DnsPolicy::default());
    bench.means.allowed = Allowed::where_(|transport| transport == Transport::Udp);
    bench.means.ipv4 = false;
    assert_eq!(bench.located(&example(), "sip:a@example.com").0, ["udp [2001:db8::1]:5060"]);
    assert!(bench.located(&example(), "sip:a@example.com;transport=tcp").0.is_empty());
    (bench.means.ipv4, bench.means.ipv6_first) = (true, true);
    let first = bench.located(&example(), "sip:a@example.com").0.remove(0);
    assert_eq!(first, "udp [2001:db8::1]:5060");
}

/// RFC 2782: a target of "." is a refusal, and no reason to try the name itself.
#[test]
fn a_service_that_is_not_there_is_not_looked_for_elsewhere() {
    let zone = Zone::default().srv("_sip._udp.example.com", 0, 0, "").host("example.com", "192.0.2.9");
    assert!(located(&zone, "sip:a@example.com;transport=udp").0.is_empty());
}

/// RFC 3263 §4.3: what failed comes last until it is forgotten; all of it is better than nothing.
#[test]
fn a_target_that_failed_comes_last() {
    let mut bench = Bench::new(DnsPolicy::default());
    let (zone, uri) = (example(), "sip:a@example.com;transport=udp");
    bench.means.ipv6 = false;
    assert_eq!(bench.located(&zone, uri).0, ["udp 192.0.2.1:5060", "udp 192.0.2.2:5062"]);
    let target = Target { transport: Transport::Udp, address: "192.0.2.1:5060".parse().unwrap() };
    bench.locator.failed(bench.now, target, Failing::Silent);
    assert_eq!(bench.located(&zone, uri).0, ["udp 192.0.2.2:5062", "udp 192.0.2.1:5060"]);
    bench.advance(30_000);
    assert_eq!(bench.located(&zone, uri).0, ["udp 192.0.2.1:5060", "udp 192.0.2.2:5062"]);
}

/// RFC 8767 §5: SERVFAIL after the time of the records: they serve on, and DNS has a rest.
#[test]
fn stale_records_serve_when_dns_fails() {
    let mut bench = Bench::new(DnsPolicy::default());
    let (zone, uri) = (example(), "sip:a@b.example.com");
    assert_eq!(bench.located(&zone, uri).0, ["udp 192.0.2.2:5060"]);
    assert_eq!(bench.located(&zone, uri).1, Vec::<String>::new(), "within their time");
    bench.advance(61_000);
    assert!(bench.find(2, uri));
    let asked = bench.serve(|_| Reply::FAILED);
    assert!(asked.contains(&"A b.example.com".into()));
    assert_eq!(bench.last(), ["udp 192.0.2.2:5060"]);
    assert!(bench.locator.counts().stale > 0);
    assert!(bench.find(3, uri));
    assert_eq!((bench.asked.len(), bench.last()), (0, vec!["udp 192.0.2.2:5060".into()]));
}

/// RFC 8767 §5: nobody waits longer than 1.8 s for what is known, nor at all longer than its patience.
#[test]
fn a_resolver_that_never_answers_holds_nobody_up() {
    let mut bench = Bench::new(DnsPolicy::default());
    let (zone, uri) = (example(), "sip:a@b.example.com:5060");
    bench.located(&zone, uri);
    bench.advance(61_000);
    assert!(bench.find(2, uri));
    bench.advance(1799);
    assert!(bench.found.is_empty());
    bench.advance(1);
    assert_eq!(bench.last(), ["udp 192.0.2.2:5060"]);
    assert!(bench.find(3, "sip:a@unknown.example"));
    bench.advance(5000);
    assert!(bench.last().is_empty());
    assert_eq!((bench.locator.counts().waiting, bench.locator.counts().not_found), (0, 1));
    // What comes too late is kept for the next.
    let late: Vec<Question> = bench.asked.drain(..).collect();
    for question in late {
        bench.answer(&question, &zone.reply(&question));
    }
    assert_eq!(bench.locator.counts().open, 0);
    assert!(bench.find(4, uri));
    assert_eq!(bench.last(), ["udp 192.0.2.2:5060"]);
}

/// RFC 2308: a name that is not there is not asked for again at once.
#[test]
fn a_denial_is_remembered() {
    let mut bench = Bench::new(DnsPolicy::default());
    let (targets, asked) = bench.located(&Zone::default(), "sip:a@none.example");
    assert_eq!((targets.len(), asked.len()), (0, 6));
    assert_eq!(bench.located(&Zone::default(), "sip:a@none.example"), (vec![], vec![]));
}

/// A TTL of 0 is no way to make us ask for ever, or to make a request wait for ever.
#[test]
fn a_ttl_of_zero_still_answers() {
    let mut bench = Bench::new(DnsPolicy { ttl_min: Duration::ZERO, ..DnsPolicy::default() });
    let zone = example();
    assert!(bench.find(1, "sip:a@example.com"));
    bench.serve(|question| Reply { ttl: Some(Duration::ZERO), ..zone.reply(question) });
    assert_eq!(bench.last().len(), 7);
}

#[test]
fn those_that_wait_have_a_bound() {
    let mut bench = Bench::new(DnsPolicy { waiting: 2, ..DnsPolicy::default() });
    assert!(bench.find(1, "sip:a@one.example"));
    assert!(bench.find(2, "sip:a@one.example"));
    assert_eq!(bench.asked.len(), 1, "one question for both");
    assert!(!bench.find(3, "sip:a@one.example"));
    assert_eq!((bench.locator.counts().waiting, bench.locator.counts().refused), (2, 1));
    bench.serve(|_| Reply::FAILED);
    assert_eq!(bench.found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [1, 2]);
    assert!(bench.find(3, "sip:a@one.example"));
}

/// RFC 3261 §26.3.2.4: nobody's names, however slow and however many servers stand behind them, take the place of all
/// others, and it is given back.
#[test]
fn an_extension_has_a_share() {
    let mut bench = Bench::new(DnsPolicy { waiting: 8, ..DnsPolicy::default() });
    let many = (0..16).fold(Zone::default(), |zone, server| {
        zone.srv("_sip._udp.tarpit.example", 0, 5060, &format!("{server}.tarpit.example"))
    });
    for key in 0..4 {
        assert_eq!(bench.find_for("1001", key, "sip:a@tarpit.example;transport=udp"), key < 2);
    }
    let question = bench.asked.pop().unwrap();
    bench.answer(&question, &many.reply(&question));
    assert!(bench.locator.counts().open <= 16, "half of all that may be with DNS");
    bench.asked.clear();
    assert!(bench.find_for("1002", 4, "sip:a@example.com;transport=udp"));
    assert_eq!(bench.serve(|question| example().reply(question)).len(), 5);
    assert_eq!(bench.last().len(), 3);
    bench.advance(5000);
    assert_eq!((bench.locator.counts().waiting, bench.locator.shares.len()), (0, 0));
    assert!(bench.find_for("1001", 5, "sip:a@slow.example"));
}

proptest! {
    /// RFC 3263 §4.3: whatever DNS says and when, everybody is answered once, within the patience, and tables are
    /// empty afterwards.
    #[test]
    fn everybody_is_answered_once(
        script in proptest::collection::vec((0_u8..6, any::<u8>(), 0_u64..3000), 1..60),
    ) {
        let mut bench = Bench::new(DnsPolicy { waiting: 8, cache: 16, ..DnsPolicy::default() });
        let zone = example();
        let names = ["example.com", "a.example.com", "none.example"];
        let mut taken = HashSet::new();
        for (key, (what, which, ms)) in (0_u32..).zip(script) {
            match what {
                0 | 1 => {
                    let scheme = if which & 1 == 0 { "sip" } else { "sips" };
                    if bench.find(key, &format!("{scheme}:{}", names[usize::from(which) % names.len()])) {
                        taken.insert(key);
                    }
                }
                2 | 3 if !bench.asked.is_empty() => {
                    let question = bench.asked.swap_remove(usize::from(which) % bench.asked.len());
                    let reply = if what == 2 { zone.reply(&question) } else { Reply::FAILED };
                    bench.answer(&question, &reply);
                }
                _ => bench.advance(ms),
            }
        }
        bench.advance(5000);
        let mut found: Vec<u32> = bench.found.iter().map(|(key, _)| *key).collect();
        found.sort_unstable();
        let mut taken: Vec<u32> = taken.into_iter().collect();
        taken.sort_unstable();
        prop_assert_eq!(found, taken);
        prop_assert_eq!(bench.locator.counts().waiting, 0);
        prop_assert!(bench.locator.counts().cached <= 16);
    }
}
