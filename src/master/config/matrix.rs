//! A matrix: one builder for each combination of the values of its axes.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::faults::{Place, did_you_mean};
use super::recipe::KEYS;
use super::section::{At, Field, Section};
use super::stanza::{Stanzas, Template, known_only, over};

/// The keys that only a matrix has.
const OWN_KEYS: [&str; 3] = ["axes", "name", "exclude"];

/// Longest value of an axis, in bytes.
const MAX_VALUE: usize = 100;

/// What stands for each axis in one builder.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Axes(BTreeMap<Rc<str>, Rc<str>>);

impl Axes {
    /// Puts the axes' values, written in some way, in the places of `{axis}`. `{release}` is left as it is.
    ///
    /// # Errors
    ///
    /// A sentence, if there is no such axis.
    pub(super) fn fill(&self, text: &str, write: fn(&str) -> String) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = placeholder(rest) {
            filled.push_str(before);
            match self.0.get(name) {
                Some(value) => filled.push_str(&write(value)),
                None if name == "release" => filled.push_str("{release}"),
                None => {
                    let guess = did_you_mean(name, self.0.keys().map(|axis| &**axis));
                    return Err(format!("there is no axis {name} for {{{name}}}{guess}"));
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The first `{name}` in a text, and what is before and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let (name, after) = text.get(at + 1..)?.split_once('}')?;
        is_axis_name(name).then_some((text.get(..at)?, name, after))
    })
}

fn is_axis_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
}

/// A value as a part of a name: `3.15` is `3-15` there.
fn name_part(value: &str) -> String {
    let part = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-') => c,
        _ => '-',
    };
    value.chars().map(part).collect()
}

/// Reads a matrix, and adds its builders.
pub(super) fn read<'f, 't>(
    stanzas: &mut Stanzas<'f, 't>,
    matrix: &str,
    mut section: Section<'f, 't>,
) {
    let template = stanzas.template(&mut section);
    let axes_place = section.place_of("axes");
    let axes = read_axes(&mut section);
    section.need("name");
    let name = section.optional::<String>("name");
    let excluded = read_exclusions(&mut section, &axes);
    let place = section.place.clone();
    let (owner, faults) = (section.owner.clone(), section.faults());
    let known: Vec<&str> = KEYS.into_iter().chain(OWN_KEYS).collect();
    let own = known_only(section, &known);
    let (Some(name), false) = (name, axes.is_empty()) else {
        return;
    };
    let mut fields = match template {
        Template::None => own,
        Template::Of(template) => over(&template, own),
        Template::Missing => return,
    };
    if axes.contains_key("slave") && !fields.contains_key("slave") {
        let text = DeValue::String(DeString::Borrowed("{slave}"));
        let value = Spanned::new(axes_place.clone(), text);
        let place = axes_place;
        fields.insert("slave".to_owned(), Field { place, value });
    }
    let left_out = axes
        .iter()
        .find(|(axis, values)| values.len() > 1 && !name.value.contains(&format!("{{{axis}}}")));
    if let Some((axis, _)) = left_out {
        let message = format!("needs {{{axis}}} in it: else several builders have one name");
        return faults.note(&name.place, &owner, "name", message);
    }
    let number = axes
        .values()
        .try_fold(1_usize, |number, values| number.checked_mul(values.len()))
        .unwrap_or(usize::MAX);
    let most = Stanzas::MOST;
    if number.saturating_add(stanzas.names.len()) > most {
        let message = format!(
            "makes {number} builders, with which the farm has more than {most}; none of it was looked at"
        );
        return faults.note(&place, &owner, "", message);
    }
    let fields = Rc::new(fields);
    let mut used = BTreeSet::new();
    let mut made = 0;
    for axes in combinations(&axes) {
        let exclusion = excluded.iter().position(|exclusion| exclusion.fits(&axes));
        used.extend(
            excluded
                .iter()
                .enumerate()
                .filter(|(_, it)| it.fits(&axes))
                .map(|(n, _)| n),
        );
        if exclusion.is_some() {
            continue;
        }
        made += 1;
        let builder = axes
            .fill(&name.value, name_part)
            .and_then(|filled| match filled.parse() {
                Ok(builder) => Ok(builder),
                Err(error) => Err(format!("{filled:?}: {error}")),
            });
        match builder {
            Ok(builder) => stanzas.add(builder, &place, &fields, axes),
            Err(message) => faults.note(&name.place, &owner, "name", message),
        }
    }
    for (number, exclusion) in excluded.iter().enumerate() {
        if !used.contains(&number) {
            let key = format!("exclude[{number}]");
            faults.note(
                &exclusion.place,
                &owner,
                &key,
                "fits no builder of this matrix",
            );
        }
    }
    if made == 0 {
        faults.note(
            &place,
            &owner,
            "",
            format!("every builder of {matrix} is excluded"),
        );
    }
}

