//! The overview.

use askama::Template;

use super::super::Scene;
use super::frame::{Badge, Frame, When, class, href};
use crate::model::{BuildId, BuildState, BuilderName, Timestamp, Verdict};
use crate::status::live::BusState;
use crate::status::overview::{Overview, Strip, Tone};
use crate::status::recent::Recent;
use crate::status::row::{LastWord, Row, Running, Shown};
use crate::status::text::{Paint, badge, shown_badge, slave_mark, state_badge};

#[derive(Template)]
#[template(path = "overview.html", config = "src/status/web/askama.toml")]
pub(super) struct OverviewPage<'a> {
    frame: Frame<'a>,
    version: u64,
    summary: Badge,
    remarks: Vec<String>,
    counts: Vec<String>,
    groups: Vec<Group>,
    idle: Vec<IdleLine>,
    silent: Vec<SilentLine>,
    slaves: usize,
    notes: Vec<String>,
    more_notes: usize,
}

/// So many oddities are named; the rest is counted.
const MAX_NOTES: usize = 10;

/// A project on its branches.
struct Group {
    name: String,
    branches: String,
    tone: Badge,
    lines: Vec<Line>,
}

/// A builder.
struct Line {
    builder: String,
    slave: String,
    mark: Option<Mark>,
    verdict: Badge,
    build: Option<String>,
    disputed: bool,
    revisions: String,
    behind: usize,
    /// When the run of equal verdicts began, and the build that began it.
    since: Option<(When, String)>,
    or_more: bool,
    tested: Option<When>,
    recent: Strips,
    doing: Option<Doing>,
    trouble: Option<Trouble>,
}

struct Mark {
    class: &'static str,
    text: String,
}

/// The newest builds as cells.
struct Strips {
    label: String,
    cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub(super) class: &'static str,
    pub(super) glyph: String,
    pub(super) word: String,
    pub(super) number: u64,
}

/// What a builder does.
struct Doing {
    href: String,
    number: u64,
    what: String,
    since: When,
    waiting: usize,
}

/// What went wrong with the machine or the farm since the last word.
struct Trouble {
    href: String,
    number: u64,
    badge: Badge,
    code: String,
}

struct IdleLine {
    builder: String,
    slave: String,
    mark: String,
}

struct SilentLine {
    slave: String,
    seen: Option<When>,
    until: Option<When>,
    builders: usize,
}

impl<'a> OverviewPage<'a> {
    pub(super) fn new(scene: &Scene<'a>) -> Self {
        let now = scene.now;
        let overview = Overview::of(scene.board, now);
        let counts = counts(&overview);
        let mut strips: Vec<&Strip> = overview.strips.iter().collect();
        strips.sort_by_key(|strip| urgency(strip.tone()));
        // While the bus is away nobody can say that nothing changed.
        let tone = match (scene.bus, overview.tone) {
            (BusState::Following, tone) => tone,
            (BusState::CatchingUp | BusState::Away { .. }, Tone::Good) => Tone::Partly,
            (BusState::CatchingUp | BusState::Away { .. }, tone) => tone,
        };
        let badge = tone_badge(tone);
        let title = format!("{} Overview", badge.glyph);
        Self {
            frame: Frame::new(scene, &title, "/index.json"),
            version: scene.version,
            summary: Badge {
                word: overview.headline.clone(),
                ..badge
            },
            remarks: overview.remarks,
            counts,
            groups: strips.iter().map(|strip| group(strip, now)).collect(),
            idle: overview.idle.iter().map(|row| idle(row, now)).collect(),
            slaves: overview.slaves,
            silent: overview
                .silent
                .into_iter()
                .map(|silence| SilentLine {
                    slave: silence.slave.to_string(),
                    seen: silence.last_seen.map(|seen| When::new(seen, now)),
                    until: silence.paused_until.map(|until| When::new(until, now)),
                    builders: silence.builders,
                })
                .collect(),
            more_notes: overview.notes.len().saturating_sub(MAX_NOTES),
            notes: overview.notes.into_iter().take(MAX_NOTES).collect(),
        }
    }
}

fn tone_badge(tone: Tone) -> Badge {
    match tone {
        Tone::Good => Badge::new("✓ passes", Paint::Good),
        Tone::Partly => Badge::new("◐ passes in part", Paint::Plain),
        Tone::Warned => Badge::new("~ warns", Paint::Warning),
        Tone::Bad => Badge::new("✗ FAILS", Paint::Bad),
        Tone::Unknown => Badge::new("? not known", Paint::Faint),
    }
}

/// What fails stands first; the rest stays where it is.
fn urgency(tone: Tone) -> u8 {
    match tone {
        Tone::Bad => 0,
        Tone::Warned => 1,
        Tone::Unknown | Tone::Partly | Tone::Good => 2,
    }
}

