//! What a command may run here, and who else could change it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Gid, Group};

use super::finding::{Check, Finding, Judgement, Part, quoted};
use super::patient::Read;
use crate::model::CommandId;
use crate::slave::{PlaceFault, ScriptFault, SecretFault, SlaveConfig, check_script};

/// Looks at every mapped script, at `slave.toml` and at the slave's own folder.
pub(super) fn examine(slave: &Read<SlaveConfig>) -> Vec<Finding> {
    let config = &slave.config;
    let mut judgements: Vec<Judgement> = [&slave.path, &config.state]
        .into_iter()
        .filter_map(|path| {
            // What is missing is told elsewhere.
            let mode = fs::metadata(path).ok()?.mode() & 0o7777;
            (mode & 0o022 != 0).then(|| judge_shared(path, mode, group_of(path).as_deref()))
        })
        .collect();
    for (id, mapping) in &config.commands {
        let place = format!("[commands.{id}]");
        if let Err((name, fault)) = mapping.check_secrets() {
            judgements.push(judge_secret(&place, &name, &fault));
        }
        let script = check_script(&mapping.script);
        if let Ok(script) = &script
            && !config.script_change.permits(mapping.state(script.digest))
        {
            judgements.push(judge_changed(id, &mapping.script));
        }
        if let Err(fault) = script {
            let group = match &fault {
                ScriptFault::Place(PlaceFault::Writable { path, .. }) => group_of(path),
                ScriptFault::Place(_)
                | ScriptFault::NotExecutable(_)
                | ScriptFault::SetUid(_)
                | ScriptFault::TooLong(_)
                | ScriptFault::Interpreter { .. } => None,
            };
            judgements.push(judge_fault(&place, &fault, group.as_deref()));
        }
    }
    if config.commands.is_empty() {
        judgements.push(judge_none(&slave.path));
    }
    if judgements.is_empty() {
        let found = match config.commands.len() {
            1 => "1 mapped script, which only you and root can change".to_owned(),
            count => format!("{count} mapped scripts, which only you and root can change"),
        };
        judgements.push(Judgement::ok(found));
    }
    judgements
        .into_iter()
        .map(|judgement| judgement.of(Check::Scripts, Part::Slave))
        .collect()
}

fn group_of(path: &Path) -> Option<String> {
    let gid = Gid::from_raw(fs::metadata(path).ok()?.gid());
    Group::from_gid(gid).ok()?.map(|group| group.name)
}

fn judge_none(path: &Path) -> Judgement {
    Judgement::warn(
        "no command is mapped",
        "nothing can run here: every command is refused",
        format!(
            "map a script in {}: [commands.NAME] script = \"…\"",
            path.display()
        ),
    )
}

fn judge_shared(path: &Path, mode: u32, group: Option<&str>) -> Judgement {
    let (by, who) = match (mode & 0o002 != 0, group) {
        (true, _) => (
            "everybody".to_owned(),
            "anybody with an account here".to_owned(),
        ),
        (false, Some(group)) => (
            format!("group {group}"),
            format!("anybody in group {group}"),
        ),
        (false, None) => ("its group".to_owned(), "anybody in its group".to_owned()),
    };
    Judgement::fail(
        format!("{} is writable by {by} (mode {mode:04o})", path.display()),
        format!("{who} can run code as you; the slave refuses to start"),
        format!("chmod go-w {}", quoted(path)),
    )
}

fn judge_changed(id: &CommandId, script: &Path) -> Judgement {
    Judgement::warn(
        format!("{} is another script than was mapped", script.display()),
        format!("commands that name {id} are refused"),
        format!("if it was you who changed it: pybots slave map {id} --accept"),
    )
}

fn judge_secret(place: &str, name: &str, fault: &SecretFault) -> Judgement {
    Judgement::fail(
        format!("{place} secrets.{name}: {fault}"),
        format!("the slave refuses to start, and one that runs refuses {place}"),
        "make it a file of your own with mode 0600, in a folder that only you can write to",
    )
}

