//! One build.

use askama::Template;

use super::super::Scene;
use super::changes::Changes;
use super::frame::{Badge, Bytes, Frame, When, href};
use super::log::{LogPart, may_grow};
use super::overview::{Cell, cell};
use crate::model::{BuildState, ReportBody, Timestamp, Verdict};
use crate::status::build::{BuildStatus, StepStatus};
use crate::status::log_window::LogView;
use crate::status::recent::{MAX_RECENT, Recent};
use crate::status::text::{
    Failing, age, badge, confined, confined_otherwise, detail, edited, inexact, later, over_limit,
    silence, span, state_badge, step_badge, warnings,
};

#[derive(Template)]
#[template(path = "build.html", config = "src/status/web/askama.toml")]
pub(super) struct BuildPage<'a> {
    frame: Frame<'a>,
    id: String,
    href: String,
    builder: String,
    verdict: Badge,
    detail: String,
    ended: Option<When>,
    took: String,
    live: Option<String>,
    earlier: Option<Other>,
    next: Option<Other>,
    others: Vec<Other>,
    failing: Failing<'a>,
    warnings: Vec<String>,
    facts: Vec<Fact>,
    sources: Vec<(String, String)>,
    changes: Changes,
    steps: Vec<Step>,
    times: Vec<Moment>,
    signed: Vec<Fact>,
    log: LogPart,
}

/// A build of the same builder.
struct Other {
    href: String,
    cell: Cell,
    is_this: bool,
}

struct Fact {
    name: String,
    value: String,
}

fn fact(name: impl Into<String>, value: &impl ToString) -> Fact {
    Fact {
        name: name.into(),
        value: value.to_string(),
    }
}

struct Step {
    number: usize,
    name: String,
    badge: Badge,
    took: String,
    exit: String,
    tests: String,
    spent: String,
    /// How long its log is, if it has one.
    log: Option<String>,
    script: Option<String>,
    /// What else is to be said of the script, and of how it was kept apart.
    remarks: Vec<String>,
    /// The limit for which it was ended.
    limit: Option<String>,
    shown: bool,
}

struct Moment {
    name: &'static str,
    when: When,
    remark: String,
}

impl<'a> BuildPage<'a> {
    pub(super) fn new(scene: &Scene<'a>, build: &'a BuildStatus, log: &LogView) -> Self {
        let (board, now) = (scene.board, scene.now);
        let (id, order) = (build.id(), &build.order);
        let href = href(&id);
        let ending = build.ending.as_ref();
        let verdict = Badge::from(match build.verdict(now) {
            Some(verdict) => badge(verdict),
            None => state_badge(build.state),
        });
        let title = format!("{} {id}", verdict.glyph);
        let place = |build: &BuildStatus| (build.order.number, build.sequence);
        let others: Vec<_> = board.builds_of(&order.builder).collect();
        let earlier = others
            .iter()
            .rev()
            .find(|other| place(other) < place(build));
        let next = others.iter().find(|other| place(other) > place(build));
        let part = LogPart::new(build, log, now);
        Self {
            frame: Frame::new(scene, &title, &format!("{href}.json")),
            live: live(build, log, &href, now),
            id: id.to_string(),
            builder: order.builder.to_string(),
            verdict,
            detail: ending.map_or_else(
                || match build.verdict(now) {
                    Some(_) => silence(build, now),
                    None => String::new(),
                },
                |ending| {
                    detail(&ending.body)
                        .trim_start_matches(':')
                        .trim()
                        .to_owned()
                },
            ),
            ended: ending.map(|ending| When::new(ending.at(), now)),
            took: ending
                .zip(build.started())
                .map_or_else(String::new, |(ending, started)| {
                    span(ending.issued.since(started))
                }),
            earlier: earlier.map(|other| other_build(other, build, now)),
            next: next.map(|other| other_build(other, build, now)),
            others: around(&others, build, now),
            failing: Failing::of(build),
            warnings: warnings(board, build),
            facts: facts(build),
            sources: order
                .sources
                .iter()
                .map(|source| {
                    let place = format!("{} {}", source.repository, source.branch);
                    (place, source.revision.to_string())
                })
                .collect(),
            changes: Changes::new(board, build, now),
            steps: (1..)
                .zip(&build.steps)
                .map(|(number, step)| step_line(number, step, build, &part, now))
                .collect(),
            times: times(build, now),
            signed: signed(build),
            log: part,
            href,
        }
    }
}

/// Where the script listens for what is new; nowhere if nothing more is to come.
fn live(build: &BuildStatus, log: &LogView, href: &str, now: Timestamp) -> Option<String> {
    let over = build.verdict(now).is_some();
    let seen = stage(build, now);
    match log {
        LogView::Window(window) if may_grow(build, window, now) => Some(format!(
            "{href}/live?seen={seen}&step={}&offset={}&line={}",
            u32::from(window.step) + 1,
            window.to,
            window.next_line
        )),
        // An earlier part of the log does not grow, but the build goes on.
        LogView::Window(_) | LogView::Nothing | LogView::Unreadable(_) => {
            (!over).then(|| format!("{href}/live?seen={seen}"))
        }
    }
}

/// How far a build has come, as far as its page shows it, in a word that can stand in an address.
pub(in crate::status::web) fn stage(build: &BuildStatus, now: Timestamp) -> String {
    let state = match build.state {
        BuildState::Ordered => "ordered".to_owned(),
        BuildState::Accepted => "accepted".to_owned(),
        BuildState::Running { step, .. } => format!("running-{step}"),
        BuildState::Done { .. } => "done".to_owned(),
    };
    let ended = build.steps.iter().filter(|step| step.outcome.is_some());
    let verdict = build.verdict(now).map_or("open", Verdict::word);
    format!("{state}-{}-{verdict}", ended.count())
}

