//! Is trunk safe? What is known, in words.

use std::time::Duration;

use super::{Strip, Tone, Word, is_behind, word};
use crate::model::{Branch, RepositoryName, Timestamp, Verdict};
use crate::status::row::{LastWord, Row};
use crate::status::text::age;

/// So many projects are named; the rest is counted.
const MAX_NAMED: usize = 3;

/// Whether trunk is safe, as far as is known.
pub(super) fn headline(strips: &[Strip], idle: &[Row], tone: Tone, now: Timestamp) -> String {
    let clause = match (strips, idle) {
        ([], []) => {
            "No builder yet: the roster names none, and none was given a command".to_owned()
        }
        ([], _) => NOTHING.to_owned(),
        (strips, _) => main_clause(strips, tone, now),
    };
    format!("{clause}.")
}

const NOTHING: &str = "Nothing is known yet";

/// What the master's silence means.
pub(in crate::status) fn of_silent_master(silent: Duration) -> String {
    let silent = age(silent);
    format!("The master has not spoken for {silent}: newer check-ins may not be known.")
}

/// What weakens the headline.
pub(super) fn remarks(strips: &[Strip], (silent, slaves): (usize, usize)) -> Vec<String> {
    let rows = || strips.iter().flat_map(|strip| &strip.rows);
    let count = |test: &dyn Fn(&Row) -> bool| rows().filter(|row| test(row)).count();
    let all = count(&|row| word(row) != Word::Out);
    let behind = count(&is_behind);
    let nothing = count(&|row| word(row) == Word::Nothing);
    let mut remarks = Vec::new();
    if behind > 0 {
        let have = if behind == 1 { "has" } else { "have" };
        remarks.push(format!(
            "{behind} of {} {have} yet to test the newest check-in.",
            counted(all, "builder")
        ));
    }
    if nothing > 0 && nothing < all {
        let of = counted(all, "builder");
        remarks.push(format!("{nothing} of {of} can say nothing of it now."));
    }
    if silent > 0 {
        let are = if silent == 1 { "is" } else { "are" };
        remarks.push(format!(
            "{silent} of {} {are} silent.",
            counted(slaves, "slave")
        ));
    }
    remarks
}

/// The gravest of all; a strip of which nothing is known takes the green from the others.
pub(super) fn tone(strips: &[Strip]) -> Tone {
    let any = |tone| strips.iter().any(|strip| strip.tone() == tone);
    let passes = any(Tone::Good) || any(Tone::Partly);
    if any(Tone::Bad) {
        Tone::Bad
    } else if any(Tone::Warned) {
        Tone::Warned
    } else if !passes {
        Tone::Unknown
    } else if any(Tone::Partly) || any(Tone::Unknown) {
        Tone::Partly
    } else {
        Tone::Good
    }
}

fn main_clause(strips: &[Strip], tone: Tone, now: Timestamp) -> String {
    let of = |tones: &[Tone]| -> Vec<&Strip> {
        let among = |strip: &&Strip| tones.contains(&strip.tone());
        strips.iter().filter(among).collect()
    };
    let mut failing = of(&[Tone::Bad]);
    failing.sort_by_key(|strip| failing_since(strip).map(|last| last.since));
    let warning = of(&[Tone::Warned]);
    let passing = of(&[Tone::Good, Tone::Partly]);
    let unknown = of(&[Tone::Unknown]);
    if passing.len() == strips.len() {
        return format!("{}{}", all_pass(strips), place(strips));
    }
    if tone == Tone::Unknown {
        return nothing_is_known(strips, now);
    }
    let mut clauses = Vec::new();
    let named = |strip: &Strip| name(strip, strips);
    clauses.extend(listed(&failing, "more projects fail", |strip| {
        let since = failing_since(strip).map_or_else(String::new, |last| lasting(last, now));
        format!(
            "{} has been failing{since}{}",
            named(strip),
            share(strip, Word::Fails)
        )
    }));
    clauses.extend(listed(
        &warning,
        "more projects pass with warnings",
        |strip| {
            format!(
                "{} passes with warnings{}",
                named(strip),
                share(strip, Word::Warns)
            )
        },
    ));
    match passing.as_slice() {
        [] => {}
        [one] => clauses.push(format!("{} passes", named(one))),
        few if few.len() <= MAX_NAMED => {
            let passing: Vec<_> = few.iter().map(|strip| named(strip)).collect();
            clauses.push(format!("{} pass", and(&passing)));
        }
        many => clauses.push(format!("{} others pass", many.len())),
    }
    clauses.extend(listed(&unknown, "more projects are not known", |strip| {
        of_one_unknown(strip, &named(strip), now)
    }));
    clauses.join("; ")
}

