//! Where builders come from: stanzas of their own, templates and matrices.

use std::collections::BTreeMap;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::faults::{Faults, Owner, Place, did_you_mean};
use super::matrix::{self, Axes};
use super::recipe::KEYS;
use super::section::{At, Field, Section};
use crate::model::BuilderName;

/// The keys of a builder, a template or a matrix.
pub(super) type Fields<'t> = BTreeMap<String, Field<'t>>;

/// One builder to be.
pub(super) struct Stanza<'t> {
    pub(super) name: BuilderName,
    place: Place,
    /// Its own keys over its template's. Shared by the builders of a matrix.
    fields: Rc<Fields<'t>>,
    /// What stands for each axis in them; none for a builder without template, which has no placeholders.
    axes: Option<Axes>,
}

/// Every builder that there is to be.
pub(super) struct Stanzas<'f, 't> {
    pub(super) list: Vec<Stanza<'t>>,
    /// Every name, of those too in which something is wrong already, and where each comes from.
    pub(super) names: BTreeMap<BuilderName, Place>,
    templates: BTreeMap<String, Rc<Fields<'t>>>,
    faults: &'f Faults<'t>,
}

impl<'f, 't> Stanzas<'f, 't> {
    /// Most builders of a farm.
    pub(super) const MOST: usize = 10_000;

    pub(super) fn read(top: &mut Section<'f, 't>) -> Self {
        let mut all = Self {
            list: Vec::new(),
            names: BTreeMap::new(),
            templates: BTreeMap::new(),
            faults: top.faults(),
        };
        for (name, section) in top.tables_by_key("templates") {
            let mut fields = known_only(section, &KEYS);
            if let Some(field) = fields.remove("template") {
                let owner = Owner::table(format!("templates.{name}"));
                let message = "a template has no template of its own";
                all.faults.note(&field.place, &owner, "template", message);
            }
            all.templates.insert(name, Rc::new(fields));
        }
        for (name, section) in top.named::<BuilderName>("builders") {
            all.read_builder(name, section);
        }
        for (name, section) in top.tables_by_key("matrix") {
            matrix::read(&mut all, &name, section);
        }
        all
    }

    fn read_builder(&mut self, name: Option<BuilderName>, mut section: Section<'f, 't>) {
        let template = self.template(&mut section);
        let place = section.place.clone();
        let own = known_only(section, &KEYS);
        let Some(name) = name else { return };
        if !self.may_add(&name, &place) {
            return;
        }
        let (fields, axes) = match template {
            Template::None => (own, None),
            Template::Of(template) => (over(&template, own), Some(Axes::default())),
            Template::Missing => return,
        };
        self.list.push(Stanza {
            name,
            place,
            fields: Rc::new(fields),
            axes,
        });
    }

    /// The template that a builder or a matrix names.
    pub(super) fn template(&self, section: &mut Section<'f, 't>) -> Template<'t> {
        let had = section.has("template");
        let Some(At { place, value }) = section.optional::<String>("template") else {
            return if had {
                Template::Missing
            } else {
                Template::None
            };
        };
        if let Some(fields) = self.templates.get(&value) {
            return Template::Of(Rc::clone(fields));
        }
        let guess = did_you_mean(&value, self.templates.keys().map(String::as_str));
        section.fault(
            &place,
            "template",
            format!("there is no [templates.{value}]{guess}"),
        );
        Template::Missing
    }

    /// Adds a builder of a matrix.
    pub(super) fn add(
        &mut self,
        name: BuilderName,
        place: &Place,
        fields: &Rc<Fields<'t>>,
        axes: Axes,
    ) {
        if self.may_add(&name, place) {
            self.list.push(Stanza {
                name,
                place: place.clone(),
                fields: Rc::clone(fields),
                axes: Some(axes),
            });
        }
    }

    /// Takes down the name of a builder, if it is the only one of that name.
    fn may_add(&mut self, name: &BuilderName, place: &Place) -> bool {
        let Some(first) = self.names.get(name) else {
            self.names.insert(name.clone(), place.clone());
            return true;
        };
        let owner = Owner::table(format!("builders.{name}"));
        let line = self.faults.line(first);
        let message = format!("there is a builder of that name already, from line {line}");
        self.faults.note(place, &owner, "", message);
        false
    }
}

/// What a stanza says of a template.
pub(super) enum Template<'t> {
    /// Nothing.
    None,
    /// The keys of one.
    Of(Rc<Fields<'t>>),
    /// One that is not there, which has been noted.
    Missing,
}

/// The keys of a table without those that nobody knows, which are noted.
pub(super) fn known_only<'t>(section: Section<'_, 't>, known: &[&str]) -> Fields<'t> {
    section.check_known(known);
    let mut fields = section.into_fields();
    fields.retain(|key, _| known.contains(&key.as_str()));
    fields
}

/// A stanza's own keys over those of its template: a key of its own takes the place of the template's, whole.
pub(super) fn over<'t>(template: &Fields<'t>, own: Fields<'t>) -> Fields<'t> {
    let mut fields = template.clone();
    fields.extend(own);
    fields
}

impl<'t> Stanza<'t> {
    /// The builder's keys, with the values of its axes in them.
    pub(super) fn section<'f>(&self, faults: &'f Faults<'t>) -> Section<'f, 't> {
        let owner = Owner {
            builder: Some(self.name.clone()),
            table: String::new(),
        };
        let mut fields = Fields::clone(&self.fields);
        if let Some(axes) = &self.axes {
            for (key, field) in &mut fields {
                fill(&mut field.value, axes, &mut |place, message| {
                    faults.note(place, &owner, key, message);
                });
            }
        }
        Section::new(self.place.clone(), owner, fields, faults)
    }
}

/// Puts the values of axes into every text of a value.
fn fill(value: &mut Spanned<DeValue<'_>>, axes: &Axes, note: &mut impl FnMut(&Place, String)) {
    let place = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains('{') => match axes.fill(text, str::to_owned) {
            Ok(filled) => *text = DeString::Owned(filled),
            Err(unknown) => note(&place, unknown),
        },
        DeValue::Array(values) => {
            for value in values.iter_mut() {
                fill(value, axes, note);
            }
        }
        DeValue::Table(table) => {
            for (_, value) in table.iter_mut() {
                fill(value, axes, note);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}
