//! One login's visit to the bus: it asks, and leaves nothing there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::LIMIT;
use super::clock::Sample;
use super::farm::{
    Own, Seen, Silence, judge_bad_head, judge_head, judge_keyring, judge_line, judge_no_keyring,
    judge_roster, judge_signing_key, judge_streams, window_of,
};
use super::finding::{Check, Finding, Judgement, Part};
use super::keyring::{Beside, judge_chain};
use super::presence::{Signs, signs};
use crate::bus::{Bus, BusAddress, BusError, BusTrouble, Login, Patience, Stream, TimeSource};
use crate::cli::exit::Failure;
use crate::cli::farm_file::FarmFile;
use crate::master::MasterConfig;
use crate::model::{Build, BuilderName, Clock, FarmId, Head, Position, PublicKey, Text};
use crate::slave::SlaveConfig;
use crate::status::text::span;
use crate::status::{ViewError, Viewer};
use crate::trust::{Purpose, Reader};
use crate::wire::Subjects;

/// Who visits.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    Slave {
        config: &'a SlaveConfig,
        key: PublicKey,
        /// The line for the operator.
        application: &'a str,
    },
    Master {
        config: &'a MasterConfig,
        key: PublicKey,
        /// The newest keyring in its files.
        keyring: Position,
    },
    Viewer,
}

impl Who<'_> {
    fn part(self) -> Part {
        match self {
            Self::Slave { .. } => Part::Slave,
            Self::Master { .. } => Part::Master,
            Self::Viewer => Part::Viewer,
        }
    }

    /// The streams that its login may read.
    fn streams(self) -> &'static [Stream] {
        match self {
            Self::Slave { .. } => &[Stream::Keyring, Stream::Roster, Stream::Head],
            Self::Master { .. } | Self::Viewer => &Stream::ALL,
        }
    }

    fn silence(self) -> Silence {
        let usual = Silence {
            odd: Head::PERIOD * 3,
            deadly: Head::MAX_AGE,
        };
        match self {
            Self::Slave { config, .. } => Silence {
                deadly: config.max_head_age,
                ..usual
            },
            Self::Master { config, .. } => Silence {
                odd: (config.head_period * 3).max(Duration::from_secs(60)),
                ..usual
            },
            Self::Viewer => usual,
        }
    }
}

/// A visit to be made.
pub(super) struct Visit<'a> {
    pub(super) who: Who<'a>,
    pub(super) file: PathBuf,
    pub(super) address: &'a BusAddress,
    pub(super) farm: FarmId,
    pub(super) login: Login,
    /// How the login is named to the operator.
    pub(super) name: String,
}

/// What needs the bus, in case that it is not reached.
const BEHIND_THE_BUS: [Check; 6] = [
    Check::FarmId,
    Check::Keyring,
    Check::SigningKey,
    Check::Streams,
    Check::Head,
    Check::Roster,
];

/// Makes the visit.
pub(super) async fn visit(visit: Visit<'_>, clock: Clock) -> (Vec<Finding>, Vec<Sample>) {
    let Visit {
        who,
        file,
        address,
        farm,
        login,
        name,
    } = visit;
    let part = who.part();
    let subjects = Subjects::new(&farm);
    let connecting = Bus::connect(address, login, subjects, Patience::Brief);
    let bus = match tokio::time::timeout(LIMIT, connecting).await {
        Ok(Ok(bus)) => Ok(bus),
        Ok(Err(error)) => Err((error.trouble(), Failure::from(error).sentence())),
        Err(_) => Err((BusTrouble::Silent, String::new())),
    };
    let bus = match bus {
        Ok(bus) => bus,
        Err((trouble, sentence)) => {
            let shown = file.display().to_string();
            let place = Place {
                address,
                file: &shown,
                name: &name,
                start: if FarmFile::is_of_up(&file) {
                    "start the farm: pybots up"
                } else {
                    "start the farm's nats-server there"
                },
            };
            let mut findings =
                vec![judge_trouble(trouble, &sentence, who, place).of(Check::Bus, part)];
            findings.extend(skipped(part));
            return (findings, Vec::new());
        }
    };
    let (round_trip, streams, asked, (mut findings, stored)) = tokio::join!(
        round_trip(&bus, address, clock),
        within(streams(&bus, who)),
        within(ask_time(&bus, who, clock)),
        held(&bus, who, farm, clock),
    );
    findings.push(round_trip.of(Check::Bus, part));
    findings.push(streams.unwrap_or_else(unreadable).of(Check::Streams, part));
    let samples = asked.ok().flatten().into_iter().chain(stored);
    (findings, samples.collect())
}

/// What is said of all that could not be looked at.
pub(super) fn skipped(part: Part) -> Vec<Finding> {
    BEHIND_THE_BUS
        .into_iter()
        .map(|check| match (check, part) {
            (Check::Roster, Part::Slave) => Check::SlaveOnRoster,
            (other, _) => other,
        })
        .map(|check| Judgement::skip("not looked at, for want of the bus").of(check, part))
        .collect()
}

/// How a work at the bus failed.
type Unanswered = String;

