//! `pybots build list`.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::Which;
use crate::cli::status::{parse_age, style, viewer};
use crate::model::{BuilderName, ProjectName, Timestamp, Verdict};
use crate::status::{Board, BuildStatus, json, text};

pub(super) const EXAMPLES: &str = "\
Examples:
  pybots build list --failed --since 2h
  pybots build list --builder foo-linux --limit 5";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Only builds of this project.
    #[arg(long)]
    project: Option<ProjectName>,
    /// Only builds of this builder.
    #[arg(long)]
    builder: Option<BuilderName>,
    /// Only builds that did not go well: those that are over and neither passed, warned nor skipped.
    #[arg(long)]
    failed: bool,
    /// Only builds ordered at most so long ago, such as 90s, 15m, 2h or 3d.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    since: Option<Duration>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn wants(&self, build: &BuildStatus, now: Timestamp) -> bool {
        let order = &build.order;
        let well = || build.verdict(now).is_none_or(Verdict::is_well);
        self.project
            .as_ref()
            .is_none_or(|project| *project == order.project)
            && self
                .builder
                .as_ref()
                .is_none_or(|builder| *builder == order.builder)
            && self.since.is_none_or(|age| order.issued >= now.before(age))
            && !(self.failed && well())
    }

    /// Whether the builder and the project are there: a name mistyped would else look like one without builds.
    fn check(&self, board: &Board, now: Timestamp) -> Result<(), Failure> {
        let rows = board.rows(now);
        let unknown = |what: &str, name: &str, advice: &str| {
            let message = format!("nothing to list for {what} {name}");
            Err(Failure::message(Exit::Error, message).advice(advice))
        };
        if let Some(builder) = &self.builder
            && !rows.iter().any(|row| row.builder == *builder)
            && !board.builds().any(|build| build.order.builder == *builder)
        {
            let advice = "There is no builder of that name. pybots status lists them.";
            return unknown("builder", builder.as_str(), advice);
        }
        if let Some(project) = &self.project
            && !rows.iter().any(|row| row.project.as_ref() == Some(project))
            && !board.builds().any(|build| build.order.project == *project)
        {
            let advice = "There is no project of that name, or no build of it yet. pybots status lists them.";
            return unknown("project", project.as_str(), advice);
        }
        Ok(())
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let board = viewer(&arguments.which).await?.snapshot().await?;
    let now = clock::now();
    arguments.check(&board, now)?;
    let mut builds: Vec<&BuildStatus> = board
        .builds()
        .filter(|build| arguments.wants(build, now))
        .collect();
    // Stable: what was ordered at one moment stays by builder and number.
    builds.sort_by_key(|build| std::cmp::Reverse(build.order.issued));
    let found = builds.len();
    builds.truncate(usize::try_from(arguments.limit).unwrap_or(usize::MAX));
    let mut out = anstream::stdout();
    if arguments.json {
        json::write_builds(&board, &builds, now, &mut out)?;
    } else if builds.is_empty() {
        let all = board.builds().count();
        say!("No build to list; there are {all} in all.");
    } else {
        text::write_builds(&board, &builds, now, terminal_width(), style(), &mut out)?;
    }
    if found > builds.len() {
        let more = found - builds.len();
        say!("{more} older ones are not listed; --limit {found} lists them.");
    }
    Ok(Exit::Ok)
}

/// How many columns fit, if somebody looks.
pub(super) fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stdout)
        .map(|(terminal_size::Width(width), _)| usize::from(width))
}
