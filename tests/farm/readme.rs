//! README's chapters for volunteers, operators and viewers, typed as they stand.
//!
//! A fenced block ` ```console NAME ` is what somebody types on the machine NAME, ` ```toml NAME ` a file there whose name
//! its first line says. Lines of a console block without `$ ` are what must be seen, `…` standing for anything.

mod world;

use std::fs;
use std::path::Path;
use std::process::Command;

use self::world::World;
use crate::process::PYBOTS;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn what_readme_tells_operators_volunteers_and_viewers_to_type_makes_a_farm() {
    let readme = read("README.md");
    let operators = Chapter::of(&readme, "Run a farm");
    let volunteers = Chapter::of(&readme, "Lend a machine");
    let viewers = Chapter::of(&readme, "Look at a farm");
    let keys = Chapter::of(&readme, "Keys");
    let mut world = World::new();
    // Volunteers come in where the operator is told of their chapter.
    let (before, after) = operators.split_at("(#lend-a-machine)");
    world.follow(&before, &[]).await;
    for slave in ["maple", "elm"] {
        world.carry("operator", "farm/keys/community-pybots.keyring", slave);
        world
            .follow(&volunteers.blocks(), &[("maple", slave)])
            .await;
    }
    world.follow(&after, &[]).await;
    world.carry("operator", "farm/farm.toml", "anybody");
    world.follow(&viewers.blocks(), &[]).await;
    world.follow(&keys.blocks(), &[]).await;
    world.stop();
}

#[test]
fn each_pybots_command_that_readme_mentions_exists() {
    let readme = read("README.md");
    let spans: Vec<&str> = readme
        .split('`')
        .filter_map(|span| span.strip_prefix("pybots "))
        .filter(|span| !span.contains('\n'))
        .collect();
    assert!(spans.len() >= 10, "{spans:?}");
    for span in spans {
        let is_word = |word: &&str| {
            let letters = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            letters && !word.starts_with('-')
        };
        let words = span.split(' ').take_while(is_word);
        let options = span.split(' ').filter(|word| word.starts_with("--"));
        let help = Command::new(PYBOTS)
            .args(words)
            .arg("--help")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&help.stdout);
        assert!(help.status.success(), "pybots {span}");
        for option in options {
            assert!(said.contains(option), "pybots {span}: no {option}");
        }
    }
}

#[test]
fn each_file_of_this_repository_that_readme_mentions_exists() {
    let readme = read("README.md");
    let spans = readme.split('`').skip(1).step_by(2);
    let files = spans.filter(|span| {
        ["deploy/", "src/", "tests/", "keys/README"]
            .iter()
            .any(|folder| span.starts_with(folder))
    });
    for file in files {
        let path = file.split(' ').next().unwrap();
        assert!(Path::new(REPOSITORY).join(path).exists(), "{file}");
    }
}

#[test]
fn each_answer_of_the_faq_ends_in_the_command_or_file_that_makes_it_true() {
    let readme = read("README.md");
    let faq = Chapter::of(&readme, "FAQ").0.join("\n");
    let answers: Vec<&str> = faq.split("\n\n").map(str::trim).collect();
    assert!(answers.len() > 10);
    for answer in answers {
        let (question, _) = answer.split_once('\n').unwrap();
        assert!(question.starts_with("**"), "{question}");
        assert!(answer.ends_with("`."), "{question}");
    }
}

#[test]
fn readme_is_not_wider_than_a_terminal_and_its_blocks_are_all_known() {
    for (number, line) in (1..).zip(read("README.md").lines()) {
        assert!(line.chars().count() <= 120, "line {number}: {line}");
        if let Some(info) = line.strip_prefix("```") {
            let words: Vec<&str> = info.split(' ').collect();
            let known = matches!(
                words[..],
                ["" | "sh"] | ["console" | "toml", "operator" | "maple" | "anybody"]
            );
            assert!(known, "line {number}: {line}");
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(name)).unwrap()
}

/// One chapter's lines.
struct Chapter<'a>(Vec<&'a str>);

/// What is done on one machine.
#[derive(Debug)]
struct Block {
    machine: String,
    lines: Vec<String>,
    is_file: bool,
}

impl<'a> Chapter<'a> {
    fn of(readme: &'a str, title: &str) -> Self {
        let heading = format!("## {title}");
        let lines: Vec<&str> = readme
            .lines()
            .skip_while(|line| *line != heading)
            .skip(1)
            .take_while(|line| !line.starts_with("## "))
            .collect();
        assert!(!lines.is_empty(), "README has no chapter {title}");
        Self(lines)
    }

    fn split_at(&self, mark: &str) -> (Vec<Block>, Vec<Block>) {
        let at = self.0.iter().position(|line| line.contains(mark));
        let (before, after) = self.0.split_at(at.expect("the mark"));
        (
            Self(before.to_vec()).blocks(),
            Self(after.to_vec()).blocks(),
        )
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.0.iter();
        while let Some(line) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                continue;
            };
            let body = lines.by_ref().take_while(|line| **line != "```");
            let body: Vec<String> = body.map(|line| (*line).to_owned()).collect();
            if let Some((language, machine)) = info.split_once(' ') {
                blocks.push(Block {
                    machine: machine.to_owned(),
                    lines: body,
                    is_file: language == "toml",
                });
            }
        }
        assert!(!blocks.is_empty());
        blocks
    }
}
