//! `pybots slave audit`: the owner's own record, and what others say in the slave's name.
//!
//! `--json` writes the lines as they stand in the record, one object a line; with `--compare`, one document:
//!
//! | field | holds |
//! |---|---|
//! | `schema` | `pybots.audit.v1` |
//! | `foreign` | reports in this slave's name that it never made: `report`, `build`, `issued` |
//! | `unreached` | orders that never reached it: `command`, `build`, `issued`, `accept_by` |
//! | `missing` | reports on record that the bus does not hold, though it holds later ones |
//! | `unsent` | how many reports are on record and later than all that the bus holds |
//! | `unordered` | commands on record that the bus does not hold, though it holds earlier ones: `command`, `build` |

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::place::{Chosen, write_json};
use crate::bus::{BusError, Stream};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::status::{parse_age, viewer};
use crate::cli::{farm_file, files};
use crate::model::{Command, Report, SlaveName, Timestamp};
use crate::slave::{Audit, Comparison, Event, Line, Public, Record, Said, compare};
use crate::status::{Entry, Viewer, open_report};
use crate::trust::Purpose;

pub(super) const EXAMPLES: &str = "\
Examples:
  pybots slave audit --since 1d
  pybots slave audit foo-linux/42
  pybots slave audit --compare --farm farm.toml";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Only what is about this build, or this command by the first digits of its id.
    #[arg(value_name = "BUILD|COMMAND")]
    about: Option<String>,
    /// Only what is at most so old, such as 90s, 15m, 2h or 3d.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    since: Option<Duration>,
    /// Hold the record against the farm's streams, and name what differs.
    #[arg(long, conflicts_with_all = ["about", "since"])]
    compare: bool,
    #[command(flatten)]
    farm: farm_file::Which,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Chosen,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let place = arguments.which.place()?;
    let record = Audit::of(&place.state).read().map_err(Failure::error)?;
    let exit = if arguments.compare {
        let config = arguments.which.config()?;
        let key = files::secret_key(&config.report_key())?.id();
        let mut public = public(&mut viewer(&arguments.farm).await?, &config.name).await?;
        // What was ordered of a slave of this name with another key was not ordered of this one.
        public.orders.retain(|(_, build)| build.report_key == key);
        show_comparison(&compare(&record, &public), arguments.json)?
    } else {
        let from = arguments
            .since
            .map_or(Timestamp(0), |age| place.now.before(age));
        let about = arguments.about.as_deref();
        show(&record, from, about, arguments.json)?
    };
    match record.fault {
        None => Ok(exit),
        Some(fault) => Err(Failure::new(Exit::Unverified, fault).advice(
            "What stands from there on in audit.log cannot be relied on. If it was not you, somebody has been in your state folder.",
        )),
    }
}

fn show(
    record: &Record,
    from: Timestamp,
    about: Option<&str>,
    json: bool,
) -> Result<Exit, Failure> {
    let mut out = anstream::stdout();
    let chosen = record
        .lines
        .iter()
        .filter(|line| line.time >= from && about.is_none_or(|about| is_about(line, about)));
    for line in chosen {
        if json {
            serde_json::to_writer(&mut out, line).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}  {}", line.time, sentence(&line.event))?;
        }
    }
    Ok(Exit::Ok)
}

fn is_about(line: &Line, about: &str) -> bool {
    line.event.command().is_some_and(|(command, build)| {
        build.as_str() == about || command.to_hex().starts_with(about)
    })
}

fn sentence(event: &Event) -> String {
    match event {
        Event::Started { sequence, .. } => format!("slave started, after {sequence} reports"),
        Event::Accepted {
            command,
            build,
            signer,
        } => format!(
            "{build} accepted: command {} by key {signer}",
            command.short()
        ),
        Event::Deferred {
            command,
            build,
            until,
            code,
            why,
        } => format!(
            "{build} put off until {until}: command {}, {code}: {why}",
            command.short()
        ),
        Event::Refused {
            command,
            build,
            code,
            why,
        } => format!(
            "{build} refused: command {}, {code}: {why}",
            command.short()
        ),
        Event::Said(said) => said_sentence(said),
        Event::Owner { act, detail } if detail.as_str().is_empty() => format!("owner: {act}"),
        Event::Owner { act, detail } => format!("owner: {act}, {detail}"),
    }
}

fn said_sentence(said: &Said) -> String {
    let mut sentence = format!("{} said {}", said.build, said.what);
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            sentence.extend([", ", what, " ", &value]);
        }
    };
    add("step", said.step.map(|step| step.to_string()));
    add("script", said.script.map(|script| script.to_string()));
    add("verdict", said.verdict.as_ref().map(ToString::to_string));
    add("CPU ms", said.cpu_ms.map(|cpu| cpu.to_string()));
    add("log bytes", said.log_bytes.map(|bytes| bytes.to_string()));
    add(
        "over the limit",
        said.limit.as_ref().map(ToString::to_string),
    );
    sentence
}

