//! What is known of one builder: what was ordered, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::track::TrackId;
use crate::model::{
    Build, BuildState, PayloadId, ReportBody, SecondEnd, SlaveName, Source, Timestamp, Verdict,
};

/// How a build went so far, by what its slave says.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) state: BuildState,
    /// When its first script was executed.
    started: Option<Timestamp>,
    /// Until when its slave's owner put it off.
    deferred: Option<Timestamp>,
    end: Option<(PayloadId, Verdict)>,
    /// The first report that said `lost`. It may come again after a rescue.
    lost: Option<PayloadId>,
    disputed: bool,
}

impl Course {
    pub(super) fn take(&mut self, report: PayloadId, body: &ReportBody, issued: Timestamp) {
        if let ReportBody::StepStarted { started, .. } = body {
            self.started = Some(self.started.map_or(*started, |first| first.min(*started)));
        }
        if let ReportBody::Deferred { until } = body {
            self.deferred.get_or_insert(*until);
        }
        if let Some(verdict) = body.verdict() {
            let new = (report, verdict);
            if self.lost == Some(report) {
                return;
            }
            if verdict == Verdict::Lost {
                self.lost.get_or_insert(report);
            }
            match self.end.map(|held| SecondEnd::of(held, new)) {
                None | Some(SecondEnd::Rescue) => self.end = Some(new),
                Some(SecondEnd::Repeat) => {}
                Some(SecondEnd::Contradiction) => self.disputed = true,
            }
        }
        self.state = self.state.after(body, issued);
    }

    /// Whether the slave took the build. That it refused a thief's does not make its number one of ours: it may have refused
    /// it for that number.
    pub(super) fn is_taken(&self) -> bool {
        !matches!(
            self.state,
            BuildState::Done {
                verdict: Verdict::Refused,
                ..
            }
        )
    }
}

/// A build that was ordered.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: PayloadId,
    pub(super) build: Box<Build>,
    pub(super) cancelled: Option<CalledOff>,
    /// What its slave says of it.
    pub(super) course: Course,
}

/// Who called a build off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CalledOff {
    /// Somebody asked for it.
    ByRequest,
    /// The master, because the build did not begin in time.
    ByItself,
}

/// What came of a build, by now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It may still go on, until then.
    InFlight { until: Timestamp },
    /// It says something of the code.
    Told { verdict: Verdict, at: Timestamp },
    /// It is over for good without saying anything of the code: refused, cancelled, skipped or disputed.
    Over { verdict: Verdict, at: Timestamp },
    /// It says nothing of the code, and may be tried again.
    Failed { verdict: Verdict, at: Timestamp },
    /// The slave's owner put it off.
    Deferred { until: Timestamp },
}

impl Order {
    /// What came of it.
    pub(super) fn fate(&self, now: Timestamp) -> Fate {
        let course = &self.course;
        let lost_after = self.build.lost_after(course.state);
        let Some(verdict) = course.state.verdict(lost_after, now) else {
            return Fate::InFlight { until: lost_after };
        };
        let at = match course.state {
            BuildState::Done { at, .. } => at,
            BuildState::Ordered | BuildState::Accepted | BuildState::Running { .. } => lost_after,
        };
        if course.disputed {
            return Fate::Over { verdict, at };
        }
        match (verdict, course.deferred, self.cancelled) {
            (Verdict::Skipped, Some(until), _) => Fate::Deferred { until },
            // Nobody wants it any more, though its slave could not say that it has ended.
            (Verdict::Lost | Verdict::Errored, _, Some(CalledOff::ByRequest)) => {
                Fate::Over { verdict, at }
            }
            (Verdict::Lost | Verdict::Errored, _, _)
            | (Verdict::Cancelled, _, Some(CalledOff::ByItself)) => Fate::Failed { verdict, at },
            (
                Verdict::Skipped | Verdict::Refused | Verdict::Cancelled | Verdict::TimedOut,
                _,
                _,
            ) => Fate::Over { verdict, at },
            (Verdict::Passed | Verdict::Warned | Verdict::Failed, _, _) => {
                Fate::Told { verdict, at }
            }
        }
    }

    /// How long its scripts took, if it came to an end.
    fn duration(&self) -> Option<Duration> {
        match self.course.state {
            BuildState::Done { at, .. } => Some(at.since(self.course.started?)),
            BuildState::Ordered | BuildState::Accepted | BuildState::Running { .. } => None,
        }
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.build.sources
    }
}

