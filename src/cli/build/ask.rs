//! A signed request to the master, and its signed answer.

use std::time::Duration;

use crate::bus::{Bus, Login, Patience, Stream};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::FarmFile;
use crate::cli::passphrase::PassphraseSource;
use crate::cli::requester_file::{As, RequesterFile};
use crate::cli::status::view_failure;
use crate::cli::{clock, files, slave, stop_signal};
use crate::model::{Answer, BuilderName, PayloadId, Request, RequesterName, Text, Timestamp, Wish};
use crate::status::json::{Asked, write_asked};
use crate::status::{Board, Viewer};
use crate::trust::{SecretKey, seal};
use crate::wire::Subjects;

pub(in crate::cli) const NOT_ASKED: &str = "Nothing was asked.";

/// How long the bus may take to store a request.
const STORE_PATIENCE: Duration = Duration::from_secs(20);

/// Who asks, why, and how long for an answer is waited.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Asking {
    /// Why. It stands in the command, and in what viewers see of it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    requester: As,
    /// How long to wait for the master's answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    answer_seconds: u64,
    /// As JSON, one object a line for each thing that happens.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    passphrases: PassphraseSource,
}

/// Somebody who is about to ask, and sees what a viewer sees.
pub(in crate::cli) struct Asker {
    name: RequesterName,
    key: SecretKey,
    reason: Text,
    patience: Duration,
    pub(in crate::cli) viewer: Viewer,
    /// As it was just before.
    pub(in crate::cli) board: Board,
    pub(in crate::cli) output: Output,
}

/// For whom is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum Output {
    People,
    Programs,
}

/// A request that the master has granted.
pub(in crate::cli) struct Granted {
    pub(in crate::cli) request: PayloadId,
    /// When it was asked, by the clock here.
    pub(in crate::cli) asked: Timestamp,
}

impl Asking {
    /// Reads the files, and what the bus knows.
    pub(in crate::cli) async fn open(&self) -> Result<Asker, Failure> {
        let reason = reason(&self.reason)?;
        let (requester, farm) = self.requester.read()?;
        let RequesterFile {
            name, key, bus_key, ..
        } = requester;
        let not_asked = |failure: Failure| failure.advice(NOT_ASKED);
        let key = files::secret_key_asking(&key, &self.passphrases).map_err(not_asked)?;
        let (seed, _) = files::bus_seed(&bus_key).map_err(not_asked)?;
        let login = Login::Key {
            name: name.to_string(),
            seed,
        };
        let mut viewer = connect(&farm, login).await?;
        let board = viewer
            .snapshot()
            .await
            .map_err(|error| not_asked(error.into()))?;
        Ok(Asker {
            name,
            key,
            reason,
            patience: Duration::from_secs(self.answer_seconds),
            viewer,
            board,
            output: if self.json {
                Output::Programs
            } else {
                Output::People
            },
        })
    }
}

fn reason(raw: &str) -> Result<Text, Failure> {
    let usage = |message: String| Failure::message(Exit::Usage, message).advice(NOT_ASKED);
    let text = Text::try_from(raw.trim().to_owned());
    let text = text.map_err(|error| usage(format!("--reason: {error}")))?;
    if text.as_str().is_empty() {
        return Err(usage(
            "--reason is empty: say why, in a few words".to_owned(),
        ));
    }
    Ok(text)
}

async fn connect(farm: &FarmFile, login: Login) -> Result<Viewer, Failure> {
    let subjects = Subjects::new(&farm.farm);
    let bus = Bus::connect(&farm.bus, login, subjects, Patience::Brief).await;
    let bus = bus.map_err(|error| {
        let failure = Failure::from(error);
        let advice = if failure.exit() == Exit::NotAuthorised {
            "Nothing was asked. Does the server know this login? The operator: pybots master logins USERS.CONF, then reload \
             the server."
        } else {
            "Nothing was asked. Is the nats-server of the farm running there, and the address right?"
        };
        failure.advice(advice)
    })?;
    let viewer = Viewer::new(bus, farm.farm).await;
    viewer.map_err(|error| view_failure(error).advice_after(NOT_ASKED))
}

impl Asker {
    /// Checks that the bus knows a builder: a name mistyped is told at once.
    pub(in crate::cli) fn check_builder(&self, builder: &BuilderName) -> Result<(), Failure> {
        let rows = self.board.rows(clock::now());
        let known = rows.iter().any(|row| row.builder == *builder)
            || self.board.builds_of(builder).next().is_some();
        if known {
            return Ok(());
        }
        let message = format!("there is no builder {builder}");
        Err(Failure::message(Exit::Error, message)
            .advice("Nothing was asked. pybots status lists the builders."))
    }

