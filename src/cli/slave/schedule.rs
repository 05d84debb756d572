//! `pybots slave schedule`: the quiet hours, and whether it is quiet now.
//!
//! The document that `--json` writes:
//!
//! | field | holds |
//! |---|---|
//! | `schema` | `pybots.schedule.v1` |
//! | `time_zone` | in which the hours are |
//! | `quiet` | the hours, as in slave.toml |
//! | `now` | when it looked |
//! | `quiet_until` | when the quiet hours of now end; `null` outside of them |
//! | `next_quiet` | when quiet hours begin next; `null` if they never do within a week |

use std::io::Write as _;

use serde::Serialize;

use super::place::{Chosen, write_json};
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure};
use crate::model::Timestamp;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Chosen,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    time_zone: String,
    quiet: Vec<String>,
    now: Timestamp,
    quiet_until: Option<Timestamp>,
    next_quiet: Option<Timestamp>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let schedule = arguments.which.config()?.schedule;
    let now = clock::now();
    let quiet_until = schedule.quiet_until(now);
    let next_quiet = schedule.next_quiet(now);
    if arguments.json {
        return write_json(&Document {
            schema: "pybots.schedule.v1",
            time_zone: schedule.zone_name(now),
            quiet: schedule.quiet().collect(),
            now,
            quiet_until,
            next_quiet,
        });
    }
    let mut out = anstream::stdout();
    if schedule.is_empty() {
        writeln!(
            out,
            "No quiet hours: builds are started at any time. To have some, in {}:\n\n  [schedule]\n  quiet = [\"22:00-08:00\"]",
            arguments.which.path().display()
        )?;
        return Ok(Exit::Ok);
    }
    for quiet in schedule.quiet() {
        writeln!(out, "quiet  {quiet}")?;
    }
    writeln!(
        out,
        "now    {} ({}): {}",
        schedule.local(now),
        schedule.zone_name(now),
        match quiet_until {
            Some(_) => "quiet, nothing new is started",
            None => "not quiet",
        }
    )?;
    let change = quiet_until
        .map(|until| (until, "quiet hours end"))
        .or_else(|| next_quiet.map(|next| (next, "quiet hours begin")));
    if let Some((time, what)) = change {
        writeln!(out, "next   {}: {what}", schedule.local(time))?;
    }
    Ok(Exit::Ok)
}
