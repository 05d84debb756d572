//! Reading one builder, whatever it came of.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::builder::{Builder, Collapse, Retry, Unchanged};
use super::faults::{Place, did_you_mean};
use super::section::{At, MINUTE, Section};
use super::{PathFilter, Repository, Schedule};
use crate::model::{
    Branch, BuilderName, CommandId, Digest, LockName, ParameterName, ProjectName, RepositoryName,
    SlaveName, Step, Text,
};

/// Every key that a builder, a template and a matrix may have.
pub(super) const KEYS: [&str; 21] = [
    "slave",
    "project",
    "sources",
    "paths",
    "release",
    "steps",
    "accept-minutes",
    "start-minutes",
    "quiet-seconds",
    "collapse",
    "priority",
    "locks",
    "after",
    "schedule",
    "time-zone",
    "unchanged",
    "retries",
    "retry-seconds",
    "set-aside-after",
    "set-aside-minutes",
    "template",
];

/// What stands for the version of the followed release.
pub(super) const RELEASE: &str = "{release}";

const WEEK_MINUTES: u64 = 7 * 24 * 60;
const DAY_SECONDS: u64 = 24 * 3600;

/// What a builder may name.
pub(super) struct Known<'a> {
    /// Repositories; none of the one that is wrong itself.
    pub(super) repositories: &'a BTreeMap<RepositoryName, Option<Repository>>,
    pub(super) releases: &'a BTreeSet<ProjectName>,
    pub(super) locks: &'a BTreeSet<LockName>,
    /// Filters made so far: builders of one matrix share theirs.
    pub(super) filters: RefCell<BTreeMap<Vec<Text>, PathFilter>>,
}

/// A builder, and where it names others.
pub(super) struct Recipe {
    pub(super) builder: Builder,
    pub(super) after: Vec<At<BuilderName>>,
    pub(super) place: Place,
}

/// Reads a builder. What is wrong is noted; without what must be there is none.
pub(super) fn read(mut section: Section<'_, '_>, known: &Known<'_>) -> Option<Recipe> {
    let slave = section.required::<SlaveName>("slave");
    let project = section.required::<ProjectName>("project");
    if !section.has("sources") && !section.has("release") {
        let message = "nothing is built: `sources` or `release` is needed, or both";
        section.fault(&section.place, "", message);
    }
    let release = read_release(&mut section, known);
    let sources = read_sources(&mut section, known);
    let sources = sources.unwrap_or_default();
    let paths = read_paths(&mut section, &sources, known);
    let steps = read_steps(&mut section, release.is_some());
    let accept_window = section.time("accept-minutes", 60, 1..=WEEK_MINUTES, MINUTE);
    let start_window = section.time("start-minutes", 60, 1..=WEEK_MINUTES, MINUTE);
    let quiet = section.time("quiet-seconds", 0, 0..=DAY_SECONDS, 1);
    let collapse = if section.or("collapse", true) {
        Collapse::Newest
    } else {
        Collapse::Every
    };
    let priority = section.number("priority", 50, 0..=100);
    let locks = read_locks(&mut section, known);
    let after = section.list::<BuilderName>("after").unwrap_or_default();
    let (schedule, unchanged) = read_schedule(&mut section);
    let retry = Retry {
        most: section.count("retries", 2, 0..=100),
        wait: section.time("retry-seconds", 60, 1..=3600, 1),
        set_aside_after: section.count("set-aside-after", 5, 1..=1000),
        set_aside_for: section.time("set-aside-minutes", 60, 1..=DAY_SECONDS / MINUTE, MINUTE),
    };
    let place = section.place.clone();
    section.finish();
    let builder = Builder {
        sources,
        accept_window,
        paths,
        release,
        start_window,
        quiet,
        collapse,
        priority: u8::try_from(priority).unwrap_or(50),
        locks,
        after: after.iter().map(|after| after.value.clone()).collect(),
        schedule,
        unchanged,
        retry,
        ..Builder::new(slave?, project?, steps?)
    };
    Some(Recipe {
        builder,
        after,
        place,
    })
}

fn read_release(section: &mut Section<'_, '_>, known: &Known<'_>) -> Option<ProjectName> {
    let At { place, value } = section.optional::<ProjectName>("release")?;
    if !known.releases.contains(&value) {
        let guess = did_you_mean(
            value.as_str(),
            known.releases.iter().map(ProjectName::as_str),
        );
        let message = format!("there is no [releases.{value}]{guess}");
        section.fault(&place, "release", message);
    }
    Some(value)
}

fn read_sources(
    section: &mut Section<'_, '_>,
    known: &Known<'_>,
) -> Option<BTreeMap<RepositoryName, Branch>> {
    section.check_full("sources");
    let sources = section.map::<RepositoryName, Branch>("sources")?;
    for (repository, branch) in &sources {
        let key = format!("sources.{}", repository.value);
        let (name, wanted) = (&repository.value, &branch.value);
        match known.repositories.get(name) {
            None => {
                let names = known.repositories.keys().map(RepositoryName::as_str);
                let guess = did_you_mean(name.as_str(), names);
                let message = format!("there is no [repositories.{name}]{guess}");
                section.fault(&repository.place, &key, message);
            }
            Some(Some(watched)) if !watched.branches.contains(wanted) => {
                let branches = watched.branches.iter().map(Branch::as_str);
                let guess = did_you_mean(wanted.as_str(), branches);
                let message =
                    format!("there is no branch {wanted} in [repositories.{name}]{guess}");
                section.fault(&branch.place, &key, message);
            }
            Some(Some(_) | None) => {}
        }
    }
    let sources = sources.into_iter();
    Some(
        sources
            .map(|(name, branch)| (name.value, branch.value))
            .collect(),
    )
}

