//! All that is wrong in a `master.toml`, with its places.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use crate::model::{BuilderName, FileFault};

/// Where something stands in the text, in bytes.
pub(super) type Place = Range<usize>;

/// Why a `master.toml` cannot be acted on: every mistake in it, in the order of their places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MasterConfigError {
    faults: Vec<FileFault>,
}

impl MasterConfigError {
    /// How many mistakes are told where all are told in one text.
    const MOST: usize = 100;

    /// The mistakes.
    #[must_use]
    pub fn faults(&self) -> &[FileFault] {
        &self.faults
    }
}

impl fmt::Display for MasterConfigError {
    /// One is told in one line; several in a line each, after one that counts them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = &self.faults[..] {
            return fault.fmt(f);
        }
        write!(f, "{} mistakes", self.faults.len())?;
        for fault in self.faults.iter().take(Self::MOST) {
            write!(f, "\n  {fault}")?;
        }
        match self.faults.len().checked_sub(Self::MOST) {
            Some(more @ 1..) => write!(f, "\n  and {more} more"),
            Some(0) | None => Ok(()),
        }
    }
}

impl std::error::Error for MasterConfigError {}

impl MasterConfigError {
    /// What is no TOML is not looked at any further: the rest may mean something else.
    pub(super) fn no_toml(text: &str, errors: &[toml::de::Error]) -> Self {
        const TWICE: &str = "duplicate key";
        let mut errors: Vec<(Place, &toml::de::Error)> = (errors.iter())
            .map(|error| (error.span().unwrap_or(0..0), error))
            .collect();
        errors.sort_by_key(|(place, _)| place.start);
        // A table that is there twice has its keys twice, too.
        errors.dedup_by(|(place, error), (before, other)| {
            let between = text.get(before.end..place.start).unwrap_or_default();
            place == before
                || [error.message(), other.message()] == [TWICE; 2] && !between.contains("\n[")
        });
        let told = errors
            .into_iter()
            .map(|(place, error)| match text.get(place.clone()) {
                Some(key) if error.message() == TWICE => {
                    FileFault::at(text, place.start, format!("{TWICE} `{key}`"))
                }
                Some(_) | None => FileFault::toml(text, error),
            });
        Self {
            faults: told.collect(),
        }
    }
}

/// Whose key is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Owner {
    /// The builder, if it is one's: several may come of one stanza.
    pub(super) builder: Option<BuilderName>,
    /// The table, such as `periods`, or `steps[0]` of a builder; empty for the top of either.
    pub(super) table: String,
}

impl Owner {
    pub(super) fn table(table: impl Into<String>) -> Self {
        Self {
            builder: None,
            table: table.into(),
        }
    }

    /// The owner of a table in this one.
    pub(super) fn within(&self, key: &str) -> Self {
        Self {
            builder: self.builder.clone(),
            table: dotted(&self.table, key),
        }
    }
}

fn dotted(table: &str, key: &str) -> String {
    match (table, key) {
        ("", key) => key.to_owned(),
        (table, "") => table.to_owned(),
        (table, key) => format!("{table}.{key}"),
    }
}

#[derive(Debug)]
struct Fault {
    start: usize,
    owner: Owner,
    key: String,
    message: String,
}

/// Mistakes as they are found.
#[derive(Debug)]
pub(super) struct Faults<'t> {
    text: &'t str,
    found: RefCell<Vec<Fault>>,
    /// Values in which something is wrong already: what else there is may only follow from that.
    wrong: RefCell<BTreeSet<(usize, Option<BuilderName>)>>,
}

impl<'t> Faults<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::default(),
            wrong: RefCell::default(),
        }
    }

    /// The line of a place, for a mistake that has two.
    pub(super) fn line(&self, place: &Place) -> usize {
        let before = self.text.get(..place.start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    /// Notes one. Its message begins with the key that is wrong; without one it is of the table. Of a value only the first
    /// counts.
    pub(super) fn note(&self, place: &Place, owner: &Owner, key: &str, message: impl fmt::Display) {
        let value = (place.start, owner.builder.clone());
        if !key.is_empty() && !self.wrong.borrow_mut().insert(value) {
            return;
        }
        self.found.borrow_mut().push(Fault {
            start: place.start,
            owner: owner.clone(),
            key: key.to_owned(),
            message: message.to_string(),
        });
    }

    /// How many there are so far.
    pub(super) fn number(&self) -> usize {
        self.found.borrow().len()
    }

    /// Whether there are none so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All of them. What is wrong in one place for many builders is one mistake.
    pub(super) fn into_error(self) -> MasterConfigError {
        type Same = (usize, String, String);
        let mut together: BTreeMap<Same, Vec<Option<BuilderName>>> = BTreeMap::new();
        for fault in self.found.into_inner() {
            let key = dotted(&fault.owner.table, &fault.key);
            let builders = together
                .entry((fault.start, key, fault.message))
                .or_default();
            if !builders.contains(&fault.owner.builder) {
                builders.push(fault.owner.builder);
            }
        }
        let faults = together
            .into_iter()
            .map(|((start, key, message), builders)| {
                let builders: Vec<BuilderName> = builders.into_iter().flatten().collect();
                FileFault::at(self.text, start, sentence(&key, &message, &builders))
            })
            .collect();
        MasterConfigError { faults }
    }
}

fn sentence(key: &str, message: &str, builders: &[BuilderName]) -> String {
    let key = match builders.first() {
        Some(builder) => dotted(&format!("builders.{builder}"), key),
        None => key.to_owned(),
    };
    let others = match builders.get(1..).unwrap_or_default() {
        [] => String::new(),
        [one] => format!(" (so it is for {one})"),
        [one, more @ ..] => format!(" (so it is for {one} and {} more)", more.len()),
    };
    if key.is_empty() {
        format!("{message}{others}")
    } else {
        format!("{key}: {message}{others}")
    }
}

/// `; did you mean …?`, if one of the known words is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const NEAR: f64 = 0.8;
    let near = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(word, known), known))
        .filter(|(likeness, _)| *likeness > NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    near.map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"))
}
