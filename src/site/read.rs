//! Reads `site.toml` into a [`Loaded`]: each table alone first, then what they say about one another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use dialtone_core::Codec;
use dialtone_core::app::UNANSWERED_MAX;
use dialtone_core::leg::Number;
use dialtone_core::site::{Extension, Flow, RingGroup, STEPS_MAX, Site, Step};
use dialtone_signaling::registrar::ReachPolicy;
use dialtone_signaling::ua::IdentityPolicy;
use dialtone_signaling::wire::Transport;

use super::entry::{Entry, is_number, tables};
use super::file::{ExtensionEntry, FlowEntry, Head, RingGroupEntry, Span, StepEntry};
use super::{
    AccountSpec, CONTACTS_MAX, DIGEST_DEFAULT, EXTENSIONS_MAX, Loaded, MEMBERS_MAX, Secret, TransportName,
};
use crate::config::{Config, Document, Place, Problem, Problems, finish};

/// The tables that a site file may have.
pub(super) const KINDS: [&str; 3] = ["extension", "ring_group", "flow"];

/// Prompts that are in the program itself.
const EMBEDDED_PROMPTS: [&str; 1] = ["welcome"];

/// How often contacts are asked whether they are there when nobody says.
const QUALIFY_DEFAULT: Duration = Duration::from_secs(60);

/// Contacts of an extension when nobody says.
const CONTACTS_DEFAULT: u32 = 5;

/// Reads and checks the site that `config` names. What is wrong is reported and left out.
pub(crate) fn load(config: &Config, problems: &mut Vec<Problem>) -> Loaded {
    let file = &config.site.file;
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| {
        problems.push(Problem {
            place: Place::File(file.clone()),
            key: String::new(),
            what: format!("the site cannot be read: {error}"),
            fix: "set site.file of the configuration, or write a new site with `dialtone init`".into(),
        });
        String::new()
    });
    read(&text, config, problems)
}

/// Reads and checks a site from a text, as if it stood where `config` says.
pub fn parse(text: &str, config: &Config) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let loaded = read(text, config, &mut problems);
    finish(loaded, problems)
}

/// [`load`] of a text.
pub(super) fn read(text: &str, config: &Config, problems: &mut Vec<Problem>) -> Loaded {
    let document = Document::parse(&config.site.file, text, problems);
    let entry = Entry::head(&document);
    let head: Head = entry.assemble(problems);
    entry.name(&head.name, problems);
    check_defaults(&entry, &head, problems);
    let mut reader = Reader {
        config,
        problems,
        taken: BTreeMap::new(),
        site: Site { name: head.name.clone(), ..Site::default() },
        accounts: Vec::new(),
        head,
    };
    reader.extensions(&document);
    reader.ring_groups(&document);
    reader.flows(&document);
    reader.accounts.sort_by(|a, b| a.number.cmp(&b.number));
    Loaded {
        site: reader.site,
        accounts: reader.accounts,
        algorithms: reader.head.digest.unwrap_or_else(|| DIGEST_DEFAULT.to_vec()),
        realm: config.sip.domain.clone(),
    }
}

fn check_defaults(entry: &Entry<'_>, head: &Head, problems: &mut Vec<Problem>) {
    if let Some(codecs) = &head.codecs {
        entry.codecs(codecs, problems);
    }
    if let Some(digest) = &head.digest {
        entry.digest(digest, problems);
    }
    if let Some(Span(timeout)) = head.ring_timeout {
        entry.ring_timeout(timeout, problems);
    }
    check_contacts(entry, head.max_contacts, problems);
    check_reach(entry, head.transports.as_deref(), head.qualify, problems);
}

fn check_reach(
    entry: &Entry<'_>,
    transports: Option<&[TransportName]>,
    qualify: Option<Span>,
    problems: &mut Vec<Problem>,
) {
    if let Some(transports) = transports {
        entry.transports(transports, problems);
    }
    if let Some(Span(every)) = qualify {
        entry.qualify(every, problems);
    }
}

fn check_contacts(entry: &Entry<'_>, max_contacts: Option<u32>, problems: &mut Vec<Problem>) {
    if max_contacts.is_some_and(|max| max == 0 || max > CONTACTS_MAX) {
        let fix = format!("choose 1 to {CONTACTS_MAX}");
        problems.push(entry.problem("max_contacts", "it is out of range", fix));
    }
}

struct Reader<'a> {
    config: &'a Config,
    problems: &'a mut Vec<Problem>,
    head: Head,
    /// Who has a number, and where that is written.
    taken: BTreeMap<Number, (&'static str, Place)>,
    site: Site,
    accounts: Vec<AccountSpec>,
}

