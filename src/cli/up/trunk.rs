//! The sample trunk: a small git repository whose check-ins change how the Python built from it behaves.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::cli::exit::{Exit, Failure};
use crate::model::Revision;

const TRUNK: [(&str, &str); 3] = [
    (
        "Lib/sitecustomize.py",
        include_str!("../../../deploy/sample/trunk/Lib/sitecustomize.py"),
    ),
    (
        "build.sh",
        include_str!("../../../deploy/sample/trunk/build.sh"),
    ),
    (
        "python.in",
        include_str!("../../../deploy/sample/trunk/python.in"),
    ),
];
const BROKEN: (&str, &str) = (
    "Lib/sitecustomize.py",
    include_str!("../../../deploy/sample/trunk-broken/Lib/sitecustomize.py"),
);
const FOO: [(&str, &str); 2] = [
    ("foo.py", include_str!("../../../deploy/sample/foo/foo.py")),
    (
        "test_foo.py",
        include_str!("../../../deploy/sample/foo/test_foo.py"),
    ),
];
const BAR: [(&str, &str); 2] = [
    ("bar.py", include_str!("../../../deploy/sample/bar/bar.py")),
    (
        "test_bar.py",
        include_str!("../../../deploy/sample/bar/test_bar.py"),
    ),
];

/// A check-in to the sample trunk, and whether Foo's tests pass after it.
pub(super) struct CheckIn {
    pub(super) subject: &'static str,
    broken: bool,
}

/// The three check-ins: fine, breaking Foo, mending it.
pub(super) const CHECK_INS: [CheckIn; 3] = [
    CheckIn {
        subject: "gh-12344: Say more in the news",
        broken: false,
    },
    CheckIn {
        subject: "gh-12345: Remove string.capwords()",
        broken: true,
    },
    CheckIn {
        subject: "gh-12345: Bring string.capwords() back",
        broken: false,
    },
];

impl CheckIn {
    /// Whether project Foo's tests are to pass.
    pub(super) fn foo_passes(&self) -> bool {
        !self.broken
    }
}

/// The sample's three repositories.
pub(super) struct Sample {
    folder: PathBuf,
}

impl Sample {
    /// The repositories below `folder`, made if they are not there.
    pub(super) async fn open(folder: PathBuf) -> Result<Self, Failure> {
        let sample = Self { folder };
        for (name, files) in [("foo", &FOO), ("bar", &BAR)] {
            let place = sample.place(name);
            if !place.join(".git").exists() {
                begin(&place, files).await.map_err(Failure::error)?;
                commit(&place, "Begin").await.map_err(Failure::error)?;
            }
        }
        Ok(sample)
    }

    /// Where the repository `name` (trunk, foo or bar) is.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether the trunk has its first check-in.
    pub(super) fn has_trunk(&self) -> bool {
        self.place("trunk").join(".git").exists()
    }

    /// Checks that a check-in would not sweep up somebody's work in the trunk.
    pub(super) async fn check_clean(&self) -> Result<(), Failure> {
        if !self.has_trunk() {
            return Ok(());
        }
        let trunk = self.place("trunk");
        let changed = git(&trunk, ["status", "--porcelain"])
            .await
            .map_err(Failure::error)?;
        if changed.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the trunk {} has changes that are not committed; nothing was started",
            trunk.display()
        );
        Err(Failure::message(Exit::Error, message)
            .advice("Commit them, or put them away with git stash."))
    }

    /// Makes a check-in to the trunk and returns its revision.
    pub(super) async fn check_in(&self, check_in: &CheckIn) -> Result<Revision, Failure> {
        let trunk = self.place("trunk");
        let make = async {
            if !self.has_trunk() {
                begin(&trunk, &TRUNK).await?;
            }
            write(&trunk, &TRUNK)?;
            if check_in.broken {
                write(&trunk, &[BROKEN])?;
            }
            let news = trunk.join("NEWS");
            let said = fs::read_to_string(&news).unwrap_or_default();
            fs::write(&news, format!("{said}{}\n", check_in.subject))?;
            commit(&trunk, check_in.subject).await
        };
        make.await
            .context("no check-in was made to the sample trunk")
            .map_err(Failure::error)
    }
}

fn write(folder: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text)?;
    }
    Ok(())
}

async fn begin(folder: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    git(folder, ["init", "--quiet", "--initial-branch=main"]).await?;
    write(folder, files)
}

async fn commit(folder: &Path, subject: &str) -> anyhow::Result<Revision> {
    git(folder, ["add", "--all"]).await?;
    let author = [
        "-c",
        "user.name=Sample Author",
        "-c",
        "user.email=author@example.org",
    ];
    let commit = ["commit", "--quiet", "--message", subject];
    git(folder, author.into_iter().chain(commit)).await?;
    Ok(git(folder, ["rev-parse", "HEAD"]).await?.trim().parse()?)
}

/// Runs git without the user's own settings: a hook or a signing key of theirs has no business in a sample.
async fn git(
    folder: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git failed in {}: {}",
            folder.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
