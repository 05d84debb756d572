//! `pybots doctor`: looks for what is wrong on this machine, and says what to do about it.
//!
//! Each check is a look at the world, bounded in time, and a judgement that is a function of what was seen. Nothing is
//! changed: no file is written, nothing is published.

mod backlog;
mod bus;
mod clock;
mod disk;
mod farm;
mod finding;
mod keyring;
mod keys;
mod limits;
mod owner;
mod patient;
mod presence;
mod scripts;
mod service;
mod tools;
mod write;

use std::sync::Arc;
use std::time::Duration;

use self::bus::{Visit, Who, skipped, visit};
use self::finding::{Check, Examination, Finding, Judgement, Part, State};
use self::keys::Keys;
use self::patient::{Named, Patient, Read};
use self::tools::Host;
use super::exit::{Exit, Failure};
use super::farm_file::FarmFile;
use super::keyrings::Keyrings;
use super::series::Series;
use super::{clock as system, files, slave, status};
use crate::bus::Login;
use crate::master::MasterConfig;
use crate::model::Position;
use crate::slave::SlaveConfig;

/// Longest that one look may take.
const LIMIT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  pybots doctor
  pybots doctor --slave farm/slave.toml
  pybots doctor --farm farm.toml --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    named: Named,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::error)?;
    let examination = runtime.block_on(examine(arguments.named));
    // A look at a dead disk, or for a name that nobody tells, is not waited for.
    runtime.shutdown_background();
    let mut out = anstream::stdout();
    if arguments.json {
        write::json(&examination, system::now(), &mut out)?;
    } else {
        write::text(&examination, status::style(), &mut out)?;
    }
    Ok(match examination.count(State::Fail) {
        0 => Exit::Ok,
        _ => Exit::Unhealthy,
    })
}

async fn examine(named: Named) -> Examination {
    let (patient, mut findings) = match at_most(move || named.read()).await {
        Some(read) => read,
        None => (Patient::default(), vec![late(Check::Config)]),
    };
    let patient = Arc::new(patient);
    let (slave_keys, master_keys) = keys(&patient, &mut findings).await;
    let (visits, scripts, owner, limits, backlog, service, disk, server, tools, sandbox) = tokio::join!(
        visits(&patient, slave_keys, master_keys),
        local(&patient, Check::Scripts, |patient| patient
            .slave
            .as_ref()
            .map_or_else(Vec::new, scripts::examine)),
        local(&patient, Check::Owner, |patient| patient
            .slave
            .as_ref()
            .map_or_else(Vec::new, |slave| owner::examine(
                slave,
                system::now()
            ))),
        of_slave(&patient, Check::Limits, limits::examine),
        of_slave(&patient, Check::Backlog, backlog::examine),
        of_slave(&patient, Check::Service, service::examine),
        local(&patient, Check::Disk, disks),
        local(&patient, Check::NatsServer, |patient| {
            vec![tools::nats_server(host(patient)).of_machine(Check::NatsServer)]
        }),
        tools::examine(&patient),
        local(&patient, Check::Sandbox, |patient| {
            vec![tools::sandbox(patient).of_machine(Check::Sandbox)]
        }),
    );
    let all = [
        visits, scripts, owner, limits, backlog, service, disk, server, tools, sandbox,
    ];
    findings.extend(all.into_iter().flatten());
    Examination::new(findings)
}

/// Does something that may block, and waits for it no longer than [`LIMIT`].
async fn at_most<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(look))
        .await
        .ok()?
        .ok()
}

async fn local(
    patient: &Arc<Patient>,
    check: Check,
    look: fn(&Patient) -> Vec<Finding>,
) -> Vec<Finding> {
    let patient = Arc::clone(patient);
    at_most(move || look(&patient))
        .await
        .unwrap_or_else(|| vec![late(check)])
}

/// Looks at what belongs to a slave, if one is here.
async fn of_slave(
    patient: &Arc<Patient>,
    check: Check,
    look: fn(&Read<SlaveConfig>) -> Vec<Judgement>,
) -> Vec<Finding> {
    if patient.slave.is_none() {
        return Vec::new();
    }
    let patient = Arc::clone(patient);
    let judged = at_most(move || patient.slave.as_ref().map_or_else(Vec::new, look)).await;
    match judged {
        Some(judged) => {
            let of_slave = |judgement: Judgement| judgement.of(check, Part::Slave);
            judged.into_iter().map(of_slave).collect()
        }
        None => vec![late(check)],
    }
}

fn late(check: Check) -> Finding {
    Judgement::fail(
        format!("no answer within {} s", LIMIT.as_secs()),
        "whether this is in order is not known",
        "try again; if it stays so, look for a disk, a network folder or a program that hangs",
    )
    .of_machine(check)
}