async fn within<T>(work: impl Future<Output = Result<T, BusError>>) -> Result<T, Unanswered> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Text::tidy(&Failure::from(error).sentence())
            .as_str()
            .to_owned()),
        Err(_) => Err(format!(
            "the bus did not answer within {} s",
            LIMIT.as_secs()
        )),
    }
}

fn unreadable(why: Unanswered) -> Judgement {
    Judgement::fail(
        why,
        "what is there, and whether it is in order, is not known",
        "start pybots master run, which makes what is missing; else the operator looks at the log of nats-server",
    )
}

async fn round_trip(bus: &Bus, address: &BusAddress, clock: Clock) -> Judgement {
    let sent = clock();
    // A missing stream is an answer too.
    match within(bus.has_stream(Stream::Head)).await {
        Ok(_) => Judgement::ok(format!(
            "{address} lets this login in; it answers in {}",
            span(clock().since(sent))
        )),
        Err(why) => Judgement::fail(
            format!("{address} lets this login in, and then: {why}"),
            "nothing of the farm works here",
            "the operator compares this login's permissions with what pybots master approve or check prints",
        ),
    }
}

async fn streams(bus: &Bus, who: Who<'_>) -> Result<Judgement, BusError> {
    let mut seen = Vec::new();
    for stream in who.streams() {
        let what = match who {
            Who::Master { .. } => match bus.stream_state(*stream).await? {
                Some(state) => Seen::Described(state),
                None => Seen::Missing,
            },
            Who::Slave { .. } | Who::Viewer => {
                if bus.has_stream(*stream).await? {
                    Seen::There
                } else {
                    Seen::Missing
                }
            }
        };
        seen.push((*stream, what));
    }
    Ok(judge_streams(&seen))
}

async fn ask_time(bus: &Bus, who: Who<'_>, clock: Clock) -> Result<Option<Sample>, BusError> {
    let source = match who {
        Who::Slave { config, .. } => TimeSource::Consumer(&config.name),
        Who::Master { .. } => TimeSource::Stream(Stream::Keyring),
        Who::Viewer => return Ok(None),
    };
    let sent = clock();
    let server = bus.server_time(source).await?;
    let received = clock();
    Ok(server.map(|server| Sample::Asked {
        sent,
        server,
        received,
    }))
}

/// Reads what the bus holds: keyring, roster, head.
async fn held(
    bus: &Bus,
    who: Who<'_>,
    farm: FarmId,
    clock: Clock,
) -> (Vec<Finding>, Option<Sample>) {
    let part = who.part();
    let viewing = tokio::time::timeout(LIMIT, Viewer::new(bus.clone(), farm));
    let judgement = match viewing.await {
        Ok(Ok(viewer)) => return believed(bus, who, viewer.reader(), clock).await,
        Ok(Err(error @ (ViewError::NoKeyring(_) | ViewError::Keyring(_)))) => {
            judge_no_keyring(&Failure::error(error).sentence(), part)
        }
        Ok(Err(ViewError::Bus(error))) => unreadable(Failure::from(error).sentence()),
        Err(_) => unreadable(format!(
            "the bus did not answer within {} s",
            LIMIT.as_secs()
        )),
    };
    let mut findings = vec![judgement.of(Check::FarmId, part)];
    findings.extend(skipped(part).into_iter().filter_map(|mut finding| {
        finding.judgement = Judgement::skip("not looked at, for want of the farm's keyring");
        let other = !matches!(finding.check, Check::FarmId | Check::Streams);
        other.then_some(finding)
    }));
    (findings, None)
}

/// What can be said once the farm's keyring is known.
async fn believed(
    bus: &Bus,
    who: Who<'_>,
    reader: &Reader,
    clock: Clock,
) -> (Vec<Finding>, Option<Sample>) {
    let part = who.part();
    let keyring = reader.keyring();
    let window = match who {
        Who::Master { key, .. } => window_of(keyring, key),
        Who::Slave { .. } | Who::Viewer => keyring
            .signing_keys
            .iter()
            .max_by_key(|window| window.not_after),
    };
    let signs = match who {
        Who::Slave { .. } => Signs::default(),
        Who::Master { .. } | Who::Viewer => signs(bus, reader, clock()).await,
    };
    let beside = Beside {
        files: match who {
            Who::Master { keyring, .. } => Some(keyring),
            Who::Slave { .. } | Who::Viewer => None,
        },
        behind: &signs.behind,
    };
    let roster = match who {
        Who::Slave {
            config,
            key,
            application,
        } => {
            let builders: Vec<&BuilderName> = config.builders.keys().collect();
            let own = Own {
                name: &config.name,
                key,
                builders: &builders,
                application,
            };
            judge_line(reader.roster(), own).of(Check::SlaveOnRoster, part)
        }
        Who::Master { config, .. } => {
            judge_roster(reader.roster(), &config.builders, &signs.silent).of(Check::Roster, part)
        }
        Who::Viewer => {
            judge_roster(reader.roster(), &BTreeMap::new(), &signs.silent).of(Check::Roster, part)
        }
    };
    let (head, sample) = head(bus, who, reader, clock).await;
    let findings = vec![
        judge_keyring(keyring, reader.farm()).of(Check::FarmId, part),
        judge_chain(reader.chain(), beside, clock()).of(Check::Keyring, part),
        judge_signing_key(window, clock()).of(Check::SigningKey, part),
        roster,
        head.of(Check::Head, part),
    ];
    (findings, sample)
}

