//! Running the `git` program so that neither the user's settings, nor a repository's, nor a remote can steer it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::model::Text;

/// The `git` program (2.32 or later), and all it may see of the environment.
#[derive(Clone, Debug)]
pub struct Git {
    /// Its name, looked up in `path`, or its absolute path.
    pub program: PathBuf,
    /// The `PATH` on which it finds `ssh` and other helpers.
    pub path: OsString,
}

/// The whole environment besides `PATH`.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("HOME", "/nonexistent"), // no .netrc either
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    ("GIT_ALLOW_PROTOCOL", "https:ssh:file"),
    ("GIT_PROTOCOL_FROM_USER", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
];

/// Settings that win over whatever the mirror's own file says.
const SETTINGS: [&str; 5] = [
    "core.hooksPath=/dev/null",
    "protocol.ext.allow=never",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
];

/// Most bytes read of what `git` writes.
const MAX_STDOUT: u64 = 4 << 20;

/// How many of the last bytes of its complaints are kept.
const MAX_STDERR: usize = 16 << 10;

/// A run of `git` that came to its end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    /// There was more on stdout, and `git` was stopped for it.
    pub(super) cut: bool,
    stderr: Vec<u8>,
}

impl Git {
    /// Runs `git` on `repository`, a folder inside the existing `folder`. Dropped before its end, everything it started
    /// is killed.
    pub(super) async fn run(
        &self,
        folder: &Path,
        repository: &str,
        args: &[&str],
    ) -> io::Result<Finished> {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .envs(ENVIRONMENT)
            .current_dir(folder)
            // Given, not searched for, so no repository around the folder has a say.
            .arg(format!("--git-dir={repository}"))
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut group = Group(command.spawn()?);
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let ((stdout, cut), stderr) = tokio::try_join!(head(stdout), tail(stderr))?;
        Ok(Finished {
            status: group.0.wait().await?,
            stdout,
            cut,
            stderr,
        })
    }
}

impl Finished {
    /// The first fatal line and the one before it, which is often the `ssh` program's reason; else the last two.
    pub(super) fn complaint(&self) -> Text {
        let stderr = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<&str> = stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let end = lines
            .iter()
            .position(|line| line.starts_with("fatal: ") || line.starts_with("error: "))
            .map_or(lines.len(), |at| at + 1);
        match &lines[end.saturating_sub(2)..end] {
            [] => Text::tidy(&self.status.to_string()),
            last => Text::tidy(&last.join("; ")),
        }
    }
}

/// A child that leads a process group; all of the group dies with this value, unless the child ended by itself.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // None once the child was waited for, when the number may be somebody else's.
        if let Some(leader) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            // Fails only if nobody is left.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// The beginning of what comes out of `pipe`, and whether there was more. The pipe is closed after that, which ends its
/// writer.
async fn head(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    let mut cut = false;
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(MAX_STDOUT);
        pipe.read_to_end(&mut kept).await?;
        cut = pipe.into_inner().read(&mut [0]).await? > 0;
    }
    Ok((kept, cut))
}

/// The end of what comes out of `pipe`.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        while pipe.read_buf(&mut kept).await? > 0 {
            kept.drain(..kept.len().saturating_sub(MAX_STDERR));
        }
    }
    Ok(kept)
}
