//! Reading a table key by key, so that one mistake does not hide the next.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::faults::{Faults, Owner, Place, did_you_mean};

/// The seconds of a minute, as the unit of a key.
pub(super) const MINUTE: u64 = 60;

/// A key's own place and its value.
#[derive(Clone, Debug)]
pub(super) struct Field<'t> {
    pub(super) place: Place,
    pub(super) value: Spanned<DeValue<'t>>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// Values and their names.
pub(super) type Pairs<T> = Vec<(At<String>, At<T>)>;

/// A table that is being read. What nobody asked for until [`Section::finish`] is a mistake.
#[derive(Debug)]
pub(super) struct Section<'f, 't> {
    pub(super) place: Place,
    pub(super) owner: Owner,
    fields: BTreeMap<String, Field<'t>>,
    known: Vec<&'static str>,
    faults: &'f Faults<'t>,
}

/// The keys of a table, by their names.
pub(super) fn fields<'t>(table: DeTable<'t>) -> BTreeMap<String, Field<'t>> {
    let field = |(key, value): (Spanned<_>, Spanned<DeValue<'t>>)| {
        let place = key.span();
        (String::from(key.into_inner()), Field { place, value })
    };
    table.into_iter().map(field).collect()
}

impl<'f, 't> Section<'f, 't> {
    pub(super) fn new(
        place: Place,
        owner: Owner,
        fields: BTreeMap<String, Field<'t>>,
        faults: &'f Faults<'t>,
    ) -> Self {
        Self {
            place,
            owner,
            fields,
            known: Vec::new(),
            faults,
        }
    }

    /// Notes a mistake of this table.
    pub(super) fn fault(&self, place: &Place, key: &str, message: impl std::fmt::Display) {
        self.faults.note(place, &self.owner, key, message);
    }

    /// Where a key's value stands, or else the table.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let field = self.fields.get(key);
        field.map_or(self.place.clone(), |field| field.value.span())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    pub(super) fn faults(&self) -> &'f Faults<'t> {
        self.faults
    }

