//! Whether a script is its owner's alone, and the copy of it that runs.

mod interpreter;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracing::field::display;

pub use interpreter::{Interpreter, InterpreterFault};

use super::config::Mapping;
use super::place::{self, PlaceFault, unreadable};
use crate::model::{BuildId, Digest};
use crate::trust::sha256;

/// Longest script, in bytes.
const MAX_LEN: u64 = 16 << 20;

/// Why a script is not run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptFault {
    /// It cannot be read, or somebody else could change it or put another in its place.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// The owner may not execute it.
    #[error("{0} is not executable; fix: chmod u+x {0}")]
    NotExecutable(PathBuf),
    /// It would run with other rights.
    #[error("{0} is setuid or setgid")]
    SetUid(PathBuf),
    /// Nobody writes such a script.
    #[error("{0} is longer than {max} MiB", max = MAX_LEN >> 20)]
    TooLong(PathBuf),
    /// What would run it is not there or not safe.
    #[error("{path}: {source}")]
    Interpreter {
        /// The script.
        path: PathBuf,
        /// What is wrong.
        source: InterpreterFault,
    },
}

impl ScriptFault {
    /// What is wrong, for the farm: not where, for paths are the owner's business.
    pub(super) fn tersely(&self) -> &'static str {
        match self {
            Self::Place(fault) => fault.tersely(),
            Self::NotExecutable(_) => "it is not executable",
            Self::SetUid(_) => "it is setuid or setgid",
            Self::TooLong(_) => "it is too long",
            Self::Interpreter { source, .. } => source.tersely(),
        }
    }
}

/// A script that nobody but the slave's user and root can change or put another in the place of, as it stood when it was
/// looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script {
    /// Where it really lies.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its digest.
    pub digest: Digest,
    /// What runs it.
    pub interpreter: Interpreter,
}

/// Looks at the script at `path`.
///
/// # Errors
///
/// [`ScriptFault`], the first found.
pub fn check_script(path: &Path) -> Result<Script, ScriptFault> {
    read(path).map(|(script, _)| script)
}

/// Looks at a mapped script and its secrets, for the gate and on behalf of `build`: its digest, or what is wrong.
///
/// The sentence for the farm says what is wrong, not where: paths are the owner's business. The owner's log has both.
pub(super) fn look_at_script(
    build: Option<&BuildId>,
    mapping: &Mapping,
) -> Result<Digest, &'static str> {
    let build = build.map(display);
    mapping.check_secrets().map_err(|(name, fault)| {
        tracing::warn!(build, secret = name, %fault, "secret not safe");
        fault.tersely()
    })?;
    let script = check_script(&mapping.script).map_err(|fault| {
        tracing::warn!(build, %fault, "script not safe");
        fault.tersely()
    })?;
    Ok(script.digest)
}

/// Opens the script once; all that is said of it is said of what is open, and its bytes are those.
fn read(path: &Path) -> Result<(Script, Vec<u8>), ScriptFault> {
    let place::Guarded {
        path,
        file,
        metadata,
    } = place::open(path)?;
    if metadata.mode() & 0o6000 != 0 {
        return Err(ScriptFault::SetUid(path));
    }
    if metadata.mode() & 0o100 == 0 {
        return Err(ScriptFault::NotExecutable(path));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable(&path))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(ScriptFault::TooLong(path));
    }
    let interpreter = match Interpreter::of(&bytes) {
        Ok(interpreter) => interpreter,
        Err(source) => return Err(ScriptFault::Interpreter { path, source }),
    };
    let script = Script {
        path,
        mode: metadata.mode() & 0o7777,
        digest: Digest(sha256(&bytes)),
        interpreter,
    };
    Ok((script, bytes))
}