fn judge_fault(place: &str, fault: &ScriptFault, group: Option<&str>) -> Judgement {
    let refused = format!("the slave refuses to start, and one that runs refuses {place}");
    match fault {
        ScriptFault::Place(PlaceFault::Writable { path, mode }) => judge_shared(path, *mode, group),
        ScriptFault::Place(PlaceFault::Owner { path, owner }) => Judgement::fail(
            format!("{} belongs to user {owner}", path.display()),
            format!("that user can run code as you; {refused}"),
            format!(
                "sudo chown \"$(id -un)\" {}, or map a script of your own",
                quoted(path)
            ),
        ),
        ScriptFault::Place(PlaceFault::Unreadable { path, source })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Judgement::fail(
                format!("{place} {} is missing", path.display()),
                refused,
                "write it, or correct its path in slave.toml",
            )
        }
        ScriptFault::Place(PlaceFault::Unreadable { path, source }) => Judgement::fail(
            format!("{place} {} cannot be looked at: {source}", path.display()),
            refused,
            format!("look why: ls -ld {}", quoted(path)),
        ),
        ScriptFault::Place(PlaceFault::NotAFile(path)) => Judgement::fail(
            format!("{place} {} is not a regular file", path.display()),
            refused,
            "map the script itself in slave.toml",
        ),
        ScriptFault::NotExecutable(path) => Judgement::fail(
            format!("{place} {} is not executable", path.display()),
            refused,
            format!("chmod u+x {}", quoted(path)),
        ),
        ScriptFault::SetUid(path) => Judgement::fail(
            format!("{place} {} is setuid or setgid", path.display()),
            format!("it would run with other rights than yours; {refused}"),
            format!("chmod ug-s {}", quoted(path)),
        ),
        ScriptFault::TooLong(path) => Judgement::fail(
            format!("{place} {} is too long for a script", path.display()),
            refused,
            "map a short script that starts it",
        ),
        ScriptFault::Interpreter { path, source } => Judgement::fail(
            format!("{place} {}: {source}", path.display()),
            refused,
            format!("correct the first line of {}", quoted(path)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slave::InterpreterFault;

    #[test]
    fn who_could_change_what_runs_is_named_as_the_owner_knows_them() {
        let cases = [
            (
                0o775,
                Some("staff"),
                "by group staff",
                "anybody in group staff can run code as you",
            ),
            (0o770, None, "by its group", "anybody in its group can"),
            (
                0o777,
                Some("staff"),
                "by everybody",
                "anybody with an account here can",
            ),
        ];
        for (mode, group, found, effect) in cases {
            let Judgement::Fail(trouble) = judge_shared(Path::new("/b/foo.sh"), mode, group) else {
                panic!("{mode:o} is a failure");
            };
            assert!(trouble.found.contains(found), "{trouble:?}");
            assert!(trouble.effect.contains(effect), "{trouble:?}");
            assert_eq!(trouble.fix, "chmod go-w /b/foo.sh");
        }
    }

    #[test]
    fn a_changed_script_and_an_open_secret_are_found_with_what_to_do() {
        let Judgement::Warn(trouble) =
            judge_changed(&"foo".parse().unwrap(), Path::new("/b/foo.sh"))
        else {
            panic!("a change is a warning");
        };
        assert!(trouble.fix.contains("pybots slave map foo --accept"));
        let fault = SecretFault::Shared {
            path: "/b/token".into(),
            mode: 0o644,
        };
        let Judgement::Fail(trouble) = judge_secret("[commands.foo]", "TOKEN", &fault) else {
            panic!("an open secret is a failure");
        };
        let found = "[commands.foo] secrets.TOKEN: /b/token is a secret that others can read";
        assert!(trouble.found.starts_with(found), "{trouble:?}");
    }

    #[test]
    fn each_fault_of_a_script_names_its_command_or_its_place_and_a_fix() {
        let path = Path::new("/b/foo.sh").to_owned();
        let unreadable = |kind| {
            ScriptFault::Place(PlaceFault::Unreadable {
                path: path.clone(),
                source: io::Error::from(kind),
            })
        };
        let cases = [
            (
                unreadable(io::ErrorKind::NotFound),
                "[commands.foo] /b/foo.sh is missing",
                "write it",
            ),
            (
                unreadable(io::ErrorKind::PermissionDenied),
                "cannot be looked at",
                "ls -ld /b/foo.sh",
            ),
            (
                ScriptFault::Place(PlaceFault::NotAFile(path.clone())),
                "not a regular file",
                "map the script itself",
            ),
            (
                ScriptFault::NotExecutable(path.clone()),
                "not executable",
                "chmod u+x /b/foo.sh",
            ),
            (
                ScriptFault::SetUid(path.clone()),
                "setuid",
                "chmod ug-s /b/foo.sh",
            ),
            (
                ScriptFault::Place(PlaceFault::Owner {
                    path: path.clone(),
                    owner: 7,
                }),
                "belongs to user 7",
                "sudo chown",
            ),
            (
                ScriptFault::TooLong(path.clone()),
                "too long",
                "map a short script",
            ),
            (
                ScriptFault::Interpreter {
                    path: path.clone(),
                    source: InterpreterFault::NoLine,
                },
                "/b/foo.sh: it is no program",
                "correct the first line of /b/foo.sh",
            ),
        ];
        for (fault, found, fix) in cases {
            let Judgement::Fail(trouble) = judge_fault("[commands.foo]", &fault, None) else {
                panic!("{fault} is a failure");
            };
            assert!(trouble.found.contains(found), "{trouble:?}");
            assert!(trouble.fix.contains(fix), "{trouble:?}");
        }
    }
}
