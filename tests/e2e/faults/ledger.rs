//! What clients were promised, and whether the server kept it.

use std::collections::{BTreeMap, BTreeSet};

use dialtone_core::cdr::{Cdr, Disposition};

/// Written by the clients as answers arrive; every call dials a number that no other dials.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Extensions whose REGISTER was answered 200.
    pub registered: BTreeSet<String>,
    /// Numbers whose INVITE was sent at all.
    pub called: BTreeSet<String>,
    /// Numbers whose INVITE was answered 200.
    pub answered: BTreeSet<String>,
    /// Numbers whose INVITE was refused, and how.
    pub refused: BTreeMap<String, u16>,
    /// Numbers whose BYE was answered, and how.
    pub ended: BTreeMap<String, u16>,
}

impl Ledger {
    /// What was promised and is not so, one line each. `contacts` are the extensions that are registered now.
    pub fn broken(&self, records: &[Cdr], contacts: &BTreeSet<String>) -> Vec<String> {
        let mut of: BTreeMap<&str, Vec<&Cdr>> = BTreeMap::new();
        for record in records {
            of.entry(&record.dialed).or_default().push(record);
        }
        let lost = self.registered.difference(contacts).map(|number| format!("{number} is not registered"));
        let mut broken: Vec<String> = lost.collect();
        for number in &self.called {
            let records = of.remove(number.as_str()).unwrap_or_default();
            let answered = self.answered.contains(number);
            let good = match records[..] {
                [] => !answered,
                [record] => !answered || record.disposition == Disposition::Answered,
                _ => false,
            };
            if !good {
                let what: Vec<_> =
                    records.iter().map(|record| (record.disposition, record.ended_by)).collect();
                broken.push(format!("call to {number}, answered: {answered}, has the records {what:?}"));
            }
        }
        broken.extend(of.keys().map(|number| format!("nobody called {number}, and there is a record")));
        let mut ids: Vec<_> = records.iter().map(|record| record.call).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        broken.extend(twice.map(|call| format!("{call} has two records")));
        broken
    }

    /// Fails with everything that is broken.
    pub fn check(&self, records: &[Cdr], contacts: &BTreeSet<String>) {
        let broken = self.broken(records, contacts);
        assert!(broken.is_empty(), "{} promises are broken: {broken:#?}", broken.len());
    }
}

#[cfg(test)]
mod tests {
    use dialtone_core::cdr::EndedBy;
    use dialtone_core::{Cause, IdSource, NodeId, Party};

    use super::*;

    fn record(ids: &mut IdSource, dialed: &str, disposition: Disposition) -> Cdr {
        let call = ids.call();
        Cdr {
            call,
            conversation: call.into(),
            from: Party { number: "2000".into(), name: String::new(), private: false },
            dialed: dialed.into(),
            answered_by: None,
            started: String::new(),
            answered: None,
            ended: String::new(),
            duration_ms: 0,
            talk_ms: 0,
            disposition,
            cause: Cause::NormalClearing,
            ended_by: EndedBy::Caller,
            legs: Vec::new(),
            transfers: Vec::new(),
            merged_into: None,
        }
    }

    /// Each kind of broken promise is found.
    #[test]
    fn what_was_promised_and_is_not_kept_is_found() {
        let mut ids = IdSource::new(NodeId(1), 1, 1, 1);
        let set = |all: &[&str]| all.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let ledger = Ledger {
            registered: set(&["2000"]),
            called: set(&["7000", "7001", "7002"]),
            answered: set(&["7000", "7001"]),
            ..Ledger::default()
        };
        let good = [
            record(&mut ids, "7000", Disposition::Answered),
            record(&mut ids, "7001", Disposition::Answered),
        ];
        assert_eq!(ledger.broken(&good, &set(&["2000", "2001"])), Vec::<String>::new());
        let cases: [(&str, Vec<Cdr>, &[&str]); 6] = [
            ("is not registered", good.to_vec(), &[]),
            ("call to 7001", good[..1].to_vec(), &["2000"]),
            (
                "call to 7000",
                [&good[..], &[record(&mut ids, "7000", Disposition::Answered)]].concat(),
                &["2000"],
            ),
            (
                "call to 7000",
                vec![record(&mut ids, "7000", Disposition::NoAnswer), good[1].clone()],
                &["2000"],
            ),
            (
                "nobody called 7009",
                [&good[..], &[record(&mut ids, "7009", Disposition::Answered)]].concat(),
                &["2000"],
            ),
            (
                "has two records",
                [&good[..], &[Cdr { dialed: "7002".into(), ..good[0].clone() }]].concat(),
                &["2000"],
            ),
        ];
        for (expected, records, contacts) in cases {
            let broken = ledger.broken(&records, &set(contacts));
            assert!(broken.len() == 1 && broken[0].contains(expected), "{expected}: {broken:?}");
        }
    }
}