fn read_paths(
    section: &mut Section<'_, '_>,
    sources: &BTreeMap<RepositoryName, Branch>,
    known: &Known<'_>,
) -> BTreeMap<RepositoryName, PathFilter> {
    let mut paths = BTreeMap::new();
    for (name, patterns) in section.lists::<RepositoryName, Text>("paths") {
        let key = format!("paths.{}", name.value);
        if !sources.contains_key(&name.value) {
            let guess = did_you_mean(
                name.value.as_str(),
                sources.keys().map(RepositoryName::as_str),
            );
            let message = format!("{} is not among the builder's sources{guess}", name.value);
            section.fault(&name.place, &key, message);
        }
        let texts: Vec<Text> = patterns.iter().map(|found| found.value.clone()).collect();
        if texts.is_empty() {
            section.fault(&name.place, &key, "at least one is needed");
        }
        let mut filters = known.filters.borrow_mut();
        if let Some(filter) = filters.get(&texts) {
            paths.insert(name.value, filter.clone());
            continue;
        }
        match PathFilter::new(texts.clone()) {
            Ok(filter) => {
                filters.insert(texts, filter.clone());
                paths.insert(name.value, filter);
            }
            Err((number, error)) => {
                let place = patterns
                    .get(number)
                    .map_or(&name.place, |found| &found.place);
                section.fault(place, &key, error);
            }
        }
    }
    paths
}

fn read_locks(section: &mut Section<'_, '_>, known: &Known<'_>) -> BTreeSet<LockName> {
    let locks = section.list::<LockName>("locks").unwrap_or_default();
    for At { place, value } in &locks {
        if !known.locks.contains(value) {
            let guess = did_you_mean(value.as_str(), known.locks.iter().map(LockName::as_str));
            section.fault(
                place,
                "locks",
                format!("there is no [locks.{value}]{guess}"),
            );
        }
    }
    locks.into_iter().map(|lock| lock.value).collect()
}

fn read_schedule(section: &mut Section<'_, '_>) -> (Option<Schedule>, Unchanged) {
    let expression = section.optional::<String>("schedule");
    let zone = section.optional::<String>("time-zone");
    let unchanged = section.optional::<Unchanged>("unchanged");
    if expression.is_none() {
        let without = [
            ("time-zone", zone.as_ref().map(|zone| &zone.place)),
            ("unchanged", unchanged.as_ref().map(|rule| &rule.place)),
        ];
        for (key, place) in without {
            if let Some(place) = place {
                section.fault(place, key, "means something only with a `schedule`");
            }
        }
    }
    let schedule = expression.and_then(|expression| {
        let zone_name = zone.as_ref().map_or("UTC", |zone| &zone.value);
        match Schedule::new(&expression.value, zone_name) {
            Ok(schedule) => Some(schedule),
            Err(error @ super::ScheduleError::Zone(_)) => {
                let place = zone.as_ref().map_or(&expression.place, |zone| &zone.place);
                section.fault(place, "time-zone", error);
                None
            }
            Err(error) => {
                section.fault(&expression.place, "schedule", error);
                None
            }
        }
    });
    let unchanged = unchanged.map_or(Unchanged::Skip, |rule| rule.value);
    (schedule, unchanged)
}

fn read_steps(section: &mut Section<'_, '_>, follows_release: bool) -> Option<Vec<Step>> {
    let steps = section.full_tables("steps")?;
    let steps: Vec<Option<Step>> = steps
        .into_iter()
        .map(|mut section| {
            let command = section.required::<CommandId>("command");
            let parameters = section.map::<ParameterName, Text>("parameters");
            let parameters = parameters.unwrap_or_default();
            for (name, value) in &parameters {
                if !follows_release && value.value.as_str().contains(RELEASE) {
                    let key = format!("parameters.{}", name.value);
                    let message = format!("{RELEASE} needs a `release` that the builder follows");
                    section.fault(&value.place, &key, message);
                }
            }
            let parameters = parameters.into_iter();
            let step = Step {
                parameters: parameters
                    .map(|(name, value)| (name.value, value.value))
                    .collect(),
                timeout: section.time("timeout-minutes", 60, 1..=WEEK_MINUTES, MINUTE),
                halt_on_failure: section.or("halt-on-failure", true),
                warn_only: section.or("warn-only", false),
                always_run: section.or("always-run", false),
                script: section
                    .optional::<Digest>("script")
                    .map(|script| script.value),
                command: command?,
            };
            section.finish();
            Some(step)
        })
        .collect();
    steps.into_iter().collect()
}
