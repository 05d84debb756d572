//! Changes to `slave.toml` that leave everything else in it as its owner wrote it: comments, order, spaces.

use std::collections::BTreeMap;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::NetworkRule;
use crate::model::{CommandId, Digest, ParameterName, Text};
use crate::slave::parameter::{Grammar, LeadingHyphen};

/// What is to stand in the table of a command; what is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct MappingChange {
    /// The script's path, as it is to be written.
    pub script: Option<String>,
    /// Its digest.
    pub digest: Option<Digest>,
    /// All of its parameters.
    pub parameters: Option<BTreeMap<ParameterName, Grammar>>,
    /// Longest that it may run.
    pub timeout_minutes: Option<u64>,
    /// Whether it may reach the network.
    pub network: Option<NetworkRule>,
}

/// Why a text cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Not TOML.
    #[error(transparent)]
    Toml(#[from] toml_edit::TomlError),
    /// Something else stands where the table should.
    #[error("{0} is not a table")]
    NotATable(String),
    /// Nothing to take away.
    #[error("there is no table commands.{0}")]
    Unmapped(CommandId),
}

/// `text` with the table of `command` so changed, and made if there is none.
///
/// # Errors
///
/// [`EditError`].
pub fn with_mapping(
    text: &str,
    command: &CommandId,
    change: &MappingChange,
) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let commands = document.entry("commands").or_insert_with(|| {
        let mut commands = Table::new();
        // No line [commands] of its own.
        commands.set_implicit(true);
        Item::Table(commands)
    });
    let inline = commands.is_inline_table();
    let commands = table(commands, "commands")?;
    let place = format!("commands.{command}");
    let new = if inline {
        Item::Value(Value::InlineTable(InlineTable::new()))
    } else {
        Item::Table(Table::new())
    };
    let mapping = commands.entry(command.as_str()).or_insert(new);
    let mapping = table(mapping, &place)?;
    if let Some(script) = &change.script {
        set(mapping, "script", script.as_str().into());
    }
    if let Some(digest) = change.digest {
        set(mapping, "digest", digest.to_string().into());
    }
    if let Some(minutes) = change.timeout_minutes {
        let minutes = i64::try_from(minutes).unwrap_or(i64::MAX);
        set(mapping, "timeout-minutes", minutes.into());
    }
    if let Some(network) = change.network {
        let network = match network {
            NetworkRule::Off => "off",
            NetworkRule::On => "on",
        };
        set(mapping, "network", network.into());
    }
    if let Some(parameters) = &change.parameters {
        mapping.remove("parameters");
        let mut table = InlineTable::new();
        table.set_dotted(true);
        for (name, grammar) in parameters {
            table.insert(name.as_str(), Value::InlineTable(describe(grammar)));
        }
        if !table.is_empty() {
            mapping.insert("parameters", Item::Value(Value::InlineTable(table)));
        }
    }
    Ok(document.to_string())
}

/// `text` without the table of `command` and the comment right above it, and what was taken away.
///
/// # Errors
///
/// [`EditError`].
pub fn without_mapping(text: &str, command: &CommandId) -> Result<(String, String), EditError> {
    let mut document: DocumentMut = text.parse()?;
    let unmapped = || EditError::Unmapped(command.clone());
    let commands = document.get_mut("commands").ok_or_else(unmapped)?;
    let commands = table(commands, "commands")?;
    let removed = commands.remove(command.as_str()).ok_or_else(unmapped)?;
    let mut alone = Table::new();
    alone.set_implicit(true);
    alone.insert(command.as_str(), removed);
    let mut taken = DocumentMut::new();
    taken.insert("commands", Item::Table(alone));
    let taken = taken.to_string();
    // Paragraphs of comments above that one are about something else, and only a cut out of the text itself keeps them.
    let comment = taken.find("[commands").unwrap_or_default();
    let above = taken[..comment].rfind("\n\n").map_or(0, |at| at + 2);
    let taken = taken[above..].trim_start().to_owned();
    let text = match text.split_once(&taken) {
        Some((before, after)) if !after.contains(&taken) => {
            let gap = before.ends_with("\n\n") && (after.is_empty() || after.starts_with('\n'));
            let before = if gap {
                &before[..before.len() - 1]
            } else {
                before
            };
            format!("{before}{after}")
        }
        Some(_) | None => document.to_string(),
    };
    Ok((text, taken))
}

fn table<'a>(item: &'a mut Item, place: &str) -> Result<&'a mut dyn TableLike, EditError> {
    item.as_table_like_mut()
        .ok_or_else(|| EditError::NotATable(place.to_owned()))
}

/// Sets a key, and keeps the spaces and the comment around a value that is there.
fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        Some(_) | None => {
            table.insert(key, Item::Value(value));
        }
    }
}