/// What the streams hold of that slave, verified here.
async fn public(viewer: &mut Viewer, slave: &SlaveName) -> Result<Public, BusError> {
    let subjects = viewer.bus().subjects().clone();
    let orders = subjects.commands_of(slave);
    let orders = viewer.bus().read_all(Stream::Commands, &orders, 0).await?;
    // Under another slave's subject, too, somebody may speak in this one's name.
    let reports = subjects.reports();
    let reports = viewer.bus().read_all(Stream::Results, &reports, 0).await?;
    let mut public = Public::default();
    for delivery in orders {
        let opened = viewer
            .reader()
            .open::<Command>(&delivery.bytes, Purpose::History);
        if let Ok(opened) = opened {
            let id = opened.id();
            if let Command::Build(build) = opened.into_body()
                && build.slave == *slave
            {
                public.orders.push((id, build));
            }
        }
    }
    for delivery in reports {
        if let Entry::Report(reported) = open_report(viewer.reader(), &delivery)
            && reported.report.body().slave == *slave
        {
            let report: Report = reported.report.body().clone();
            public.reports.push((reported.report.id(), report));
        }
    }
    // The streams deliver at least once.
    public.orders.sort_by_key(|(id, _)| *id);
    public.orders.dedup_by_key(|(id, _)| *id);
    public
        .reports
        .sort_by_key(|(id, report)| (report.sequence, *id));
    public.reports.dedup_by_key(|(id, _)| *id);
    Ok(public)
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    foreign: Vec<ForeignDocument>,
    unreached: Vec<OrderDocument>,
    missing: Vec<Said>,
    unsent: usize,
    unordered: Vec<CommandDocument>,
}

#[derive(Serialize)]
struct ForeignDocument {
    report: String,
    build: String,
    issued: Timestamp,
}

#[derive(Serialize)]
struct OrderDocument {
    command: String,
    build: String,
    issued: Timestamp,
    accept_by: Timestamp,
}

#[derive(Serialize)]
struct CommandDocument {
    command: String,
    build: String,
}

fn document(comparison: &Comparison) -> Document {
    let foreign = comparison.foreign.iter();
    let unreached = comparison.unreached.iter();
    let unordered = comparison.unordered.iter();
    Document {
        schema: "pybots.audit.v1",
        foreign: foreign
            .map(|(id, report)| ForeignDocument {
                report: id.to_hex(),
                build: format!("{}/{}", report.builder, report.number),
                issued: report.issued,
            })
            .collect(),
        unreached: unreached
            .map(|(id, build)| OrderDocument {
                command: id.to_hex(),
                build: build.id().to_string(),
                issued: build.issued,
                accept_by: build.accept_by,
            })
            .collect(),
        missing: comparison.missing.clone(),
        unsent: comparison.unsent.len(),
        unordered: unordered
            .map(|(id, build)| CommandDocument {
                command: id.to_hex(),
                build: build.clone(),
            })
            .collect(),
    }
}

fn show_comparison(comparison: &Comparison, json: bool) -> Result<Exit, Failure> {
    let document = document(comparison);
    if json {
        write_json(&document)?;
    } else {
        let mut out = anstream::stdout();
        for report in &document.foreign {
            let ForeignDocument {
                build,
                issued,
                report,
            } = report;
            writeln!(
                out,
                "FOREIGN    {build}  report {report} of {issued} is in your name, and this slave never made it"
            )?;
        }
        for order in &document.unreached {
            let OrderDocument {
                build,
                issued,
                accept_by,
                ..
            } = order;
            writeln!(
                out,
                "unreached  {build}  ordered {issued}, to be accepted by {accept_by}, never reached this slave"
            )?;
        }
        for said in &document.missing {
            writeln!(
                out,
                "missing    {}  said {}, and the bus does not hold it",
                said.build, said.what
            )?;
        }
        for command in &document.unordered {
            let CommandDocument { build, command } = command;
            writeln!(
                out,
                "unordered  {build}  command {command} was accepted here, and the bus does not hold it"
            )?;
        }
        if document.unsent > 0 {
            say!("{} reports wait to be sent.", document.unsent);
        }
    }
    if document.foreign.is_empty() {
        say!("Everything on the bus in this slave's name is its own.");
        return Ok(Exit::Ok);
    }
    let message = format!(
        "{} reports in this slave's name are not its own",
        document.foreign.len()
    );
    Err(Failure::message(Exit::Unverified, message).advice(
        "Somebody else has its report key, or you went back to an older copy of this disk. If it was not you: tell the operator to revoke the key.",
    ))
}
