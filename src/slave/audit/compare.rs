//! The record against what the bus holds in this slave's name. A function of both.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Line, Record, Said};
use crate::model::{Build, BuilderName, PayloadId, Report};

/// What the streams hold that was ordered of this slave, and that it said; verified, whoever signed it.
#[derive(Debug, Default)]
pub struct Public {
    /// Orders to it.
    pub orders: Vec<(PayloadId, Build)>,
    /// Reports in its name.
    pub reports: Vec<(PayloadId, Report)>,
}

/// Where the record and the streams differ.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Reports in this slave's name that it never made: somebody else has its key.
    pub foreign: Vec<(PayloadId, Report)>,
    /// Orders that never reached it, or not yet.
    pub unreached: Vec<(PayloadId, Build)>,
    /// What it said and the bus does not hold, though it holds what was said later.
    pub missing: Vec<Said>,
    /// What it said after all that the bus holds: not sent yet.
    pub unsent: Vec<Said>,
    /// What it accepted and the bus does not hold, though it holds what was ordered before.
    pub unordered: Vec<(PayloadId, String)>,
}

/// Compares. What the streams have retired by their caps, and what was before the record began, is no difference.
#[must_use]
pub fn compare(record: &Record, public: &Public) -> Comparison {
    let said: Vec<&Said> = record.lines.iter().filter_map(said).collect();
    let own = own(record, &said, public);
    let held: BTreeSet<&PayloadId> = public.reports.iter().map(|(id, _)| id).collect();
    let newest = public
        .reports
        .iter()
        .map(|(_, report)| report.sequence)
        .max();
    let mut comparison = Comparison {
        foreign: (public.reports.iter())
            .filter(|(id, _)| !own.contains(id))
            .cloned()
            .collect(),
        unreached: unreached(record, public),
        unordered: unordered(record, public),
        ..Comparison::default()
    };
    // Of each builder, what is older than the oldest report held was retired.
    let mut oldest: BTreeMap<&BuilderName, u64> = BTreeMap::new();
    for (_, report) in &public.reports {
        let first = oldest.entry(&report.builder).or_insert(report.sequence);
        *first = report.sequence.min(*first);
    }
    for said in said.into_iter().filter(|said| !held.contains(&said.report)) {
        let first = builder_of(said.build.as_str())
            .and_then(|builder| oldest.get(&builder))
            .copied();
        if newest.is_none_or(|newest| said.sequence > newest) {
            comparison.unsent.push(said.clone());
        } else if first.is_none_or(|first| said.sequence > first) {
            comparison.missing.push(said.clone());
        }
    }
    comparison
}

fn said(line: &Line) -> Option<&Said> {
    match &line.event {
        Event::Said(said) => Some(said),
        Event::Started { .. }
        | Event::Accepted { .. }
        | Event::Deferred { .. }
        | Event::Refused { .. }
        | Event::Owner { .. } => None,
    }
}

/// The reports that are this slave's: those on record, and those that lead back from what it remembered at a start to one on
/// record. A power cut may cost the record its last lines, and the slave may be older than the record.
fn own(record: &Record, said: &[&Said], public: &Public) -> BTreeSet<PayloadId> {
    let mut own: BTreeSet<PayloadId> = said.iter().map(|said| said.report).collect();
    let before: BTreeMap<&PayloadId, Option<PayloadId>> = public
        .reports
        .iter()
        .map(|(id, report)| (id, report.previous))
        .collect();
    for line in &record.lines {
        let Event::Started { newest, .. } = &line.event else {
            continue;
        };
        let mut at = *newest;
        while let Some(id) = at.filter(|id| own.insert(*id)) {
            at = before.get(&id).copied().flatten();
        }
    }
    own
}

fn unreached(record: &Record, public: &Public) -> Vec<(PayloadId, Build)> {
    let Some(began) = record.lines.first().map(|line| line.time) else {
        return public.orders.clone();
    };
    let commands = record.lines.iter().filter_map(|line| line.event.command());
    let known: BTreeSet<&PayloadId> = commands.map(|(command, _)| command).collect();
    // What this slave has spoken of before the record began reached it, too.
    let answered: BTreeSet<&PayloadId> = public
        .reports
        .iter()
        .map(|(_, report)| &report.command)
        .collect();
    (public.orders.iter())
        .filter(|(id, build)| {
            !known.contains(id) && (build.issued >= began || !answered.contains(id))
        })
        .cloned()
        .collect()
}

fn unordered(record: &Record, public: &Public) -> Vec<(PayloadId, String)> {
    let held: BTreeSet<&PayloadId> = public.orders.iter().map(|(id, _)| id).collect();
    let mut oldest: BTreeMap<&BuilderName, u64> = BTreeMap::new();
    for (_, build) in &public.orders {
        let first = oldest.entry(&build.builder).or_insert(build.number);
        *first = build.number.min(*first);
    }
    let mut found = Vec::new();
    for line in &record.lines {
        if let Event::Accepted { command, build, .. } = &line.event
            && !held.contains(command)
        {
            let number = build.as_str().rsplit('/').next();
            let number: u64 = number.and_then(|number| number.parse().ok()).unwrap_or(0);
            let first = builder_of(build.as_str())
                .and_then(|builder| oldest.get(&builder))
                .copied();
            if first.is_none_or(|first| number >= first) {
                found.push((*command, build.to_string()));
            }
        }
    }
    found
}

