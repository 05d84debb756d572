//! Whether builders can wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{Faults, Owner, Place, did_you_mean};
use super::recipe::Recipe;
use crate::model::BuilderName;

/// Notes builders that wait for one that is not there, for one that builds something else, or in a circle.
pub(super) fn check(
    recipes: &BTreeMap<BuilderName, Recipe>,
    names: &BTreeMap<BuilderName, Place>,
    faults: &Faults<'_>,
) {
    for (name, recipe) in recipes {
        let owner = Owner {
            builder: Some(name.clone()),
            table: String::new(),
        };
        for after in &recipe.after {
            if let Some(message) = wrong(name, recipe, &after.value, recipes, names) {
                faults.note(&after.place, &owner, "after", message);
            }
        }
    }
    for circle in circles(recipes) {
        let Some((name, recipe)) = circle.first().and_then(|name| recipes.get_key_value(name))
        else {
            continue;
        };
        let words: Vec<&str> = (circle.iter().chain([name]))
            .map(BuilderName::as_str)
            .collect();
        let owner = Owner {
            builder: Some(name.clone()),
            table: String::new(),
        };
        let place = recipe
            .after
            .first()
            .map_or(&recipe.place, |after| &after.place);
        let message = format!(
            "a circle, in which none is ever first: {}",
            words.join(" after ")
        );
        faults.note(place, &owner, "after", message);
    }
}

fn wrong(
    name: &BuilderName,
    recipe: &Recipe,
    other_name: &BuilderName,
    recipes: &BTreeMap<BuilderName, Recipe>,
    names: &BTreeMap<BuilderName, Place>,
) -> Option<String> {
    if other_name == name {
        return Some("a builder cannot wait for itself".to_owned());
    }
    if !names.contains_key(other_name) {
        let guess = did_you_mean(other_name.as_str(), names.keys().map(BuilderName::as_str));
        return Some(format!("there is no builder {other_name}{guess}"));
    }
    // One in which something is wrong itself is not here.
    let (builder, other) = (&recipe.builder, &recipes.get(other_name)?.builder);
    let mut sources = builder.sources.iter();
    if let Some((repository, branch)) =
        sources.find(|(repository, branch)| other.sources.get(*repository) != Some(*branch))
    {
        return Some(format!(
            "{other_name} does not build {repository} {branch}, so it can never have passed with it"
        ));
    }
    match &builder.release {
        Some(project) if builder.sources.is_empty() && other.release.as_ref() != Some(project) => {
            Some(format!(
                "{other_name} does not follow releases of {project}, so it can never have passed with one"
            ))
        }
        Some(_) | None => None,
    }
}

/// Each circle of builders, once, from its first name on. A builder that waits for itself is told elsewhere.
fn circles(recipes: &BTreeMap<BuilderName, Recipe>) -> Vec<Vec<BuilderName>> {
    let mut found = Vec::new();
    let mut done: BTreeSet<&BuilderName> = BTreeSet::new();
    for start in recipes.keys() {
        // No recursion: a chain may be thousands long.
        let mut way: Vec<(&BuilderName, usize)> = vec![(start, 0)];
        let mut on_way = BTreeSet::from([start]);
        while let Some((name, tried)) = way.last_mut() {
            let next = recipes.get(*name).filter(|_| !done.contains(*name));
            let next = next.and_then(|recipe| recipe.after.get(*tried));
            let Some(next) = next else {
                on_way.remove(*name);
                done.insert(*name);
                way.pop();
                continue;
            };
            *tried += 1;
            let next = &next.value;
            if on_way.contains(next) {
                let circle = way
                    .iter()
                    .map(|(name, _)| *name)
                    .skip_while(|name| *name != next);
                let circle: Vec<BuilderName> = circle.cloned().collect();
                if circle.len() > 1 {
                    found.push(circle);
                }
            } else if !done.contains(next) {
                on_way.insert(next);
                way.push((next, 0));
            }
        }
    }
    found
}