/// The builds of the same builder around this one.
fn around(others: &[&BuildStatus], build: &BuildStatus, now: Timestamp) -> Vec<Other> {
    let after = others
        .iter()
        .position(|other| other.command == build.command)
        .map_or(others.len(), |at| others.len().min(at + SHOWN_AFTER));
    let from = after.saturating_sub(MAX_RECENT);
    let around = others[from..after].iter();
    around.map(|other| other_build(other, build, now)).collect()
}

/// So many builds after the one that is shown are offered.
const SHOWN_AFTER: usize = 8;

fn other_build(other: &BuildStatus, shown: &BuildStatus, now: Timestamp) -> Other {
    Other {
        href: href(&other.id()),
        cell: cell(&Recent::of(other, now)),
        is_this: other.command == shown.command,
    }
}

fn facts(build: &BuildStatus) -> Vec<Fact> {
    let order = &build.order;
    let mut facts = vec![
        fact("Project", &order.project),
        fact("Slave", &order.slave),
        fact("Why", &order.reason),
    ];
    facts.extend(order.requester.as_ref().map(|who| fact("Asked by", who)));
    facts.extend(order.retry_of.map(|number| {
        let value = format!("{}/{number}, attempt {}", order.builder, order.attempt);
        fact("Repeats", &value)
    }));
    facts.extend(
        order
            .experiment
            .is_some()
            .then(|| fact("Part of", &"an answer about older code")),
    );
    if let Some(ReportBody::Finished {
        isolation, network, ..
    }) = build.ending.as_ref().map(|ending| &ending.body)
    {
        facts.push(fact("Isolation", &confined(*isolation, *network)));
    }
    facts
}

fn step_line(
    number: usize,
    step: &StepStatus,
    build: &BuildStatus,
    log: &LogPart,
    now: Timestamp,
) -> Step {
    let outcome = step.outcome.as_ref();
    let spent = outcome.map_or_else(Vec::new, |outcome| {
        let cpu = outcome.cpu.map(|cpu| format!("{} CPU", span(cpu)));
        let memory = outcome.peak_memory;
        let memory = memory.map(|bytes| format!("{}{}", Bytes(bytes), inexact(outcome)));
        cpu.into_iter().chain(memory).collect()
    });
    let shown = log
        .step
        .as_ref()
        .is_some_and(|(shown, _)| usize::try_from(*shown).is_ok_and(|shown| shown == number));
    let running = step.started.is_some() && outcome.is_none();
    Step {
        number,
        name: step.name.to_string(),
        badge: step_badge(build, step, now).into(),
        took: match (outcome, step.started) {
            (Some(outcome), _) => span(outcome.duration),
            (None, Some(started)) if matches!(build.state, BuildState::Running { .. }) => {
                format!("{} so far", age(now.since(started)))
            }
            (None, _) => String::new(),
        },
        exit: match outcome.map(|outcome| (outcome.exit, outcome.signal)) {
            Some((Some(exit), _)) => exit.to_string(),
            Some((None, Some(signal))) => format!("signal {signal}"),
            Some((None, None)) | None => String::new(),
        },
        tests: outcome
            .and_then(|outcome| outcome.tests.as_ref())
            .map_or_else(String::new, |tests| {
                format!(
                    "{} passed, {} failed, {} skipped",
                    tests.passed, tests.failed, tests.skipped
                )
            }),
        spent: spent.join(", "),
        log: match outcome {
            Some(outcome) if outcome.log_cut > 0 => Some(format!(
                "{}, {} more cut off",
                Bytes(outcome.log_bytes),
                Bytes(outcome.log_cut)
            )),
            Some(outcome) => Some(Bytes(outcome.log_bytes).to_string()),
            None => running.then(|| "so far".to_owned()),
        },
        script: step.script.map(|script| script.to_string()),
        remarks: confined_otherwise(build, step)
            .into_iter()
            .chain(edited(step))
            .collect(),
        limit: outcome.and_then(over_limit),
        shown,
    }
}

fn times(build: &BuildStatus, now: Timestamp) -> Vec<Moment> {
    let issued = build.order.issued;
    let moment = |name, at, remark| Moment {
        name,
        when: When::new(at, now),
        remark,
    };
    let mut times = vec![moment("Ordered", issued, String::new())];
    if let Some(received) = build.received {
        times.push(moment("Received", received, later(issued, received)));
        if let Some(started) = build.started() {
            times.push(moment("Started", started, later(received, started)));
        }
    }
    match &build.ending {
        Some(ending) => {
            times.push(moment("Ended", ending.issued, String::new()));
            let stored = later(ending.issued, ending.stored);
            times.push(moment("Stored", ending.stored, stored));
        }
        None => times.push(moment(
            "Lost after",
            build.order.deadline(build.state),
            String::new(),
        )),
    }
    times
}

fn signed(build: &BuildStatus) -> Vec<Fact> {
    let mut signed = vec![
        fact("Command", &build.command),
        fact("signed by the master's", &build.signer),
    ];
    let Some(ending) = &build.ending else {
        return signed;
    };
    signed.push(fact("Report", &ending.report));
    signed.push(fact("signed by the slave's", &ending.signer));
    if let ReportBody::Finished { log, .. } = &ending.body {
        signed.push(fact("Logs", log));
    }
    let logs = (1..).zip(&build.steps);
    signed.extend(logs.filter_map(|(number, step)| {
        let outcome = step.outcome.as_ref()?;
        Some(fact(format!("Log of step {number}"), &outcome.log))
    }));
    signed
}
