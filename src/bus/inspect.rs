//! Looking at a bus without changing anything there: what is asked when something is wrong.

use std::error::Error as _;
use std::io;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::Config;
use async_nats::{ConnectError, ConnectErrorKind};

use super::connection::{Bus, BusError};
use super::stream::Stream;
use crate::model::{SlaveName, Timestamp};

/// What kind of trouble a [`BusError`] is, for those who can do something about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BusTrouble {
    /// The address has a name that nobody knows.
    Name,
    /// The machine is there, and nobody listens at that port.
    Refused,
    /// No answer.
    Silent,
    /// Encryption could not be agreed on.
    Tls,
    /// The login is not let in.
    Login,
    /// Anything else.
    Other,
}

impl BusError {
    /// What kind of trouble it is.
    #[must_use]
    pub fn trouble(&self) -> BusTrouble {
        match self {
            Self::Login { .. } => BusTrouble::Login,
            Self::Unreachable { source, .. } => unreachable(source),
            Self::Request { .. } | Self::Ended | Self::Overtaken => BusTrouble::Other,
        }
    }
}

impl BusError {
    /// Whether the server has no room for what it was to store.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = self.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<async_nats::jetstream::Error>() {
                return NO_ROOM.contains(&error.error_code());
            }
            cause = error.source();
        }
        false
    }
}

const NO_ROOM: [ErrorCode; 5] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    // "maximum bytes exceeded", and the like.
    ErrorCode::STREAM_STORE_FAILED,
];

fn unreachable(error: &ConnectError) -> BusTrouble {
    match error.kind() {
        ConnectErrorKind::Dns => BusTrouble::Name,
        ConnectErrorKind::TimedOut => BusTrouble::Silent,
        ConnectErrorKind::Tls => BusTrouble::Tls,
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            BusTrouble::Login
        }
        ConnectErrorKind::ServerParse | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            let mut cause = error.source();
            while let Some(error) = cause {
                let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
                match kind {
                    Some(io::ErrorKind::ConnectionRefused) => return BusTrouble::Refused,
                    Some(io::ErrorKind::TimedOut) => return BusTrouble::Silent,
                    Some(_) | None => cause = error.source(),
                }
            }
            BusTrouble::Other
        }
    }
}

/// What to ask for the server's time. No login may ask for the time itself, but some answers bear it.
#[derive(Clone, Copy, Debug)]
pub enum TimeSource<'a> {
    /// A stream's state, which the master may ask for.
    Stream(Stream),
    /// The state of a slave's own consumer, which the slave may ask for once it is approved.
    Consumer(&'a SlaveName),
}

/// A stream as its server describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StreamState {
    /// How many messages it holds.
    pub messages: u64,
    /// Settings that are not as the farm needs them, by the server's names.
    pub differences: Vec<&'static str>,
}

impl Bus {
    /// The server's time when it answered; none if there is nothing yet that could bear it.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer.
    pub async fn server_time(&self, source: TimeSource<'_>) -> Result<Option<Timestamp>, BusError> {
        let request = match source {
            TimeSource::Stream(stream) => format!("$JS.API.STREAM.INFO.{}", stream.name()),
            TimeSource::Consumer(slave) => {
                format!("$JS.API.CONSUMER.INFO.{}.{slave}", Stream::Commands.name())
            }
        };
        let answer = self.ask(request, "tell the time").await?;
        let time = answer["ts"]
            .as_str()
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .and_then(|time| u64::try_from(time.as_microsecond()).ok());
        Ok(time.map(Timestamp))
    }

    /// Whether the server has this stream, asked in a way that every login may which can read it.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer.
    pub async fn has_stream(&self, stream: Stream) -> Result<bool, BusError> {
        let subject = format!("$JS.API.DIRECT.GET.{}", stream.name());
        let request = serde_json::json!({ "seq": 1, "next_by_subj": ">" });
        match self
            .client
            .request(subject, request.to_string().into())
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(false),
            Err(error) => {
                let what = format!("say whether it has the stream {}", stream.name());
                Err(BusError::request(what)(error))
            }
        }
    }

    /// A stream's state and settings; none if the server has no such stream. Only a master's login may ask.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer, or not with a stream.
    pub async fn stream_state(&self, stream: Stream) -> Result<Option<StreamState>, BusError> {
        let what = format!("describe the stream {}", stream.name());
        let request = format!("$JS.API.STREAM.INFO.{}", stream.name());
        let mut answer = self.ask(request, &what).await?;
        if answer["error"]["code"] == 404 {
            return Ok(None);
        }
        let config: Config =
            serde_json::from_value(answer["config"].take()).map_err(BusError::request(what))?;
        Ok(Some(StreamState {
            messages: answer["state"]["messages"].as_u64().unwrap_or(0),
            differences: differences(&stream.config(&self.subjects), &config),
        }))
    }

    async fn ask(&self, subject: String, what: &str) -> Result<serde_json::Value, BusError> {
        let reply = self
            .client
            .request(subject, "".into())
            .await
            .map_err(BusError::request(what))?;
        serde_json::from_slice(&reply.payload).map_err(BusError::request(what))
    }
}

/// What decides how long messages stay, who can take them away and who hears of them.
fn differences(wanted: &Config, found: &Config) -> Vec<&'static str> {
    let same = [
        ("subjects", wanted.subjects == found.subjects),
        ("retention", wanted.retention == found.retention),
        ("discard", wanted.discard == found.discard),
        ("storage", wanted.storage == found.storage),
        ("max_msgs", wanted.max_messages == found.max_messages),
        (
            "max_msgs_per_subject",
            wanted.max_messages_per_subject == found.max_messages_per_subject,
        ),
        ("max_bytes", wanted.max_bytes == found.max_bytes),
        ("max_age", wanted.max_age == found.max_age),
        (
            "max_msg_size",
            wanted.max_message_size == found.max_message_size,
        ),
        (
            "duplicate_window",
            wanted.duplicate_window == found.duplicate_window,
        ),
        ("allow_direct", wanted.allow_direct == found.allow_direct),
        ("deny_delete", wanted.deny_delete == found.deny_delete),
        ("deny_purge", wanted.deny_purge == found.deny_purge),
        ("republish", wanted.republish == found.republish),
    ];
    same.into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::FarmId;
    use crate::wire::Subjects;

    #[test]
    fn a_stream_that_would_forget_or_hide_messages_is_told_from_one_as_it_should_be() {
        let wanted = Stream::Results.config(&Subjects::new(&FarmId([1; 32])));
        assert_eq!(differences(&wanted, &wanted), [""; 0]);
        let found = Config {
            max_age: Duration::from_secs(1),
            deny_delete: false,
            republish: None,
            num_replicas: 3,
            ..wanted.clone()
        };
        assert_eq!(
            differences(&wanted, &found),
            ["max_age", "deny_delete", "republish"]
        );
    }
}