fn describe(grammar: &Grammar) -> InlineTable {
    let mut table = InlineTable::new();
    let mut say = |key: &str, value: Value| {
        table.insert(key, value);
    };
    match grammar {
        Grammar::Revision => say("type", "revision".into()),
        Grammar::Word => say("type", "word".into()),
        Grammar::Integer { min, max } => {
            say("type", "integer".into());
            say("min", (*min).into());
            say("max", (*max).into());
        }
        Grammar::Choice { values } => {
            say("type", "choice".into());
            let values: Array = values.iter().map(Text::as_str).collect();
            say("values", values.into());
        }
        Grammar::Pattern {
            pattern,
            max_length,
            leading_hyphen,
        } => {
            say("type", "pattern".into());
            say("pattern", pattern.as_str().into());
            say(
                "max-length",
                i64::try_from(*max_length).unwrap_or(i64::MAX).into(),
            );
            match leading_hyphen {
                LeadingHyphen::Refuse => {}
                LeadingHyphen::Allow => say("leading-hyphen", "allow".into()),
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# mine
name = "maple" # the old laptop
state = "state"

[commands.foo]   # tests Foo
script = "foo.sh"  # do not touch
timeout-minutes   = 5
parameters.version = { type = "word" }
# the last word

# for Bar
[commands."bar-3.15"]
script = "bar.sh"

[environment]
PATH = "/bin" # short
"#;

    fn id(raw: &str) -> CommandId {
        raw.parse().unwrap()
    }

    fn parameters(given: &[(&str, Grammar)]) -> BTreeMap<ParameterName, Grammar> {
        let given = given.iter();
        given
            .map(|(name, grammar)| (name.parse().unwrap(), grammar.clone()))
            .collect()
    }

    #[test]
    fn of_a_mapping_that_is_there_only_what_was_said_is_changed() {
        let change = MappingChange {
            script: Some("new/foo.sh".to_owned()),
            digest: Some(Digest([0; 32])),
            ..MappingChange::default()
        };
        let text = with_mapping(FILE, &id("foo"), &change).unwrap();
        let digest = format!("digest = \"{}\"\n", Digest([0; 32]));
        assert!(text.contains(&digest), "{text}");
        assert_eq!(
            text.replace(&digest, ""),
            FILE.replace("\"foo.sh\"", "\"new/foo.sh\"")
        );
        let again = MappingChange {
            digest: Some(Digest([1; 32])),
            timeout_minutes: Some(7),
            network: Some(NetworkRule::Off),
            ..MappingChange::default()
        };
        let again = with_mapping(&text, &id("foo"), &again).unwrap();
        let expected = text
            .replace(&Digest([0; 32]).to_string(), &Digest([1; 32]).to_string())
            .replace("timeout-minutes   = 5", "timeout-minutes   = 7");
        assert_eq!(again.replace("network = \"off\"\n", ""), expected);
    }

    #[test]
    fn a_new_mapping_is_a_table_after_the_others_and_an_old_one_gets_new_parameters() {
        let pattern = |leading_hyphen| Grammar::Pattern {
            pattern: r"\d+".to_owned().try_into().unwrap(),
            max_length: 3,
            leading_hyphen,
        };
        let grammars = [
            ("a", Grammar::Revision),
            ("b", Grammar::Integer { min: -1, max: 2 }),
            (
                "c",
                Grammar::Choice {
                    values: vec!["x".to_owned().try_into().unwrap()],
                },
            ),
            ("d", pattern(LeadingHyphen::Refuse)),
            ("e", pattern(LeadingHyphen::Allow)),
        ];
        let change = MappingChange {
            script: Some("baz.sh".to_owned()),
            parameters: Some(parameters(&grammars)),
            ..MappingChange::default()
        };
        for (name, rest) in [("baz_0.1", FILE), ("baz_0.1", "")] {
            let text = with_mapping(rest, &id(name), &change).unwrap();
            let expected = r#"
[commands."baz_0.1"]
script = "baz.sh"
parameters.a = { type = "revision" }
parameters.b = { type = "integer", min = -1, max = 2 }
parameters.c = { type = "choice", values = ["x"] }
parameters.d = { type = "pattern", pattern = '\d+', max-length = 3 }
parameters.e = { type = "pattern", pattern = '\d+', max-length = 3, leading-hyphen = "allow" }
"#;
            // A blank line before it, if anything is.
            let expected = &expected[usize::from(rest.is_empty())..];
            assert_eq!(text.replacen(expected, "", 1), rest);
        }
        let text = with_mapping(FILE, &id("foo"), &change).unwrap();
        assert!(!text.contains("parameters.version"), "{text}");
        assert!(text.contains("parameters.a = { type"), "{text}");
        let none = MappingChange {
            parameters: Some(BTreeMap::new()),
            ..MappingChange::default()
        };
        let text = with_mapping(FILE, &id("foo"), &none).unwrap();
        assert_eq!(
            text,
            FILE.replace("parameters.version = { type = \"word\" }\n", "")
        );
    }

    #[test]
    fn tables_on_one_line_are_changed_too() {
        let file = "commands = { foo = { script = \"foo.sh\" } }\n";
        let change = MappingChange {
            script: Some("new.sh".to_owned()),
            parameters: Some(parameters(&[("v", Grammar::Word)])),
            ..MappingChange::default()
        };
        for name in ["foo", "bar"] {
            let text = with_mapping(file, &id(name), &change).unwrap();
            let read: toml::Table = toml::from_str(&text).unwrap();
            let mapping = &read["commands"][name];
            assert_eq!(mapping["script"].as_str(), Some("new.sh"), "{text}");
            assert_eq!(mapping["parameters"]["v"]["type"].as_str(), Some("word"));
        }
    }

    #[test]
    fn what_is_unmapped_is_given_back_and_the_rest_stays() {
        let (text, taken) = without_mapping(FILE, &id("bar-3.15")).unwrap();
        assert_eq!(
            taken,
            "# for Bar\n[commands.\"bar-3.15\"]\nscript = \"bar.sh\"\n"
        );
        assert_eq!(
            text,
            FILE.replace(
                "\n# for Bar\n[commands.\"bar-3.15\"]\nscript = \"bar.sh\"\n",
                ""
            )
        );
        assert!(matches!(
            without_mapping(FILE, &id("baz")),
            Err(EditError::Unmapped(_))
        ));
    }
}