/// Looks at the script at `path` and copies it to `copy_to`, a file that must not be there yet: what was looked at and hashed
/// is what runs.
///
/// # Errors
///
/// [`ScriptFault`], also if the copy cannot be made.
pub(super) fn copy_script(path: &Path, copy_to: &Path) -> Result<Script, ScriptFault> {
    let (script, bytes) = read(path)?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o500)
        .open(copy_to)
        .and_then(|mut copy| copy.write_all(&bytes))
        .map_err(unreadable(copy_to))?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn script_with(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("test.sh");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn script(folder: &Path, mode: u32) -> PathBuf {
        script_with(folder, "#!/bin/sh\n", mode)
    }

    #[test]
    fn a65_a_script_that_others_could_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let check = |mode| check_script(&script(folder.path(), mode));
        let good = check(0o755).expect("sticky /tmp is fine");
        assert_eq!(good.mode, 0o755);
        for mode in [0o775, 0o757] {
            let fault = check(mode).unwrap_err();
            assert!(
                matches!(&fault, ScriptFault::Place(PlaceFault::Writable { mode: m, .. }) if *m == mode),
                "{fault}"
            );
        }
        assert!(matches!(check(0o644), Err(ScriptFault::NotExecutable(_))));
        assert!(matches!(check(0o4755), Err(ScriptFault::SetUid(_))));
        assert!(matches!(
            check_script(&folder.path().join("none")),
            Err(ScriptFault::Place(PlaceFault::Unreadable { .. }))
        ));
        assert!(matches!(
            check_script(folder.path()),
            Err(ScriptFault::Place(PlaceFault::NotAFile(_)))
        ));
    }

    #[test]
    fn a65_a_script_under_a_folder_that_others_can_write_is_refused_also_by_a_symlink() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let path = script(&open, 0o755);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [path, link] {
            let fault = check_script(&path).unwrap_err();
            assert!(
                matches!(&fault, ScriptFault::Place(PlaceFault::Writable { path, .. }) if path.ends_with("open")),
                "{fault}"
            );
        }
    }

    #[test]
    fn a66_the_copy_that_runs_is_the_one_that_was_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), 0o755);
        let copy_to = folder.path().join("copy");
        let copied = copy_script(&path, &copy_to).unwrap();
        fs::write(&path, "#!/bin/sh\nevil\n").unwrap();
        assert_eq!(fs::read_to_string(&copy_to).unwrap(), "#!/bin/sh\n");
        assert_eq!(copied.digest, Digest(sha256(b"#!/bin/sh\n")));
        assert_ne!(copied.digest, check_script(&path).unwrap().digest);
        // What lies where the copy is to be is not written to.
        assert!(copy_script(&path, &copy_to).is_err());
    }

    #[test]
    fn a_script_longer_than_any_script_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), 0o755);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(MAX_LEN).unwrap();
        assert!(check_script(&path).is_ok());
        file.set_len(MAX_LEN + 1).unwrap();
        assert!(matches!(check_script(&path), Err(ScriptFault::TooLong(_))));
    }

    #[test]
    fn a67_what_would_run_a_script_must_be_named_in_full_and_safe_too() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("interpreter");
        let tool = |mode| {
            fs::write(&own, "\x7fELF").unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
        };
        tool(0o755);
        let own_line = format!("#! {} -u\n", own.display());
        let check = |text: &str| check_script(&script_with(folder.path(), text, 0o755));
        for good in [
            "#!/bin/sh\n",
            "#!/bin/sh",
            "#!/usr/bin/env sh\n",
            &own_line,
            "\x7fELF\x02",
        ] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        let cases = [
            ("#!sh\n", "is no absolute path"),
            ("#!../sh\n", "is no absolute path"),
            ("#!\n", "names nothing to run it with"),
            ("#!/none/sh\n", "/none cannot be read"),
            ("#!/bin/sh\r\n", "carriage return"),
            ("#!/tmp\n", "not a program"),
            ("echo x\n", "#!/bin/sh"),
            ("", "#!/bin/sh"),
        ];
        for (bad, expected) in cases {
            let fault = check(bad).unwrap_err();
            assert!(matches!(fault, ScriptFault::Interpreter { .. }), "{fault}");
            assert!(fault.to_string().contains(expected), "{bad:?}: {fault}");
            assert!(!fault.tersely().contains('/'), "{fault}");
        }
        for (mode, expected) in [(0o777, "writable by others"), (0o644, "not a program")] {
            tool(mode);
            let fault = check(&own_line).unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