fn counts(overview: &Overview) -> Vec<String> {
    let mut counts = Vec::new();
    // That some are silent stands in the remarks.
    match overview.slaves {
        0 => counts.push("no slave yet".to_owned()),
        1 if overview.silent.is_empty() => counts.push("the only slave is there".to_owned()),
        slaves if overview.silent.is_empty() => {
            counts.push(format!("all {slaves} slaves are there"));
        }
        _ => {}
    }
    counts.push(match overview.running {
        0 => "nothing runs".to_owned(),
        1 => "1 build runs".to_owned(),
        running => format!("{running} builds run"),
    });
    match overview.waiting {
        0 => {}
        1 => counts.push("1 more waits".to_owned()),
        waiting => counts.push(format!("{waiting} more wait")),
    }
    counts
}

fn group(strip: &Strip, now: Timestamp) -> Group {
    let branches = strip.branches.iter();
    let branches: Vec<_> = branches
        .map(|(repository, branch)| format!("{repository} {branch}"))
        .collect();
    let mut rows: Vec<&Row> = strip.rows.iter().collect();
    let bad = Shown::Verdict(Verdict::Failed);
    let warned = Shown::Verdict(Verdict::Warned);
    rows.sort_by_key(|row| (row.shown() != bad, row.shown() != warned));
    Group {
        name: strip.project.to_string(),
        branches: branches.join(", "),
        tone: tone_badge(strip.tone()),
        lines: rows.into_iter().map(|row| line(row, now)).collect(),
    }
}

fn line(row: &Row, now: Timestamp) -> Line {
    let (verdict, paint) = shown_badge(row.shown());
    let last = row.last_word.as_ref();
    let href = |number| {
        href(&BuildId {
            builder: row.builder.clone(),
            number,
        })
    };
    Line {
        builder: row.builder.to_string(),
        slave: row
            .slave
            .as_ref()
            .map_or_else(|| "no slave".to_owned(), ToString::to_string),
        mark: slave_mark(row, now).map(|(text, paint)| Mark {
            class: class(paint),
            text,
        }),
        verdict: Badge::new(&verdict, paint),
        build: last.map(|last| href(last.number)),
        disputed: last.is_some_and(|last| last.disputed),
        revisions: last.map_or_else(String::new, revisions),
        behind: row.behind.unwrap_or(0),
        since: last.map(|last| (When::new(last.since, now), href(last.since_number))),
        or_more: last.is_some_and(|last| last.or_longer),
        tested: last.map(|last| When::new(last.at, now)),
        recent: strips(&row.recent),
        doing: row
            .running
            .as_ref()
            .map(|running| doing(&row.builder, running, row.waiting, now)),
        trouble: row.newest.as_ref().map(|newest| Trouble {
            href: href(newest.number),
            number: newest.number,
            badge: badge(newest.verdict).into(),
            code: newest
                .code
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        }),
    }
}

fn revisions(last: &LastWord) -> String {
    let short = last.sources.iter().map(|source| source.revision.short());
    short.collect::<Vec<_>>().join(" ")
}

fn doing(builder: &BuilderName, running: &Running, waiting: usize, now: Timestamp) -> Doing {
    let what = match running.state {
        BuildState::Running { step, .. } => {
            let name = running.step_name.as_ref();
            let name = name.map_or_else(String::new, |name| format!(" {name}"));
            format!("step {}/{}{name}", u32::from(step) + 1, running.steps)
        }
        state @ (BuildState::Ordered | BuildState::Accepted | BuildState::Done { .. }) => {
            Badge::from(state_badge(state)).word
        }
    };
    Doing {
        href: href(&BuildId {
            builder: builder.clone(),
            number: running.number,
        }),
        number: running.number,
        what,
        since: When::new(running.since, now),
        waiting,
    }
}

/// Builds as cells, and what they are in words.
fn strips(recent: &[Recent]) -> Strips {
    let cells: Vec<Cell> = recent.iter().map(cell).collect();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for cell in &cells {
        match counts.iter_mut().find(|(word, _)| *word == cell.word) {
            Some((_, count)) => *count += 1,
            None => counts.push((&cell.word, 1)),
        }
    }
    let counts: Vec<_> = counts
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let label = match (recent.first(), recent.last()) {
        (Some(first), Some(last)) => {
            let (first, last) = (first.number, last.number);
            format!("builds {first} to {last}: {}", counts.join(", "))
        }
        _ => "no builds".to_owned(),
    };
    Strips { label, cells }
}

pub(super) fn cell(recent: &Recent) -> Cell {
    let badge = Badge::from(match recent.verdict {
        Some(verdict) => badge(verdict),
        None => state_badge(recent.state),
    });
    Cell {
        class: badge.class,
        glyph: badge.glyph,
        word: badge.word,
        number: recent.number,
    }
}

fn idle(row: &Row, now: Timestamp) -> IdleLine {
    IdleLine {
        builder: row.builder.to_string(),
        slave: row
            .slave
            .as_ref()
            .map_or_else(|| "no slave".to_owned(), ToString::to_string),
        mark: slave_mark(row, now).map_or_else(String::new, |(mark, _)| mark),
    }
}