type Values = BTreeMap<Rc<str>, Vec<Rc<str>>>;

fn read_axes(section: &mut Section<'_, '_>) -> Values {
    section.need("axes");
    section.check_full("axes");
    let mut axes = Values::new();
    for (axis, values) in section.lists::<AxisName, String>("axes") {
        let key = format!("axes.{}", axis.value.0);
        let mut found: Vec<Rc<str>> = Vec::new();
        for At { place, value } in values {
            if value.is_empty() || value.len() > MAX_VALUE {
                section.fault(&place, &key, format!("a value has 1 to {MAX_VALUE} bytes"));
            } else if found.iter().any(|other| **other == *value) {
                section.fault(&place, &key, format!("{value:?} is there twice"));
            } else {
                found.push(value.into());
            }
        }
        if found.is_empty() {
            section.fault(&axis.place, &key, "at least one is needed");
        } else {
            axes.insert(axis.value.0, found);
        }
    }
    axes
}

/// What an axis is called.
struct AxisName(Rc<str>);

impl FromStr for AxisName {
    type Err = AxisNameError;

    fn from_str(raw: &str) -> Result<Self, AxisNameError> {
        if is_axis_name(raw) && raw != "release" {
            Ok(Self(raw.into()))
        } else {
            Err(AxisNameError)
        }
    }
}

/// Text that is no axis's name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an axis's name has only a-z, 0-9 and -, begins with a letter, and is not release")]
struct AxisNameError;

/// Combinations that are left out: all that have these values.
struct Exclusion {
    place: Place,
    values: BTreeMap<Rc<str>, Rc<str>>,
}

impl Exclusion {
    fn fits(&self, axes: &Axes) -> bool {
        let mut values = self.values.iter();
        values.all(|(axis, value)| axes.0.get(axis) == Some(value))
    }
}

fn read_exclusions(section: &mut Section<'_, '_>, axes: &Values) -> Vec<Exclusion> {
    let tables = section.maps::<String>("exclude");
    let mut found = Vec::new();
    'tables: for (
        number,
        At {
            place,
            value: pairs,
        },
    ) in tables.into_iter().enumerate()
    {
        let key = format!("exclude[{number}]");
        let mut values = BTreeMap::new();
        for (axis, value) in pairs {
            let Some(known) = axes.get(&*axis.value) else {
                let guess = did_you_mean(&axis.value, axes.keys().map(|axis| &**axis));
                let message = format!("there is no axis {}{guess}", axis.value);
                section.fault(&axis.place, &key, message);
                continue 'tables;
            };
            if !known.iter().any(|known| **known == *value.value) {
                let guess = did_you_mean(&value.value, known.iter().map(|known| &**known));
                let message = format!("{:?} is no value of {}{guess}", value.value, axis.value);
                section.fault(&value.place, &key, message);
                continue 'tables;
            }
            values.insert(axis.value.into(), value.value.into());
        }
        found.push(Exclusion { place, values });
    }
    found
}

/// Every combination, one after the other.
fn combinations(axes: &Values) -> impl Iterator<Item = Axes> {
    let number = axes.values().map(Vec::len).product();
    (0..number).map(move |mut which: usize| {
        let mut chosen = BTreeMap::new();
        // The last axis turns fastest.
        for (axis, values) in axes.iter().rev() {
            if let Some(value) = values.get(which % values.len()) {
                chosen.insert(Rc::clone(axis), Rc::clone(value));
            }
            which /= values.len();
        }
        Axes(chosen)
    })
}
