//! `pybots build list`.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::Which;
use crate::cli::status::{parse_age, style, viewer};
use crate::model::{BuilderName, ProjectName, Timestamp, Verdict};
use crate::status::{BuildStatus, json, text};

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
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
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
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let board = viewer(&arguments.which).await?.snapshot().await?;
    let now = clock::now();
    let mut builds: Vec<&BuildStatus> = board
        .builds()
        .filter(|build| arguments.wants(build, now))
        .collect();
    // Stable: what was ordered at one moment stays by builder and number.
    builds.sort_by_key(|build| std::cmp::Reverse(build.order.issued));
    let found = builds.len();
    builds.truncate(arguments.limit);
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
fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(stdout)
        .map(|(terminal_size::Width(width), _)| usize::from(width))
}
