//! `pybots status`: how things stand.

mod serve;

use std::time::Duration;

use super::clock;
use super::exit::{Exit, Failure, say};
use super::farm_file::Which;
use crate::bus::Patience;
use crate::model::Timestamp;
use crate::status::text::Style;
use crate::status::{BusState, Entry, TailNext, ViewError, Viewer, json, text};

const EXAMPLES: &str = "\
Examples:
  pybots status --farm farm.toml
  pybots status tail --follow
  pybots status serve --listen 127.0.0.1:8080";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// Whether it goes on for long, unattended.
    pub(super) fn is_service(&self) -> bool {
        matches!(self.command, Some(Command::Serve(_)))
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the reports of the results stream, each verified here; what does not verify is shown as that.
    Tail {
        #[command(flatten)]
        which: Which,
        /// Begin at this sequence of the results stream, or with what is at most so old, such as 90s, 15m, 2h or 3d.
        #[arg(long, value_name = "SEQUENCE|AGE", value_parser = parse_since)]
        since: Option<Since>,
        /// Go on with what comes, until Ctrl-C.
        #[arg(long, short)]
        follow: bool,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
    /// Serve the status page.
    Serve(serve::Arguments),
}

/// Where a tail begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Since {
    Sequence(u64),
    Age(Duration),
}

fn parse_since(raw: &str) -> Result<Since, String> {
    if let Ok(sequence) = raw.parse() {
        return Ok(Since::Sequence(sequence));
    }
    parse_age(raw)
        .map(Since::Age)
        .map_err(|error| format!("a sequence, or {error}"))
}

/// Reads an age such as 90s, 15m, 2h or 3d.
pub(super) fn parse_age(raw: &str) -> Result<Duration, String> {
    let seconds_of_unit = match raw.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some(_) | None => return Err("a number with s, m, h or d".to_owned()),
    };
    let number: u64 = raw[..raw.len() - 1]
        .parse()
        .map_err(|_| "a whole number before s, m, h or d".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds_of_unit)))
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        None => {
            let mut viewer = viewer(&arguments.which).await?;
            let board = viewer.snapshot().await?;
            let mut out = anstream::stdout();
            if arguments.json {
                let bus = BusState::Following;
                json::write_board(&viewer.farm(), &board, bus, clock::now(), &mut out)?;
            } else {
                text::write_board(&viewer.farm(), &board, clock::now(), style(), &mut out)?;
            }
            Ok(Exit::Ok)
        }
        Some(Command::Serve(mut serve)) => {
            if arguments.which.is_given() {
                serve.which = arguments.which;
            }
            serve::run(serve).await
        }
        Some(Command::Tail {
            which,
            since,
            follow,
            json,
        }) => {
            let which = if arguments.which.is_given() {
                arguments.which
            } else {
                which
            };
            tail(viewer(&which).await?, since, follow, json || arguments.json).await
        }
    }
}

/// Connects, and verifies the farm's keyring and roster.
pub(super) async fn viewer(which: &Which) -> Result<Viewer, Failure> {
    let file = which.read()?;
    let bus = file.connect(Patience::Brief).await?;
    Viewer::new(bus, file.farm).await.map_err(view_failure)
}

pub(super) fn view_failure(error: ViewError) -> Failure {
    match error {
        ViewError::Bus(error) => error.into(),
        ViewError::NoKeyring(_) => Failure::new(Exit::Unverified, error).advice(
            "Either the farm's master has never run (it publishes the keyring), or that id is another farm's.",
        ),
        ViewError::Keyring(_) => {
            Failure::new(Exit::Unverified, error).advice("Nothing of it is shown.")
        }
    }
}

/// Colours if the terminal and the user (`NO_COLOR`, `CLICOLOR`) want them.
pub(super) fn style() -> Style {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => Style::Plain,
        anstream::ColorChoice::Auto
        | anstream::ColorChoice::Always
        | anstream::ColorChoice::AlwaysAnsi => Style::Colour,
    }
}

async fn tail(
    mut viewer: Viewer,
    since: Option<Since>,
    follow: bool,
    as_json: bool,
) -> Result<Exit, Failure> {
    let (from, not_before) = match since {
        None => (1, Timestamp(0)),
        Some(Since::Sequence(sequence)) => (sequence, Timestamp(0)),
        Some(Since::Age(age)) => (1, clock::now().before(age)),
    };
    let mut out = anstream::stdout();
    let mut show = |entry: &Entry| -> std::io::Result<()> {
        if entry.stored() < not_before {
            return Ok(());
        }
        if as_json {
            json::write_entry(entry, &mut out)
        } else {
            text::write_entry(entry, style(), &mut out)
        }
    };
    if !follow {
        for entry in viewer.entries(from).await? {
            show(&entry)?;
        }
        return Ok(Exit::Ok);
    }
    let mut tail = viewer.tail(from).await?;
    loop {
        tokio::select! {
            next = tail.next() => match next {
                TailNext::Entry(entry) => show(&entry)?,
                TailNext::CaughtUp => {
                    if !as_json {
                        say!("That is all so far; what comes is shown as it comes. Ctrl-C ends this.");
                    }
                }
            },
            () = super::stop_signal() => return Ok(Exit::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_sequence_or_an_age() {
        assert_eq!(parse_since("42"), Ok(Since::Sequence(42)));
        assert_eq!(parse_since("2h"), Ok(Since::Age(Duration::from_secs(7200))));
        for bad in ["", "h", "2w", "-1", "1.5h", "ä"] {
            assert!(parse_since(bad).is_err(), "{bad:?}");
        }
    }
}
