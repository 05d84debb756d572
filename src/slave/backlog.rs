//! What a slave has not said yet, as seen from beside it.

use std::fs;
use std::io;
use std::path::Path;

use super::journal::{Journal, JournalError};
use super::keeper;
use super::run::Occupant;

/// What waits to be sent, and what is under way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Reports that the bus has not taken.
    pub reports: u64,
    /// Bytes of scripts' output that the stream does not have.
    pub log_bytes: u64,
    /// Builds that were accepted and have not ended.
    pub builds: usize,
    /// Scripts at work although no slave is; always none beside a slave.
    pub orphans: usize,
}

/// What waits could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum BacklogError {
    /// The state folder does not say who works there.
    #[error("the state folder cannot be read")]
    State(#[source] io::Error),
    /// The slave's memory fails.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Backlog {
    /// Looks at a state folder, without changing anything there.
    ///
    /// # Errors
    ///
    /// [`BacklogError`].
    pub fn of(state: &Path) -> Result<Self, BacklogError> {
        let occupant = Occupant::of(state).map_err(BacklogError::State)?;
        // A slave that runs asks for the same locks, and would take our hold on one for a keeper's.
        let orphans = match occupant {
            Occupant::Nobody => orphans(&state.join("jobs")).map_err(BacklogError::State)?,
            Occupant::Process(_) | Occupant::Unknown => 0,
        };
        let Some(journal) = Journal::look(&state.join("journal.db"))? else {
            return Ok(Self {
                orphans,
                ..Self::default()
            });
        };
        let logs = journal.open_logs()?;
        let unsent = logs.iter().map(|log| {
            let printed = fs::metadata(keeper::spool(&log.folder)).map_or(0, |spool| spool.len());
            printed.saturating_sub(log.sent)
        });
        Ok(Self {
            reports: journal.reports_waiting()?,
            log_bytes: unsent.sum(),
            builds: journal.open_builds()?.len(),
            orphans,
        })
    }
}

/// How many of these job folders a keeper holds.
fn orphans(jobs: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(jobs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let held = entries
        .flatten()
        .filter(|entry| keeper::is_held(&entry.path()));
    Ok(held.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_an_orphan_while_its_keeper_holds_it_and_no_slave_runs() {
        let state = tempfile::tempdir().unwrap();
        let orphans = || Backlog::of(state.path()).unwrap().orphans;
        assert_eq!(orphans(), 0, "no slave has ever run");
        let job = state.path().join("jobs/1");
        fs::create_dir_all(&job).unwrap();
        let lock = fs::File::create(job.join("lock")).unwrap();
        assert_eq!(orphans(), 0);
        lock.lock().unwrap();
        assert_eq!(orphans(), 1);
        let slave = fs::File::create(state.path().join("lock")).unwrap();
        slave.lock().unwrap();
        assert_eq!(orphans(), 0);
    }
}
