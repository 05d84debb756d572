//! Subject names. Only values that are one token by construction are ever put into one.

use data_encoding::HEXLOWER;

use crate::model::{
    BuildId, BuilderName, FarmId, Position, ProjectName, RepositoryName, RequesterName, SlaveName,
};

/// The subjects of one farm, `pybots.<farm>.…`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// The subjects of `farm`.
    #[must_use]
    pub fn new(farm: &FarmId) -> Self {
        Self {
            prefix: format!("pybots.{}", farm.token()),
        }
    }

    /// One keyring.
    #[must_use]
    pub fn keyring(&self, position: Position) -> String {
        format!(
            "{}.keyring.{}.{}",
            self.prefix, position.generation, position.serial
        )
    }

    /// Every keyring of one generation.
    #[must_use]
    pub fn keyrings_of(&self, generation: u32) -> String {
        format!("{}.keyring.{generation}.*", self.prefix)
    }

    /// Every keyring.
    #[must_use]
    pub fn keyrings(&self) -> String {
        format!("{}.keyring.*.*", self.prefix)
    }

    /// One version of the roster.
    #[must_use]
    pub fn roster(&self, version: u64) -> String {
        format!("{}.roster.{version}", self.prefix)
    }

    /// Every version of the roster.
    #[must_use]
    pub fn rosters(&self) -> String {
        format!("{}.roster.*", self.prefix)
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> String {
        format!("{}.head", self.prefix)
    }

    /// Changes of one branch. A branch is no token, so the first 16 hexadecimal digits of `branch_digest`, the SHA-256 of
    /// its name, stand for it.
    #[must_use]
    pub fn change(&self, repository: &RepositoryName, branch_digest: &[u8; 32]) -> String {
        format!(
            "{}.change.{repository}.{}",
            self.prefix,
            HEXLOWER.encode(&branch_digest[..8])
        )
    }

    /// Every change.
    #[must_use]
    pub fn changes(&self) -> String {
        format!("{}.change.*.*", self.prefix)
    }

    /// Releases of one project.
    #[must_use]
    pub fn release(&self, project: &ProjectName) -> String {
        format!("{}.release.{project}", self.prefix)
    }

    /// Every release.
    #[must_use]
    pub fn releases(&self) -> String {
        format!("{}.release.*", self.prefix)
    }

    /// What one requester asks.
    #[must_use]
    pub fn request(&self, requester: &RequesterName) -> String {
        format!("{}.request.{requester}", self.prefix)
    }

    /// Every request.
    #[must_use]
    pub fn requests(&self) -> String {
        format!("{}.request.*", self.prefix)
    }

    /// What the master answers to one requester.
    #[must_use]
    pub fn answer(&self, requester: &RequesterName) -> String {
        format!("{}.answer.{requester}", self.prefix)
    }

    /// Every answer.
    #[must_use]
    pub fn answers(&self) -> String {
        format!("{}.answer.*", self.prefix)
    }

    /// The leading master's signs of life.
    #[must_use]
    pub fn lease(&self) -> String {
        format!("{}.lease", self.prefix)
    }

    /// A hint that one repository may have changed. Nobody signs it and nobody keeps it.
    #[must_use]
    pub fn hint(&self, repository: &RepositoryName) -> String {
        format!("{}.hint.{repository}", self.prefix)
    }

    /// Every hint.
    #[must_use]
    pub fn hints(&self) -> String {
        format!("{}.hint.*", self.prefix)
    }

    /// Commands for one builder of one slave.
    #[must_use]
    pub fn command(&self, slave: &SlaveName, builder: &BuilderName) -> String {
        format!("{}.command.{slave}.{builder}", self.prefix)
    }

    /// Commands for every builder of one slave.
    #[must_use]
    pub fn commands_of(&self, slave: &SlaveName) -> String {
        format!("{}.command.{slave}.*", self.prefix)
    }

    /// Every command.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}.command.*.*", self.prefix)
    }

    /// Who leads.
    #[must_use]
    pub fn lead(&self) -> String {
        format!("{}.lead", self.prefix)
    }

    /// Reports of one builder.
    #[must_use]
    pub fn report(&self, slave: &SlaveName, builder: &BuilderName) -> String {
        format!("{}.result.{slave}.{builder}", self.prefix)
    }

    /// Every report of one slave.
    #[must_use]
    pub fn reports_of(&self, slave: &SlaveName) -> String {
        format!("{}.result.{slave}.*", self.prefix)
    }

    /// Every report: the results stream.
    #[must_use]
    pub fn reports(&self) -> String {
        format!("{}.result.*.*", self.prefix)
    }

    /// The log of one build.
    #[must_use]
    pub fn log(&self, slave: &SlaveName, build: &BuildId) -> String {
        format!(
            "{}.log.{slave}.{}.{}",
            self.prefix, build.builder, build.number
        )
    }

    /// Every log of one slave.
    #[must_use]
    pub fn logs_of(&self, slave: &SlaveName) -> String {
        format!("{}.log.{slave}.*.*", self.prefix)
    }

    /// Every log.
    #[must_use]
    pub fn logs(&self) -> String {
        format!("{}.log.*.*.*", self.prefix)
    }

    /// One slave's sign of life.
    #[must_use]
    pub fn presence(&self, slave: &SlaveName) -> String {
        format!("{}.presence.{slave}", self.prefix)
    }

    /// Every slave's sign of life.
    #[must_use]
    pub fn presences(&self) -> String {
        format!("{}.presence.*", self.prefix)
    }

    /// Where a stored message of `subject` (or of every subject that it stands for) is published again, live.
    #[must_use]
    pub fn live(&self, subject: &str) -> String {
        format!("live.{subject}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a105_a_command_subject_always_has_exactly_five_tokens(slave in "[a-z0-9][a-z0-9-]{0,47}", builder in "[a-z0-9][a-z0-9-]{0,47}") {
            let subjects = Subjects::new(&FarmId([9; 32]));
            let subject = subjects.command(&slave.parse().unwrap(), &builder.parse().unwrap());
            prop_assert_eq!(subject.split('.').count(), 5);
            let wild = subject.contains(['*', '>', ' ']);
            prop_assert!(!wild, "{}", subject);
        }
    }
}