/// What is known of one builder.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The newest orders, by number.
    orders: BTreeMap<u64, Order>,
    /// The oldest order that the stream told of, and when it was issued.
    oldest: Option<(u64, Timestamp)>,
    /// How far each branch or project is covered.
    reached: BTreeMap<TrackId, u64>,
    /// Numbers that somebody spoke of whose word is not enough.
    told: BTreeSet<u64>,
    /// What a stolen key ordered and no slave has taken.
    unproven: BTreeMap<(PayloadId, SlaveName), Box<Build>>,
    /// What slaves say of commands that are not held: not known yet, not any more, or never ordered.
    courses: BTreeMap<(PayloadId, SlaveName), Course>,
    /// What was called off, also before it is known what that was.
    called_off: BTreeMap<PayloadId, CalledOff>,
}

impl Lane {
    /// So many orders are held: what is decided looks no further back.
    pub(super) const MAX_ORDERS: usize = 32;
    /// How many numbers, or orders, are kept on the word of a thief or of a slave.
    const MAX_TOLD: usize = 1_000;
    /// Of so many commands that are not held it is kept what slaves say of them.
    const MAX_COURSES: usize = 4_000;

    pub(super) fn order(&mut self, id: PayloadId, build: Box<Build>) {
        // One number, one order: a copy of it, and a second one that a thief made, change nothing.
        if self.orders.contains_key(&build.number) {
            return;
        }
        let name = (id, build.slave.clone());
        let order = Order {
            id,
            cancelled: self.called_off.get(&id).copied(),
            course: self.courses.remove(&name).unwrap_or_default(),
            build,
        };
        self.orders.insert(order.build.number, order);
        while self.orders.len() > Self::MAX_ORDERS
            && let Some((_, oldest)) = self.orders.pop_first()
        {
            self.called_off.remove(&oldest.id);
        }
    }

    /// Takes in what a key ordered that was stolen at some time; it counts once its slave has taken it.
    pub(super) fn doubt(&mut self, id: PayloadId, build: Box<Build>) -> Option<Box<Build>> {
        let name = (id, build.slave.clone());
        if self.courses.get(&name).is_some_and(Course::is_taken) {
            return Some(build);
        }
        self.tell(build.number);
        self.unproven.insert(name, build);
        if self.unproven.len() > Self::MAX_TOLD {
            self.unproven.pop_last();
        }
        None
    }

    /// Takes in a report. Returns an order that counts because of it.
    pub(super) fn report(
        &mut self,
        command: PayloadId,
        slave: SlaveName,
        report: PayloadId,
        body: &ReportBody,
        issued: Timestamp,
    ) -> Option<Box<Build>> {
        // The newest is spoken of most.
        let mut orders = self.orders.values_mut().rev();
        if let Some(order) = orders.find(|it| it.id == command && it.build.slave == slave) {
            order.course.take(report, body, issued);
            return None;
        }
        let name = (command, slave);
        let course = self.courses.entry(name.clone()).or_default();
        course.take(report, body, issued);
        let taken = course.is_taken();
        // Of what is spoken of without end, by whoever floods the stream, the greatest ids are forgotten.
        if self.courses.len() > Self::MAX_COURSES {
            self.courses.pop_last();
        }
        if taken {
            self.unproven.remove(&name)
        } else {
            None
        }
    }

    pub(super) fn call_off(&mut self, target: PayloadId, by: CalledOff) {
        // Whoever asked counts more than the master's own doubt.
        let known = self.called_off.entry(target).or_insert(by);
        if by == CalledOff::ByRequest {
            *known = by;
        }
        let by = *known;
        if let Some(order) = self.orders.values_mut().find(|order| order.id == target) {
            order.cancelled = Some(by);
        }
        while self.called_off.len() > Self::MAX_TOLD {
            self.called_off.pop_last();
        }
    }

    /// Whether nothing is known of it but reports.
    pub(super) fn is_strange(&self) -> bool {
        self.orders.is_empty()
            && self.reached.is_empty()
            && self.told.is_empty()
            && self.unproven.is_empty()
            && self.called_off.is_empty()
    }

    /// Takes in that the stream tells of an order.
    pub(super) fn begin(&mut self, number: u64, issued: Timestamp) {
        let earlier = self.oldest.is_none_or(|(oldest, _)| number < oldest);
        if earlier {
            self.oldest = Some((number, issued));
        }
    }

    /// Whether the stream has forgotten what was ordered at `then`: it tells of many later orders, but not of the first
    /// one. Whatever was asked for before that was ordered, as it goes before everything else.
    pub(super) fn has_forgotten(&self, then: Timestamp) -> bool {
        let is_full = self.orders.len() >= Self::MAX_ORDERS;
        let oldest = self.oldest.filter(|(number, _)| *number > 1 && is_full);
        oldest.is_some_and(|(_, issued)| then < issued)
    }