async fn head(
    bus: &Bus,
    who: Who<'_>,
    reader: &Reader,
    clock: Clock,
) -> (Judgement, Option<Sample>) {
    let subject = bus.subjects().head();
    let delivery = match within(bus.read_newest(Stream::Head, &subject)).await {
        Ok(delivery) => delivery,
        Err(why) => return (unreadable(why), None),
    };
    let now = clock();
    let Some(delivery) = delivery else {
        return (judge_head(None, who.silence(), now), None);
    };
    let sample = Sample::Stored {
        server: delivery.stored,
        received: now,
    };
    let judgement = match reader.open::<Head>(&delivery.bytes, Purpose::Admit { now }) {
        Ok(head) if head.body().time > now.after(Build::CLOCK_SKEW) => {
            judge_bad_head("it is from the future, or this clock is behind")
        }
        Ok(head) => judge_head(Some(head.body().time), who.silence(), now),
        Err(error) => judge_bad_head(&format!("{} ({})", error, error.code())),
    };
    (judgement, Some(sample))
}

/// Where somebody tried to log in, by which file, as whom.
#[derive(Clone, Copy)]
struct Place<'a> {
    address: &'a BusAddress,
    file: &'a str,
    name: &'a str,
    /// What starts the bus.
    start: &'a str,
}

/// A bus that was not reached, or that lets nobody in.
fn judge_trouble(trouble: BusTrouble, sentence: &str, who: Who<'_>, place: Place<'_>) -> Judgement {
    let Place {
        address,
        file,
        name,
        start,
    } = place;
    let effect = match who {
        Who::Slave { .. } => "the slave gets no commands; what it has to report waits here",
        Who::Master { .. } => "the farm stands still",
        Who::Viewer => "the farm cannot be looked at",
    };
    let right_address = format!("correct bus in {file}");
    match trouble {
        BusTrouble::Name => Judgement::fail(
            format!("nobody knows the name in {address}"),
            effect,
            format!("{right_address}; or mend this machine's name resolution"),
        ),
        BusTrouble::Refused => Judgement::fail(
            format!("{address} refuses connections: nobody listens there"),
            effect,
            format!("{start}; or {right_address}"),
        ),
        BusTrouble::Silent => Judgement::fail(
            format!("{address} does not answer within {} s", LIMIT.as_secs()),
            effect,
            format!("{right_address}; or let connections there through the firewall"),
        ),
        BusTrouble::Tls => Judgement::fail(
            format!(
                "no encrypted connection to {address}: {}",
                Text::tidy(sentence).as_str()
            ),
            effect,
            "the operator looks at the certificate of nats-server, and you at this machine's clock",
        ),
        BusTrouble::Login => Judgement::fail(
            format!("{address} refuses the login {name}"),
            effect,
            match who {
                Who::Slave { application, .. } => format!(
                    "the operator types: pybots master approve {application} && pybots master logins users.conf, and reloads nats-server"
                ),
                Who::Master { .. } => {
                    format!(
                        "write the logins anew and reload nats-server: pybots master logins users.conf --config {file}"
                    )
                }
                Who::Viewer => "get the farm's newest farm.toml from its operator".to_owned(),
            },
        ),
        BusTrouble::Other => Judgement::fail(
            Text::tidy(sentence).as_str(),
            effect,
            format!("is that a nats-server? If not, {right_address}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_with_the_bus_is_told_from_the_others_and_has_a_fix() {
        let address = "nats://bus.example.org:4222".parse().unwrap();
        let place = Place {
            address: &address,
            file: "/b/farm.toml",
            name: "viewer",
            start: "start the farm's nats-server there",
        };
        let cases = [
            (
                BusTrouble::Name,
                "nobody knows the name in nats://bus",
                "correct bus in /b/farm.toml",
            ),
            (
                BusTrouble::Refused,
                "nobody listens there",
                "start the farm's nats-server",
            ),
            (BusTrouble::Silent, "does not answer within 5 s", "firewall"),
            (BusTrouble::Tls, "no encrypted connection", "certificate"),
            (
                BusTrouble::Login,
                "refuses the login viewer",
                "newest farm.toml",
            ),
            (
                BusTrouble::Other,
                "it said HTTP/1.1",
                "is that a nats-server?",
            ),
        ];
        for (trouble, found, fix) in cases {
            let judgement = judge_trouble(trouble, "it said HTTP/1.1", Who::Viewer, place);
            let Judgement::Fail(trouble) = judgement else {
                panic!("{trouble:?} is a failure");
            };
            assert!(trouble.found.contains(found), "{trouble:?}");
            assert!(trouble.fix.contains(fix), "{trouble:?}");
        }
    }
}