    /// Asks the master, and waits for its answer.
    pub(in crate::cli) async fn ask(&mut self, wish: Wish) -> Result<Granted, Failure> {
        let farm = *self.viewer.reader().farm();
        let asked = clock::now();
        let request = Request {
            farm,
            requester: self.name.clone(),
            nonce: slave::instance()?,
            issued: asked,
            reason: self.reason.clone(),
            wish,
        };
        let sealed = seal(&self.key, &farm, &request);
        let request = sealed.id;
        let place = self.store(request, sealed.bytes).await?;
        self.tell(request, Asked::Stored)?;
        if self.output == Output::People {
            say!("  ..  asked as {}: request {request}", self.name);
        }
        let answer = self.answer(request, place).await?;
        match &answer.denial {
            None => {
                self.tell(request, Asked::Granted)?;
                Ok(Granted { request, asked })
            }
            Some(denial) => {
                self.tell(request, Asked::Denied(denial))?;
                let message = format!("denied, {}: {}", denial.code, denial.detail);
                Err(Failure::message(Exit::NotAuthorised, message)
                    .advice("The master has signed that. Nothing was done."))
            }
        }
    }

    /// Puts the request on the bus; returns its place there.
    async fn store(&self, request: PayloadId, bytes: Vec<u8>) -> Result<u64, Failure> {
        let bus = self.viewer.bus();
        let subject = bus.subjects().request(&self.name);
        let id = request.to_string();
        let storing = bus.publish_until_held(Stream::Requests, subject, &id, bytes);
        match tokio::time::timeout(STORE_PATIENCE, storing).await {
            Ok(stored) => Ok(stored.sequence),
            Err(_) if bus.is_connected() => {
                let message = format!(
                    "the bus has not stored the request within {} s; nothing was asked",
                    STORE_PATIENCE.as_secs()
                );
                Err(Failure::message(Exit::Unreachable, message).advice(format!(
                    "Either its streams are missing (has the master run?), or this login may not ask as {} (pybots master logins).",
                    self.name
                )))
            }
            Err(_) => {
                let message = "the bus went away before it confirmed the request; most likely nothing was asked";
                Err(Failure::message(Exit::Unreachable, message).advice(
                    "If it did take it, the master still may act on it within the hour: pybots build list, before you ask again.",
                ))
            }
        }
    }

    /// Waits for the master's word on the request that lies at `place` in its stream.
    async fn answer(&mut self, request: PayloadId, place: u64) -> Result<Answer, Failure> {
        let (name, patience) = (self.name.clone(), self.patience);
        let mut answers = self.viewer.answers(&name, place).await?;
        let failure = tokio::select! {
            answer = answers.to(request) => return Ok(answer),
            () = tokio::time::sleep(patience) => {
                let message = format!("the master has not answered within {} s", patience.as_secs());
                Failure::message(Exit::TimedOut, message).advice(format!(
                    "The request stays on the bus, and for an hour it may still be acted on. Does the master run, and does its \
                     master.toml hold the key of [requesters.{name}]? pybots master check, pybots build list."
                ))
            }
            () = stop_signal() => {
                let message = "interrupted; the answer is not waited for any more";
                Failure::message(Exit::Interrupted, message)
                    .advice("The request stays on the bus, and for an hour it may still be acted on.")
            }
        };
        self.tell(request, Asked::NotAnswered)?;
        Err(failure)
    }

    fn tell(&self, request: PayloadId, asked: Asked<'_>) -> std::io::Result<()> {
        match self.output {
            Output::People => Ok(()),
            Output::Programs => write_asked(request, asked, clock::now(), &mut anstream::stdout()),
        }
    }

    /// Tells people that the master does what was asked.
    pub(in crate::cli) fn say_granted(&self, what: &str) {
        if self.output == Output::People {
            say!("  ok  granted: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_says_something() {
        assert_eq!(reason(" a fix ").unwrap().as_str(), "a fix");
        for (raw, sentence) in [
            ("", "--reason is empty: say why, in a few words"),
            (" \t ", "--reason is empty: say why, in a few words"),
            ("a\nb", "--reason: text holds the control character '\\n'"),
        ] {
            assert_eq!(reason(raw).unwrap_err().sentence(), sentence, "{raw:?}");
        }
    }
}
