//! One step of a build in words, and its tests: for the terminal and for the page.

use super::{NOT_RUN, Paint, RUNNING, badge};
use crate::model::{
    Counted, Isolation, Network, Outcome, ReportBody, TestResults, Text, Timestamp,
};
use crate::status::build::{BuildStatus, StepStatus};

/// So many failing tests are shown; whoever wants them all reads the JSON or the log.
const MAX_FAILING: usize = 20;

/// Glyph and word of a step.
pub(in crate::status) fn step_badge(
    build: &BuildStatus,
    step: &StepStatus,
    now: Timestamp,
) -> (&'static str, Paint) {
    let over = build.verdict(now).is_some();
    match (&step.outcome, step.started, over) {
        (Some(outcome), _, _) => badge(outcome.verdict),
        (None, Some(_), false) => RUNNING,
        (None, Some(_), true) => ("? unknown", Paint::Machine),
        (None, None, true) => NOT_RUN,
        (None, None, false) => ("… waiting", Paint::Faint),
    }
}

/// The limit for which a step was ended, if it was.
pub(in crate::status) fn over_limit(outcome: &Outcome) -> Option<String> {
    let limit = outcome.limit?.word().replace('-', " ");
    Some(format!("ended for going over its limit of {limit}"))
}

/// How exactly the memory of a step was counted, where that is not exact.
pub(in crate::status) fn inexact(outcome: &Outcome) -> &'static str {
    match outcome.counted {
        Some(Counted::Sampled) => " (sampled)",
        Some(Counted::Waited) => " (of its largest process)",
        Some(Counted::Cgroup) | None => "",
    }
}

/// How scripts were kept apart, and what they could reach.
pub(in crate::status) fn confined(isolation: Isolation, network: Network) -> String {
    format!("{}, network {}", isolation.word(), network.word())
}

/// The same of one step, where what is said of the build as a whole does not say it.
pub(in crate::status) fn confined_otherwise(
    build: &BuildStatus,
    step: &StepStatus,
) -> Option<String> {
    let of_step = step.confined?;
    let of_build = match build.ending.as_ref().map(|ending| &ending.body) {
        Some(ReportBody::Finished {
            isolation, network, ..
        }) => Some((*isolation, *network)),
        Some(_) | None => None,
    };
    (of_build != Some(of_step)).then(|| format!("isolation {}", confined(of_step.0, of_step.1)))
}

/// That a script is not the one that its owner mapped, if it is not.
pub(in crate::status) fn edited(step: &StepStatus) -> Option<String> {
    let (then, now) = (step.mapped?, step.script?);
    (then != now)
        .then(|| format!("the script was edited since its owner mapped it: {then} then, {now} now"))
}

/// The tests of a build that failed, as many as are shown, and how many more there are.
#[derive(Debug, Default)]
pub(in crate::status) struct Failing<'a> {
    /// Their names, and what their runner says of them.
    pub(in crate::status) tests: Vec<(&'a Text, Option<&'a Text>)>,
    /// How many are not among them.
    pub(in crate::status) more: u64,
}

impl<'a> Failing<'a> {
    pub(in crate::status) fn of(build: &'a BuildStatus) -> Self {
        let mut failing = Self::default();
        for results in results(build) {
            for test in &results.failing {
                if failing.tests.len() < MAX_FAILING {
                    failing.tests.push((&test.name, test.message.as_ref()));
                } else {
                    failing.more += 1;
                }
            }
            failing.more += u64::from(results.unlisted);
        }
        failing
    }
}

/// What is wrong with the result files of a build.
pub(super) fn result_warnings(build: &BuildStatus) -> impl Iterator<Item = String> {
    let warnings = results(build).flat_map(|results| &results.warnings);
    warnings.map(|warning| format!("test results: {warning}"))
}

fn results(build: &BuildStatus) -> impl Iterator<Item = &TestResults> {
    let outcomes = build.steps.iter().filter_map(|step| step.outcome.as_ref());
    outcomes.filter_map(|outcome| outcome.tests.as_ref())
}
