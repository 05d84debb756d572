//! `pybots slave limits`: what scripts may use, and what must be left of the machine.
//!
//! The document that `--json` writes:
//!
//! | field | holds |
//! |---|---|
//! | `schema` | `pybots.limits.v1` |
//! | `commands` | for each command id the most that it may use: times in `_seconds`, sizes in `_bytes`, counts; `null`: no limit |
//! | `host` | what must be left of the machine before anything is started, each with its value `now`; `null`: not known here |

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::place::{Chosen, write_json};
use crate::cli::exit::{Exit, Failure};
use crate::model::CommandId;
use crate::slave::{Host, HostLimits, OnBattery, StepLimits};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Chosen,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    commands: BTreeMap<&'a CommandId, CommandDocument>,
    host: HostDocument,
}

#[derive(Serialize)]
struct CommandDocument {
    wall_seconds: u64,
    silent_seconds: u64,
    cpu_seconds: Option<u64>,
    memory_bytes: u64,
    processes: u32,
    open_files: u64,
    disk_bytes: u64,
    log_bytes: u64,
    log_bytes_per_second: u64,
}

#[derive(Serialize)]
struct HostDocument {
    parallel_builds: usize,
    free_disk_bytes: u64,
    free_disk_bytes_now: Option<u64>,
    load: Option<f64>,
    load_now: Option<f64>,
    on_battery: &'static str,
    on_battery_now: Option<bool>,
}

impl From<&StepLimits> for CommandDocument {
    fn from(limits: &StepLimits) -> Self {
        Self {
            wall_seconds: limits.wall.as_secs(),
            silent_seconds: limits.silent.as_secs(),
            cpu_seconds: limits.cpu.map(|cpu| cpu.as_secs()),
            memory_bytes: limits.memory,
            processes: limits.processes,
            open_files: limits.open_files,
            disk_bytes: limits.disk,
            log_bytes: limits.log,
            log_bytes_per_second: limits.log_rate,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = arguments.which.config()?;
    let now = Host::look(&config.state);
    if arguments.json {
        let commands = config.commands.iter();
        return write_json(&Document {
            schema: "pybots.limits.v1",
            commands: commands
                .map(|(id, mapping)| (id, (&mapping.limits).into()))
                .collect(),
            host: HostDocument {
                parallel_builds: config.host.parallel_builds,
                free_disk_bytes: config.host.free_disk,
                free_disk_bytes_now: now.free_disk,
                load: config.host.load,
                load_now: now.load,
                on_battery: battery_word(config.host.on_battery),
                on_battery_now: now.on_battery,
            },
        });
    }
    let mut out = anstream::stdout();
    writeln!(out, "Most that a script may use, with all that it starts:")?;
    if config.commands.is_empty() {
        writeln!(out, "  no command is mapped, so nothing can run here")?;
    }
    let commands = config.commands.iter();
    let rows: Vec<(&str, &StepLimits)> = commands
        .map(|(id, mapping)| (id.as_str(), &mapping.limits))
        .collect();
    write_steps(&rows, &mut out)?;
    writeln!(out, "Before anything is started:")?;
    write_host(&config.host, now, &mut out)?;
    Ok(Exit::Ok)
}

fn write_steps(rows: &[(&str, &StepLimits)], out: &mut impl io::Write) -> io::Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, limits) in rows {
        let cpu = limits.cpu.map_or_else(
            || "no limit of CPU time".to_owned(),
            |cpu| minutes(cpu) + " CPU time",
        );
        writeln!(
            out,
            "  {name:width$}  {}, {} without output, {cpu}",
            minutes(limits.wall),
            minutes(limits.silent)
        )?;
        writeln!(
            out,
            "  {:width$}  {} memory, {} processes, {} open files each",
            "",
            size(limits.memory),
            limits.processes,
            limits.open_files
        )?;
        writeln!(
            out,
            "  {:width$}  {} disk, {} log at {} a second",
            "",
            size(limits.disk),
            size(limits.log),
            size(limits.log_rate)
        )?;
    }
    Ok(())
}

fn write_host(limits: &HostLimits, now: Host, out: &mut impl io::Write) -> io::Result<()> {
    let unknown = || "not known here".to_owned();
    let builds = limits.parallel_builds;
    writeln!(out, "  builds at once  {builds}")?;
    writeln!(
        out,
        "  free disk       at least {}; now {}",
        size(limits.free_disk),
        now.free_disk.map_or_else(unknown, size)
    )?;
    let load = limits.load.map_or_else(
        || "no limit".to_owned(),
        |load| format!("at most {load:.2}"),
    );
    let load_now = now.load.map_or_else(unknown, |load| format!("{load:.2}"));
    writeln!(out, "  load average    {load}; now {load_now}")?;
    let battery = match limits.on_battery {
        OnBattery::Defer => "builds wait",
        OnBattery::Run => "builds run",
    };
    let battery_now = now.on_battery.map_or_else(
        || "no battery is known here".to_owned(),
        |drained| if drained { "on battery now" } else { "not now" }.to_owned(),
    );
    writeln!(out, "  on battery      {battery}; {battery_now}")
}

fn battery_word(on_battery: OnBattery) -> &'static str {
    match on_battery {
        OnBattery::Defer => "defer",
        OnBattery::Run => "run",
    }
}

fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs() / 60)
}

fn size(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1 << 20;
    const GIBIBYTE: u64 = 1 << 30;
    if bytes >= GIBIBYTE {
        let tenths = bytes % GIBIBYTE * 10 / GIBIBYTE;
        format!("{}.{tenths} GiB", bytes / GIBIBYTE)
    } else {
        format!("{} MiB", bytes / MEBIBYTE)
    }
}