    /// Every key that there is, to be read one by one.
    pub(super) fn into_fields(self) -> BTreeMap<String, Field<'t>> {
        self.fields
    }

    fn take(&mut self, key: &'static str) -> Option<Field<'t>> {
        self.known.push(key);
        self.fields.remove(key)
    }

    /// Notes that a key must be there, if it is not.
    pub(super) fn need(&self, key: &str) {
        if !self.has(key) {
            self.fault(&self.place, "", format!("missing field `{key}`"));
        }
    }

    fn read<T: DeserializeOwned>(&self, key: &str, value: Spanned<DeValue<'t>>) -> Option<At<T>> {
        let place = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(At { place, value }),
            Err(error) => {
                let message = error.message().trim().replace('\n', ", ");
                self.fault(&error.span().unwrap_or(place), key, message);
                None
            }
        }
    }

    /// A key that may be there.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<At<T>> {
        let field = self.take(key)?;
        self.read(key, field.value)
    }

    /// A key that must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.need(key);
        self.optional(key).map(|found| found.value)
    }

    pub(super) fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).map_or(default, |found| found.value)
    }

    /// A number in a range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        let Some(found) = self.optional::<i64>(key) else {
            return default;
        };
        match u64::try_from(found.value) {
            Ok(value) if range.contains(&value) => value,
            Ok(_) | Err(_) => {
                let (min, max) = range.into_inner();
                let message = format!("must lie between {min} and {max}");
                self.fault(&found.place, key, message);
                default
            }
        }
    }

    /// A number of counted things.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> u32 {
        let (min, max) = range.into_inner();
        let count = self.number(key, default.into(), min.into()..=max.into());
        u32::try_from(count).unwrap_or(default)
    }

    /// A number of units of time.
    pub(super) fn time(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        unit_seconds: u64,
    ) -> Duration {
        Duration::from_secs(self.number(key, default, range) * unit_seconds)
    }

    /// A list; each of its values is read, whatever is wrong with the others.
    pub(super) fn list<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<Vec<At<T>>> {
        let field = self.take(key)?;
        self.read_list(key, field)
    }

    /// The list that a key of any name has.
    pub(super) fn read_list<T: DeserializeOwned>(
        &self,
        key: &str,
        field: Field<'t>,
    ) -> Option<Vec<At<T>>> {
        let values = self.values(key, field)?.into_iter().enumerate();
        let read = |(number, value)| self.read(&format!("{key}[{number}]"), value);
        Some(values.filter_map(read).collect())
    }

    /// A list that must hold something.
    pub(super) fn full_list<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Option<Vec<At<T>>> {
        self.need(key);
        self.check_full(key);
        self.list(key)
    }

    /// Notes that a key's list or table is empty, if it is.
    pub(super) fn check_full(&self, key: &str) {
        let value = self.fields.get(key).map(|field| field.value.get_ref());
        let is_empty = match value {
            Some(DeValue::Array(values)) => values.is_empty(),
            Some(DeValue::Table(table)) => table.is_empty(),
            Some(_) | None => false,
        };
        if is_empty {
            self.fault(&self.place_of(key), key, "at least one is needed");
        }
    }

    fn values(&self, key: &str, field: Field<'t>) -> Option<Vec<Spanned<DeValue<'t>>>> {
        let place = field.value.span();
        let value = field.value.into_inner();
        if let DeValue::Array(values) = value {
            return Some(values.into_iter().collect());
        }
        self.wrong_type(&place, key, &value, "a list");
        None
    }

    fn wrong_type(&self, place: &Place, key: &str, found: &DeValue<'_>, wanted: &str) {
        let message = format!("invalid type: {}, expected {wanted}", found.type_str());
        self.fault(place, key, message);
    }

    fn inner(&self, key: &str, place: Place, value: Spanned<DeValue<'t>>) -> Option<Self> {
        let span = value.span();
        let value = value.into_inner();
        if let DeValue::Table(table) = value {
            let owner = self.owner.within(key);
            return Some(Self::new(place, owner, fields(table), self.faults));
        }
        self.wrong_type(&span, key, &value, "a table");
        None
    }

    /// A table that may be there.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let Field { place, value } = self.take(key)?;
        self.inner(key, place, value)
    }

    /// The same, without any key if it is not there.
    pub(super) fn table_or_empty(&mut self, key: &'static str) -> Self {
        let (place, owner) = (self.place.clone(), self.owner.within(key));
        let empty = Self::new(place, owner, BTreeMap::new(), self.faults);
        self.table(key).unwrap_or(empty)
    }

    /// A list of tables that must hold some.
    pub(super) fn full_tables(&mut self, key: &'static str) -> Option<Vec<Self>> {
        self.need(key);
        self.check_full(key);
        self.tables(key)
    }

    /// A list of tables.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Self>> {
        let field = self.take(key)?;
        let values = self.values(key, field)?.into_iter().enumerate();
        let inner = |(number, value): (usize, Spanned<_>)| {
            self.inner(&format!("{key}[{number}]"), value.span(), value)
        };
        Some(values.filter_map(inner).collect())
    }

    /// A table of values, by names of a kind.
    pub(super) fn map<N, T>(&mut self, key: &'static str) -> Option<Vec<(At<N>, At<T>)>>
    where
        N: FromStr<Err: std::fmt::Display>,
        T: DeserializeOwned,
    {
        let table = self.table(key)?;
        let owner = table.owner.clone();
        let mut found = Vec::new();
        for (raw, field) in table.into_fields() {
            let name = self.name(&owner, &field.place, &raw);
            let value = self.read(&format!("{key}.{raw}"), field.value);
            found.extend(name.zip(value));
        }
        Some(found)
    }

    /// A list of tables of values, by names of any kind; each with its own place.
    pub(super) fn maps<T: DeserializeOwned>(&mut self, key: &'static str) -> Vec<At<Pairs<T>>> {
        let mut found = Vec::new();
        for (number, table) in self.tables(key).unwrap_or_default().into_iter().enumerate() {
            let place = table.place.clone();
            let key = format!("{key}[{number}]");
            if table.fields.is_empty() {
                self.fault(&place, &key, "at least one is needed");
                continue;
            }
            let pairs = table.into_fields().into_iter().filter_map(|(raw, field)| {
                let value = self.read(&format!("{key}.{raw}"), field.value)?;
                let place = field.place;
                Some((At { place, value: raw }, value))
            });
            let value = pairs.collect();
            found.push(At { place, value });
        }
        found
    }

    /// A table of tables, by names of a kind. What is wrong in one of a wrong name is found all the same.
    pub(super) fn named<N: FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &'static str,
    ) -> Vec<(Option<N>, Self)> {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let owner = table.owner.clone();
        let mut found = Vec::new();
        for (raw, Field { place, value }) in table.into_fields() {
            let name = self.name(&owner, &place, &raw).map(|name| name.value);
            let section = self.inner(&format!("{key}.{raw}"), place, value);
            found.extend(section.map(|section| (name, section)));
        }
        found
    }

    /// A table of lists, by names of a kind.
    pub(super) fn lists<N, T>(&mut self, key: &'static str) -> Vec<(At<N>, Vec<At<T>>)>
    where
        N: FromStr<Err: std::fmt::Display>,
        T: DeserializeOwned,
    {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let owner = table.owner.clone();
        let mut found = Vec::new();
        for (raw, field) in table.into_fields() {
            let name = self.name(&owner, &field.place, &raw);
            let list = self.read_list(&format!("{key}.{raw}"), field);
            found.extend(name.zip(list));
        }
        found
    }

    /// A table of tables, by names of any kind.
    pub(super) fn tables_by_key(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let inner = |(raw, Field { place, value }): (String, Field<'t>)| {
            let section = self.inner(&format!("{key}.{raw}"), place, value)?;
            Some((raw, section))
        };
        table.into_fields().into_iter().filter_map(inner).collect()
    }

    fn name<N: FromStr<Err: std::fmt::Display>>(
        &self,
        owner: &Owner,
        place: &Place,
        raw: &str,
    ) -> Option<At<N>> {
        match raw.parse() {
            Ok(value) => Some(At {
                place: place.clone(),
                value,
            }),
            Err(error) => {
                self.faults.note(place, owner, "", error);
                None
            }
        }
    }

    /// Notes the keys that nobody knows.
    pub(super) fn finish(self) {
        self.check_known(&self.known);
    }

    /// Notes the keys that are none of these.
    pub(super) fn check_known(&self, known: &[&str]) {
        for (key, field) in &self.fields {
            if known.contains(&key.as_str()) {
                continue;
            }
            let keys: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
            let guess = did_you_mean(key, known.iter().copied());
            let message = format!(
                "unknown field `{key}`{guess} (expected {})",
                keys.join(", ")
            );
            self.fault(&field.place, "", message);
        }
    }
}