/// Looks at the private keys, and at the keyring that a master has as a file.
async fn keys(patient: &Arc<Patient>, findings: &mut Vec<Finding>) -> (Option<Keys>, Option<Keys>) {
    let shared = Arc::clone(patient);
    let look = at_most(move || {
        let slave = shared
            .slave
            .as_ref()
            .map(|read| keys::of_slave(&read.config));
        let master = shared.master.as_ref().map(|read| {
            let (mut found, mut keys) = keys::of_master(&read.config);
            let keyring = own_keyring(&read.config, keys.as_mut(), &mut found);
            // With another farm's id, what lies on the bus would look like damage.
            let keys = keyring.and(keys).map(|keys| Keys { keyring, ..keys });
            (found, keys)
        });
        (slave, master)
    });
    let Some((slave, master)) = look.await else {
        findings.push(late(Check::Keys));
        return (None, None);
    };
    let mut usable = |looked: Option<(Vec<Finding>, Option<Keys>)>| {
        let (found, keys) = looked?;
        findings.extend(found);
        keys
    };
    (usable(slave), usable(master))
}

/// Whether the farm id in `master.toml` is that of the master's keyrings, and a signing key here in force: of those that
/// lie in the file and beside it, `keys` holds the one that a master would use then. If so, where the newest of the
/// keyrings stands.
fn own_keyring(
    config: &MasterConfig,
    keys: Option<&mut Keys>,
    findings: &mut Vec<Finding>,
) -> Option<Position> {
    let series = Series::of(&config.keyring);
    let keyrings = match Keyrings::load(series, Some(&config.farm), None) {
        Ok(keyrings) => keyrings,
        Err(error) => {
            let judgement = Judgement::fail(
                Failure::from(error).sentence(),
                "the master does not start",
                "correct farm or keyring in master.toml; the id of a keyring says pybots keys show",
            );
            findings.push(judgement.of(Check::FarmId, Part::Master));
            return None;
        }
    };
    let keyring = keyrings.newest();
    findings.push(farm::judge_keyring(keyring, &config.farm).of(Check::FarmId, Part::Master));
    if let Some(keys) = keys {
        let now = system::now();
        if let Ok(key) = files::signing_key(&config.signing_key, &keyrings.reader, now) {
            keys.public = key.public();
        }
        let window = farm::window_of(keyring, keys.public);
        let judgement = farm::judge_signing_key(window, now);
        findings.push(judgement.of(Check::SigningKey, Part::Master));
    }
    Some(keyring.position)
}

/// Visits the bus with each login, all at once.
async fn visits(
    patient: &Patient,
    slave_keys: Option<Keys>,
    master_keys: Option<Keys>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let as_slave = patient.slave.as_ref().zip(slave_keys);
    let application = as_slave.as_ref().map_or_else(String::new, |(read, keys)| {
        slave::application(&read.config, keys.public, keys.nkey.clone()).to_string()
    });
    let mut unable = |part| {
        let no_login =
            Judgement::skip("not tried before what is wrong with its keys or keyring is mended");
        findings.push(no_login.of(Check::Bus, part));
        findings.extend(skipped(part));
    };
    if patient.slave.is_some() && as_slave.is_none() {
        unable(Part::Slave);
    }
    let as_master = patient.master.as_ref().zip(master_keys);
    if patient.master.is_some() && as_master.is_none() {
        unable(Part::Master);
    }
    let slave = as_slave.as_ref().map(|(read, keys)| Visit {
        who: Who::Slave {
            config: &read.config,
            key: keys.public,
            application: &application,
        },
        file: read.path.clone(),
        address: &read.config.bus,
        farm: read.config.farm,
        login: Login::Key {
            name: read.config.name.to_string(),
            seed: keys.seed.clone(),
        },
        name: keys.nkey.clone(),
    });
    let master = as_master.as_ref().map(|(read, keys)| Visit {
        who: Who::Master {
            config: &read.config,
            key: keys.public,
            keyring: keys.keyring.unwrap_or_default(),
        },
        file: read.path.clone(),
        address: &read.config.bus,
        farm: read.config.farm,
        login: Login::Key {
            name: "master".to_owned(),
            seed: keys.seed.clone(),
        },
        name: keys.nkey.clone(),
    });
    let viewer = patient.farm.as_ref().map(|read| Visit {
        who: Who::Viewer,
        file: read.path.clone(),
        address: &read.config.bus,
        farm: read.config.farm,
        login: read.config.login(),
        name: read.config.viewer.user.clone(),
    });
    let all = [slave, master, viewer].into_iter().flatten();
    let visited =
        futures_util::future::join_all(all.map(|planned| visit(planned, system::now))).await;
    let mut samples = Vec::new();
    for (found, sampled) in visited {
        findings.extend(found);
        samples.extend(sampled);
    }
    findings.push(clock::judge(&samples).of_machine(Check::Clock));
    findings
}

fn disks(patient: &Patient) -> Vec<Finding> {
    let slave = patient
        .slave
        .as_ref()
        .map(|read| (&read.config.state, Part::Slave));
    let master = patient
        .master
        .as_ref()
        .map(|read| (&read.config.state, Part::Master));
    slave
        .into_iter()
        .chain(master)
        .map(|(folder, part)| disk::examine(folder).of(Check::Disk, part))
        .collect()
}

/// Whether this machine runs the bus, as far as its files say.
fn host(patient: &Patient) -> Host {
    let master = patient.master.as_ref();
    let leads = master.is_some_and(|read| read.config.bus.is_loopback());
    let farm = patient.farm.as_ref();
    if leads || farm.is_some_and(|read| FarmFile::is_of_up(&read.path)) {
        Host::Runs
    } else {
        Host::RunsNot
    }
}