fn builder_of(build: &str) -> Option<BuilderName> {
    build.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FarmId, InstanceId, KeyId, Position, ReportBody, Source, Text, Timestamp};
    use std::time::Duration;

    const BEGAN: Timestamp = Timestamp(1_795_370_400_000_000);

    fn id(number: u64) -> PayloadId {
        PayloadId([u8::try_from(number).unwrap(); 32])
    }

    /// Report `sequence` of build `foo/sequence`, whose id is its sequence, after the report `previous`.
    fn report(sequence: u64, previous: Option<u64>) -> (PayloadId, Report) {
        let report = Report {
            farm: FarmId([1; 32]),
            slave: "maple".parse().unwrap(),
            instance: InstanceId([1; 16]),
            builder: "foo".parse().unwrap(),
            command: id(100 + sequence),
            number: sequence,
            sequence,
            previous: previous.map(id),
            keyring: Position::default(),
            issued: BEGAN,
            experiment: None,
            body: ReportBody::Lost {
                detail: Text::default(),
            },
        };
        (id(sequence), report)
    }

    /// The order of build `foo/number`.
    fn order(number: u64, issued: Timestamp) -> (PayloadId, Build) {
        let build = Build {
            farm: FarmId([1; 32]),
            slave: "maple".parse().unwrap(),
            report_key: KeyId([1; 32]),
            builder: "foo".parse().unwrap(),
            number,
            issued,
            accept_by: issued,
            finish_by: issued,
            keyring: Position::default(),
            project: "foo".parse().unwrap(),
            sources: Vec::<Source>::new(),
            covers: Vec::new(),
            steps: Vec::new(),
            reason: Text::default(),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        };
        (id(100 + number), build)
    }

    fn started(newest: u64) -> Event {
        Event::Started {
            newest: Some(id(newest)).filter(|_| newest > 0),
            sequence: newest,
        }
    }

    fn said(sequence: u64) -> Event {
        let (id, report) = report(sequence, None);
        Event::said(id, &report)
    }

    fn accepted(number: u64) -> Event {
        Event::Accepted {
            command: id(100 + number),
            build: Text::tidy(&format!("foo/{number}")),
            signer: String::new(),
        }
    }

    fn record(events: Vec<Event>) -> Record {
        let lines = (1..).zip(events).map(|(n, event)| Line {
            n,
            time: BEGAN,
            previous: None,
            torn: None,
            event,
        });
        Record {
            lines: lines.collect(),
            fault: None,
        }
    }

    fn foreign(events: Vec<Event>, reports: Vec<(PayloadId, Report)>) -> Vec<PayloadId> {
        let public = Public {
            orders: Vec::new(),
            reports,
        };
        let comparison = compare(&record(events), &public);
        comparison.foreign.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_report_is_the_slaves_own_if_it_is_on_record_or_leads_back_from_what_the_slave_remembered()
    {
        let chain = || {
            (1..=5)
                .map(|n| report(n, Some(n - 1).filter(|n| *n > 0)))
                .collect()
        };
        assert_eq!(
            foreign(vec![started(0), said(1), said(2)], chain()),
            [id(3), id(4), id(5)]
        );
        // What was said before the record began.
        assert_eq!(foreign(vec![started(5)], chain()), []);
        // What a power cut took from the record, and nothing before that.
        let torn = vec![started(0), said(2), started(4), said(5)];
        assert_eq!(foreign(torn, chain()), [id(1)]);
        // Two reports in one place: one of them is somebody else's.
        let mut forked: Vec<_> = chain();
        forked.push((id(50), report(5, Some(4)).1));
        assert_eq!(foreign(vec![started(5)], forked), [id(50)]);
    }

    #[test]
    fn what_is_on_record_and_not_on_the_bus_is_missing_unsent_or_retired() {
        let events = (1..=6).map(said).collect();
        let public = Public {
            orders: Vec::new(),
            reports: vec![report(3, None), report(5, None)],
        };
        let comparison = compare(&record(events), &public);
        let sequences = |said: &[Said]| said.iter().map(|said| said.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(&comparison.missing), [4]);
        assert_eq!(sequences(&comparison.unsent), [6]);
    }

    #[test]
    fn orders_that_did_not_come_and_commands_that_nobody_ordered_are_named() {
        let before = BEGAN.before(Duration::from_secs(1));
        let events = vec![started(0), accepted(2), accepted(4), accepted(1)];
        let public = Public {
            orders: vec![
                order(2, BEGAN),
                order(3, BEGAN),
                order(5, before),
                order(6, before),
            ],
            reports: vec![report(5, None)],
        };
        let comparison = compare(&record(events), &public);
        let unreached: Vec<u64> = comparison
            .unreached
            .iter()
            .map(|(_, build)| build.number)
            .collect();
        assert_eq!(unreached, [3, 6], "5 was answered before the record began");
        assert_eq!(
            comparison.unordered,
            [(id(104), "foo/4".to_owned())],
            "1 was retired"
        );
    }
}