impl Reader<'_> {
    fn extensions(&mut self, document: &Document<'_>) {
        let [kind, _, _] = KINDS;
        let found = tables(document, kind, self.problems);
        if found.len() > EXTENSIONS_MAX {
            self.problems.push(Problem {
                place: document.place(found[EXTENSIONS_MAX].0),
                key: kind.into(),
                what: format!("there are {} extensions", found.len()),
                fix: format!("keep at most {EXTENSIONS_MAX}"),
            });
        }
        for (start, table) in found {
            let entry = Entry::new(document, kind, start, table);
            let read: ExtensionEntry = entry.assemble(self.problems);
            self.extension(&entry, read);
        }
    }

    fn extension(&mut self, entry: &Entry<'_>, read: ExtensionEntry) {
        entry.name(&read.name, self.problems);
        check_contacts(entry, read.max_contacts, self.problems);
        check_reach(entry, read.transports.as_deref(), read.qualify, self.problems);
        if let Some(codecs) = &read.codecs {
            entry.codecs(codecs, self.problems);
        }
        if let Some(digest) = &read.digest {
            entry.digest(digest, self.problems);
        }
        if let Some(Span(timeout)) = read.ring_timeout {
            entry.ring_timeout(timeout, self.problems);
        }
        entry.groups(&read.pickup_groups, self.problems);
        let password = self.password(entry, &read);
        let Some(number) = self.claim(entry, KINDS[0], read.number.clone()) else { return };
        let head = &self.head;
        let extension = Extension {
            number: number.clone(),
            name: read.name,
            codecs: read.codecs.or_else(|| head.codecs.clone()).unwrap_or_else(|| Codec::VOICE.to_vec()),
            ring_timeout: self.ring_timeout(read.ring_timeout),
            pickup_groups: read.pickup_groups,
        };
        let algorithms = read.digest.or_else(|| head.digest.clone());
        self.accounts.push(AccountSpec {
            number: number.clone(),
            password,
            algorithms: algorithms.unwrap_or_else(|| DIGEST_DEFAULT.to_vec()),
            max_contacts: read.max_contacts.or(head.max_contacts).unwrap_or(CONTACTS_DEFAULT),
            contact_policy: read.contact_policy.or(head.contact_policy).unwrap_or_default(),
            reliability: read.reliable_provisional.or(head.reliable_provisional).unwrap_or_default(),
            identity: IdentityPolicy::new(read.trust_identity, read.send_identity),
            reach: ReachPolicy {
                nat: read.nat.or(head.nat).unwrap_or_default(),
                transports: read
                    .transports
                    .or_else(|| head.transports.clone())
                    .unwrap_or_default()
                    .into_iter()
                    .map(Transport::from)
                    .collect(),
                qualify: read.qualify.or(head.qualify).map_or(QUALIFY_DEFAULT, |Span(every)| every),
            },
        });
        self.site.extensions.insert(number, extension);
    }

    fn password(&mut self, entry: &Entry<'_>, read: &ExtensionEntry) -> Secret {
        let secret = match (&read.password, &read.password_file) {
            (Some(password), None) => Ok(password.clone()),
            (None, Some(file)) => {
                let folder = self.config.site.file.parent().unwrap_or(Path::new("."));
                Secret::from_file(&folder.join(file)).map_err(|error| ("password_file", error.to_string()))
            }
            (Some(_), Some(_)) => Err(("password_file", "password is set too".to_string())),
            (None, None) => Err(("password", "it is missing".to_string())),
        };
        let fix = "write password = \"…\" or password_file = \"…\", one of the two";
        match secret {
            Ok(secret) if secret.is_empty() || secret.reveal().chars().any(char::is_control) => {
                self.problems.push(entry.problem("password", "it is empty or has control characters", fix));
                Secret::default()
            }
            Ok(secret) => secret,
            Err((key, what)) => {
                self.problems.push(entry.problem(key, what, fix));
                Secret::default()
            }
        }
    }

    fn ring_groups(&mut self, document: &Document<'_>) {
        let [_, kind, _] = KINDS;
        for (start, table) in tables(document, kind, self.problems) {
            let entry = Entry::new(document, kind, start, table);
            let read: RingGroupEntry = entry.assemble(self.problems);
            entry.name(&read.name, self.problems);
            if let Some(Span(timeout)) = read.ring_timeout {
                entry.ring_timeout(timeout, self.problems);
            }
            self.members(&entry, &read.members);
            let members = read.members.unwrap_or_default();
            let Some(number) = self.claim(&entry, kind, read.number) else { continue };
            let group = RingGroup {
                number: number.clone(),
                name: read.name,
                members,
                ring_timeout: self.ring_timeout(read.ring_timeout),
                ringback: read.ringback,
            };
            self.site.ring_groups.insert(number, group);
        }
    }

    fn members(&mut self, entry: &Entry<'_>, members: &Option<Vec<Number>>) {
        let Some(members) = entry.list("members", members, self.problems) else { return };
        let mut report = |what: String, fix: String| {
            self.problems.push(entry.problem("members", what, fix));
        };
        let most = MEMBERS_MAX.min(self.config.calls.max_branches as usize);
        if members.len() > most {
            report(
                format!("{} members are too many", members.len()),
                format!(
                    "keep at most {most} (calls.max_branches of the configuration; never above {MEMBERS_MAX})"
                ),
            );
        }
        let mut seen = BTreeSet::new();
        for member in members {
            if !seen.insert(member) {
                report(format!("{member} stands there twice"), "remove one".into());
            } else if !self.site.extensions.contains_key(member) {
                let what = match self.taken.contains_key(member) || !is_number(member) {
                    true => format!("{member:?} is not an extension"),
                    false => format!("there is no extension {member}"),
                };
                report(what, "name an extension of this file".into());
            }
        }
    }

    fn flows(&mut self, document: &Document<'_>) {
        let [_, _, kind] = KINDS;
        let prompts = prompts(&self.config.site.prompts);
        for (start, table) in tables(document, kind, self.problems) {
            let entry = Entry::new(document, kind, start, table);
            let read: FlowEntry = entry.assemble(self.problems);
            entry.name(&read.name, self.problems);
            let written = entry.list("steps", &read.steps, self.problems).unwrap_or_default();
            let steps: Vec<Step> = written.iter().map(StepEntry::step).collect();
            self.steps(&entry, &steps, &prompts);
            let Some(number) = self.claim(&entry, kind, read.number) else { continue };
            self.site.flows.insert(number.clone(), Flow { number, name: read.name, steps });
        }
    }

    fn steps(&mut self, entry: &Entry<'_>, steps: &[Step], prompts: &BTreeSet<String>) {
        let mut report = |what: String, fix: String| {
            self.problems.push(entry.problem("steps", what, fix));
        };
        if steps.len() > STEPS_MAX {
            report(format!("{} steps are too many", steps.len()), format!("keep at most {STEPS_MAX}"));
        }
        let known = || prompts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let answer = steps.iter().position(|step| *step == Step::Answer).unwrap_or(steps.len());
        let waits = steps[..answer].iter().map(|step| match step {
            Step::Wait { ms } => u64::from(*ms),
            Step::Answer | Step::Echo | Step::Tone { .. } | Step::Play { .. } | Step::HangUp { .. } => 0,
        });
        if waits.sum::<u64>() >= UNANSWERED_MAX.as_millis() as u64 {
            report(
                format!("the caller waits {} s or longer for an answer", UNANSWERED_MAX.as_secs()),
                "answer first, or wait less".into(),
            );
        }
        for (index, step) in steps.iter().enumerate() {
            let number = index + 1;
            if index < answer && matches!(step, Step::Echo | Step::Tone { .. } | Step::Play { .. }) {
                report(
                    format!("step {number}: the caller hears nothing before \"answer\""),
                    "put \"answer\" in front of it".into(),
                );
            }
            match step {
                Step::Play { prompt } if !prompts.contains(prompt) => report(
                    format!("step {number}: there is no prompt {prompt:?}"),
                    format!(
                        "put {prompt}.wav into {}, or use one of: {}",
                        self.config.site.prompts.display(),
                        known()
                    ),
                ),
                Step::Tone { hz, level_dbm0 }
                    if !(50..=3400).contains(hz) || !(-60..=0).contains(level_dbm0) =>
                {
                    report(
                        format!("step {number}: the tone is out of range"),
                        "choose 50 to 3400 Hz and −60 to 0 dBm0".into(),
                    );
                }
                Step::Wait { ms } if *ms == 0 || *ms > 3_600_000 => {
                    report(format!("step {number}: the wait is out of range"), "choose 1ms to 1h".into());
                }
                Step::Echo | Step::Tone { .. } | Step::HangUp { .. } if index + 1 < steps.len() => report(
                    format!("step {number} never ends by itself, so the next one is never reached"),
                    "make it the last step".into(),
                ),
                Step::Answer
                | Step::Echo
                | Step::Tone { .. }
                | Step::HangUp { .. }
                | Step::Play { .. }
                | Step::Wait { .. } => {}
            }
        }
    }

    /// The number, when it is one and nobody else has it.
    fn claim(&mut self, entry: &Entry<'_>, kind: &'static str, number: Option<String>) -> Option<Number> {
        let number = entry.number(number, self.problems)?;
        if let Some((other, place)) = self.taken.get(&number) {
            let what = format!("the number belongs to the {} at {place}", other.replace('_', " "));
            self.problems.push(entry.problem("number", what, "choose another"));
            return None;
        }
        self.taken.insert(number.clone(), (kind, entry.place("number")));
        Some(number)
    }

    fn ring_timeout(&self, own: Option<Span>) -> Duration {
        own.or(self.head.ring_timeout).map_or(self.config.calls.ring_timeout, |Span(timeout)| timeout)
    }
}

/// The names that a `play` step may use.
fn prompts(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let names = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "wav"))
        .filter_map(|file| file.file_stem()?.to_str().map(str::to_string));
    names.chain(EMBEDDED_PROMPTS.map(str::to_string)).collect()
}
