//! What a script's tests left in the folder `$PYBOTS_REPORTS`.
//!
//! `*.xml` is JUnit, `*.tap` is TAP, and `*.subunit`, or whatever begins as it does, is subunit v2. All else is left
//! alone. The files come from foreign code. So none is reached through a symbolic link, none can make the slave wait,
//! each is read as a stream up to a limit, and what is kept of all together has limits too: a report must stay small
//! enough to be sent. A broken file gives a warning, and what was read of it until then counts.

mod bounded;
mod folder;
mod junit;
mod shortened;
mod subunit;
mod tap;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use crate::model::{BuildId, TestResults};

use bounded::Bounded;

/// What is wrong with a result file, as its owner reads it after the file's name.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot be read: {}", .0.kind())]
    Unreadable(#[from] io::Error),
    #[error("is a symbolic link, and was not followed")]
    Link,
    #[error("is no file, and was not read")]
    NotAFile,
    #[error("is larger than {} MiB, and was read up to there", .0 >> 20)]
    TooLarge(u64),
    #[error("was not read: there are too many result files, or they are too large together")]
    TooMany,
    #[error("holds no test results")]
    Empty,
    /// XML of another kind, such as a coverage report. No fault, and no result file.
    #[error("is no JUnit file")]
    OtherXml,
    #[error("is not well-formed XML, and counts up to there: {0}")]
    Xml(quick_xml::Error),
    #[error("is nested too deeply, and counts up to there")]
    TooDeep,
    #[error("has a tag that is too long, and counts up to there")]
    LongTag,
    #[error("ends in the middle, and counts up to there")]
    Cut,
    #[error("counts {claimed} failures and errors, and describes {named}; the log has the others")]
    Unnamed { claimed: u64, named: u64 },
    #[error("says that its tests were given up: {0}")]
    BailedOut(String),
    #[error("announces {planned} tests, and has {found}")]
    Plan { planned: String, found: u64 },
    #[error("is damaged, and counts up to there: {0}")]
    Packet(&'static str),
}

/// What a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Junit,
    Tap,
    Subunit,
}

impl Format {
    /// By the end of its name.
    fn of_name(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "xml" => Some(Self::Junit),
            "tap" => Some(Self::Tap),
            "subunit" => Some(Self::Subunit),
            _ => None,
        }
    }

    /// By its first byte.
    fn of_start(start: &[u8]) -> Option<Self> {
        (start.first() == Some(&subunit::SIGNATURE)).then_some(Self::Subunit)
    }

    fn read(self, input: impl BufRead, found: &mut Bounded) -> Result<(), Fault> {
        match self {
            Self::Junit => junit::read(input, found),
            Self::Tap => tap::read(input, found),
            Self::Subunit => subunit::read(input, found),
        }
    }
}

/// What the files in `folder` say; none if there is no result file at all.
///
/// Each step of a build begins with this folder empty, so all that is in it is that step's.
pub(super) fn gather(folder: &Path) -> Option<TestResults> {
    let mut found = Bounded::default();
    folder::read(folder, &mut found);
    found.finish()
}

/// The same without holding up what else the slave does: foreign code decides how much there is to read.
pub(super) async fn gather_apart(build: BuildId, folder: PathBuf) -> Option<TestResults> {
    let reading = tokio::task::spawn_blocking(move || gather(&folder));
    reading.await.unwrap_or_else(|error| {
        tracing::error!(%build, %error, "test results not read");
        None
    })
}