fn all_pass(strips: &[Strip]) -> String {
    let mut projects: Vec<_> = strips.iter().map(|strip| &strip.project).collect();
    projects.dedup();
    match projects.as_slice() {
        [one] => format!("{one} passes"),
        [one, other] => format!("{one} and {other} pass"),
        many => format!("All {} projects pass", many.len()),
    }
}

fn nothing_is_known(strips: &[Strip], now: Timestamp) -> String {
    let once: Vec<_> = strips
        .iter()
        .filter(|strip| newest(strip).is_some())
        .collect();
    if once.is_empty() {
        return NOTHING.to_owned();
    }
    let told = listed(&once, "more projects are no better known", |strip| {
        let last = newest(strip).map_or_else(String::new, |last| last_so(last, now));
        format!("{} {last}", name(strip, strips))
    });
    format!("Nothing new is known: {}", told.join(", "))
}

fn of_one_unknown(strip: &Strip, name: &str, now: Timestamp) -> String {
    match newest(strip) {
        _ if strip.builders() == 0 => format!("no builder that counts tests {name}"),
        Some(last) => format!(
            "nothing new is known of {name}, which {}",
            last_so(last, now)
        ),
        None => format!("nothing is known yet of {name}"),
    }
}

/// The first few, and how many more there are.
fn listed<S>(strips: &[S], more: &str, mut clause: impl FnMut(&S) -> String) -> Vec<String> {
    let mut clauses: Vec<_> = strips.iter().take(MAX_NAMED).map(&mut clause).collect();
    match strips.len().saturating_sub(MAX_NAMED) {
        0 => {}
        left => clauses.push(format!("{left} {more}")),
    }
    clauses
}

/// The project, and where it has several strips, the branches.
fn name(strip: &Strip, strips: &[Strip]) -> String {
    let same = strips.iter().filter(|other| other.project == strip.project);
    if same.count() == 1 {
        return strip.project.to_string();
    }
    let branch = |(repository, branch): &(RepositoryName, Branch)| format!("{repository} {branch}");
    let branches: Vec<_> = strip.branches.iter().map(branch).collect();
    format!("{} on {}", strip.project, and(&branches))
}

/// On how many of its builders.
fn share(strip: &Strip, wanted: Word) -> String {
    let some = strip.rows.iter().filter(|row| word(row) == wanted).count();
    match (some, strip.builders()) {
        (_, 1) => " on its only builder".to_owned(),
        (some, all) if some == all => format!(" on all {all} builders"),
        (some, all) => format!(" on {some} of {all} builders"),
    }
}

/// The row of a strip that has been failing for longest.
fn failing_since(strip: &Strip) -> Option<&LastWord> {
    let failing = strip.rows.iter().filter(|row| word(row) == Word::Fails);
    failing
        .filter_map(|row| row.last_word.as_ref())
        .min_by_key(|last| last.since)
}

/// What a strip came to when it was last tested.
fn newest(strip: &Strip) -> Option<&LastWord> {
    let counting = strip.rows.iter().filter(|row| word(row) != Word::Out);
    counting
        .filter_map(|row| row.last_word.as_ref())
        .max_by_key(|last| last.at)
}

fn lasting(last: &LastWord, now: Timestamp) -> String {
    let or_more = if last.or_longer { " or more" } else { "" };
    format!(" for {}{or_more}", age(now.since(last.since)))
}

fn last_so(last: &LastWord, now: Timestamp) -> String {
    let so = if last.verdict == Verdict::Warned {
        "passed with warnings"
    } else {
        last.verdict.word()
    };
    format!("last {so} {} ago", age(now.since(last.at)))
}

/// Where all that is known was tested: the revision if it is one and the same, else the branch.
fn place(strips: &[Strip]) -> String {
    let rows = strips.iter().flat_map(|strip| &strip.rows);
    let known = rows.filter(|row| word(row) == Word::Passes);
    let words: Vec<&LastWord> = known.filter_map(|row| row.last_word.as_ref()).collect();
    let Some(first) = words.first() else {
        return String::new();
    };
    let everywhere = |test: &dyn Fn(&LastWord) -> bool| words.iter().all(|word| test(word));
    let mut places = Vec::new();
    for source in &first.sources {
        let branch = format!("{} {}", source.repository, source.branch);
        if everywhere(&|word| word.sources.contains(source)) {
            places.push(format!("{branch} {}", source.revision.short()));
        } else if everywhere(&|word| {
            let same = (&source.repository, &source.branch);
            let mut others = word.sources.iter();
            others.any(|other| (&other.repository, &other.branch) == same)
        }) {
            places.push(branch);
        }
    }
    if places.is_empty() {
        return String::new();
    }
    format!(" on {}", and(&places))
}

fn and(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
