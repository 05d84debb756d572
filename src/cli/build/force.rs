//! `pybots build force`: a build, whether or not anything changed.

use std::str::FromStr;

use super::ask::{Asker, Asking, NOT_ASKED};
use super::wait::Waiting;
use crate::cli::exit::{Exit, Failure};
use crate::model::{
    Branch, BranchError, BuilderName, NameError, RepositoryName, Revision, RevisionError, Source,
    Wish,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  pybots build force foo-linux --reason 'try it again' --wait
  pybots build force foo-linux --reason 'is it this one?' --revision python=3f0c…";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Such as foo-linux.
    builder: BuilderName,
    /// What to build instead of the newest revision: such as python=3f0c…, in full. Once for each repository. The branch is
    /// that of the builder's newest build, unless it is named: python:3.15=3f0c….
    #[arg(long = "revision", value_name = "REPOSITORY=REVISION")]
    revisions: Vec<Wanted>,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    waiting: Waiting,
}

/// A revision that somebody wants built.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Wanted {
    repository: RepositoryName,
    branch: Option<Branch>,
    revision: Revision,
}

#[derive(Debug, thiserror::Error)]
enum WantedError {
    #[error("it is written REPOSITORY=REVISION")]
    Form,
    #[error(transparent)]
    Repository(#[from] NameError),
    #[error(transparent)]
    Branch(#[from] BranchError),
    #[error(transparent)]
    Revision(#[from] RevisionError),
}

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(raw: &str) -> Result<Self, WantedError> {
        let (place, revision) = raw.split_once('=').ok_or(WantedError::Form)?;
        let (repository, branch) = match place.split_once(':') {
            Some((repository, branch)) => (repository, Some(branch.parse()?)),
            None => (place, None),
        };
        Ok(Self {
            repository: repository.parse()?,
            branch,
            revision: revision.parse()?,
        })
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        builder,
        revisions,
        asking,
        waiting,
    } = arguments;
    check_distinct(&revisions)?;
    let mut asker = asking.open().await?;
    asker.check_builder(&builder)?;
    let sources = revisions
        .into_iter()
        .map(|wanted| source(&asker, &builder, wanted))
        .collect::<Result<_, Failure>>()?;
    let wish = Wish::Force {
        builder: builder.clone(),
        sources,
    };
    let granted = asker.ask(wish).await?;
    asker.say_granted(&format!("{builder} builds as soon as its turn comes"));
    waiting.wait(asker, &granted, &builder).await
}

fn check_distinct(revisions: &[Wanted]) -> Result<(), Failure> {
    for (place, wanted) in revisions.iter().enumerate() {
        let repository = &wanted.repository;
        if revisions[..place]
            .iter()
            .any(|other| other.repository == *repository)
        {
            let message = format!("--revision names {repository} twice");
            return Err(Failure::message(Exit::Usage, message).advice(NOT_ASKED));
        }
    }
    Ok(())
}

/// Adds the branch, where it is not named.
fn source(asker: &Asker, builder: &BuilderName, wanted: Wanted) -> Result<Source, Failure> {
    let Wanted {
        repository,
        branch,
        revision,
    } = wanted;
    let newest = asker.board.builds_of(builder).next_back();
    let sources = newest.map_or(&[][..], |build| &build.order.sources);
    let used = sources
        .iter()
        .find(|source| source.repository == repository);
    let branch = branch.or_else(|| used.map(|source| source.branch.clone()));
    let Some(branch) = branch else {
        let message = if newest.is_some() {
            format!("{builder} does not build from a repository {repository}")
        } else {
            format!("{builder} has built nothing yet, so the branch of {repository} is not known")
        };
        let advice =
            format!("Nothing was asked. If it should: --revision {repository}:BRANCH={revision}");
        return Err(Failure::message(Exit::Error, message).advice(advice));
    };
    Ok(Source {
        repository,
        branch,
        revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_revision_is_whole_and_may_name_its_branch() {
        let revision = "a".repeat(40);
        let wanted = |branch: Option<&str>| Wanted {
            repository: "python".parse().unwrap(),
            branch: branch.map(|branch| branch.parse().unwrap()),
            revision: revision.parse().unwrap(),
        };
        for (raw, expected) in [
            (format!("python={revision}"), Ok(wanted(None))),
            (format!("python:3.15={revision}"), Ok(wanted(Some("3.15")))),
            (
                "python".to_owned(),
                Err("it is written REPOSITORY=REVISION"),
            ),
            (
                "python=main".to_owned(),
                Err("a revision is 40 or 64 lower-case hexadecimal digits"),
            ),
            (
                format!("python:={revision}"),
                Err("a branch has 1 to 100 characters"),
            ),
            (
                format!("Python={revision}"),
                Err("a repository's name must begin with"),
            ),
        ] {
            match (raw.parse::<Wanted>(), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{raw}"),
                (Err(error), Err(sentence)) => {
                    assert!(error.to_string().starts_with(sentence), "{raw}: {error}");
                }
                (found, expected) => panic!("{raw}: {found:?}, not {expected:?}"),
            }
        }
    }
}