    pub(super) fn tell(&mut self, number: u64) {
        self.told.insert(number);
        // The greatest are the least likely.
        if self.told.len() > Self::MAX_TOLD {
            self.told.pop_last();
        }
    }

    /// A change or release is covered.
    pub(super) fn reach(&mut self, track: TrackId, sequence: u64) {
        let reached = self.reached.entry(track).or_insert(sequence);
        *reached = sequence.max(*reached);
    }

    pub(super) fn reached(&self, track: TrackId) -> Option<u64> {
        self.reached.get(&track).copied()
    }

    pub(super) fn newest(&self) -> Option<&Order> {
        self.orders.last_key_value().map(|(_, order)| order)
    }

    pub(super) fn numbered(&self, number: u64) -> Option<&Order> {
        self.orders.get(&number)
    }

    /// The orders held, the newest first.
    pub(super) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().rev()
    }

    /// The orders that may still go on, and until when. Not only the newest one: a late report brings an older one back, and
    /// a thief's order that was refused does not end the one before it.
    pub(super) fn all_in_flight(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Order, Timestamp)> {
        self.orders()
            .filter_map(move |order| match order.fate(now) {
                Fate::InFlight { until } => Some((order, until)),
                Fate::Told { .. }
                | Fate::Over { .. }
                | Fate::Failed { .. }
                | Fate::Deferred { .. } => None,
            })
    }

    /// The newest order that may still go on, and until when.
    pub(super) fn in_flight(&self, now: Timestamp) -> Option<(&Order, Timestamp)> {
        self.all_in_flight(now).next()
    }

    /// How many builds in a row, up to the newest, said nothing of the code, and when the last of them ended. Only those
    /// ordered after `since` count.
    pub(super) fn streak(&self, since: Timestamp, now: Timestamp) -> (u32, Timestamp) {
        let (mut streak, mut last) = (0, Timestamp(0));
        for order in self.orders() {
            if order.build.issued <= since {
                break;
            }
            match order.fate(now) {
                Fate::Told { .. } => break,
                Fate::Failed { at, .. }
                | Fate::Over {
                    verdict: Verdict::Refused,
                    at,
                } => {
                    streak += 1;
                    last = last.max(at);
                }
                Fate::Over { .. } | Fate::Deferred { .. } | Fate::InFlight { .. } => {}
            }
        }
        (streak, last)
    }

    /// How often the build that `order` repeats was tried, as far as is known; what was only put off does not count.
    pub(super) fn tries(&self, order: &Order, now: Timestamp) -> u32 {
        let mut tries = 0;
        let mut next = Some(order);
        while let Some(order) = next {
            if !matches!(order.fate(now), Fate::Deferred { .. }) {
                tries += 1;
            }
            // Numbers only go down here, so this ends.
            next = order
                .build
                .retry_of
                .filter(|earlier| *earlier < order.build.number)
                .and_then(|earlier| self.numbered(earlier));
        }
        tries
    }

    /// How much a build is expected to tell per second: the chance that it fails, by the time that it takes. Laplace's rule
    /// of succession, so that a builder without history is tried before one that never fails.
    pub(super) fn signal(&self) -> f64 {
        let (mut builds, mut failures, mut seconds) = (0.0, 0.0, 0.0);
        for order in self.orders() {
            let BuildState::Done { verdict, .. } = order.course.state else {
                continue;
            };
            if let Some(duration) = order.duration()
                && verdict.is_about_the_code()
            {
                builds += 1.0;
                seconds += duration.as_secs_f64();
                failures += f64::from(u8::from(verdict == Verdict::Failed));
            }
        }
        let mean = if builds > 0.0 {
            seconds / builds
        } else {
            Self::UNKNOWN_SECONDS
        };
        (failures + 1.0) / (builds + 2.0) / mean.max(1.0)
    }

    /// What a build is taken to last of which nothing is known.
    const UNKNOWN_SECONDS: f64 = 600.0;

    /// The highest number that is taken. A number far above all others was made up, to run out of numbers.
    pub(super) fn highest(&self) -> u64 {
        let ordered = self.newest().map_or(0, |newest| newest.build.number);
        self.told.iter().fold(ordered, |highest, told| {
            let jump = told.saturating_sub(highest);
            if jump <= Build::MAX_JUMP {
                highest.max(*told)
            } else {
                highest
            }
        })
    }
}
