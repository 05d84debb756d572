//! The connection: who logs in where, and how it comes back.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use nkeys::KeyPair;
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use crate::model::PublicKey;
use crate::wire::Subjects;

/// Where the bus is, such as `nats://127.0.0.1:4222` or `tls://bus.example.org:4222`.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BusAddress(String);

/// Text that is no bus address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a bus address is nats://HOST:PORT or tls://HOST:PORT, without a user or password")]
pub struct BusAddressError;

impl BusAddress {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is on this very machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self
            .0
            .parse::<ServerAddr>()
            .map(|address| address.host().to_owned())
            .unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for BusAddress {
    type Err = BusAddressError;

    fn from_str(raw: &str) -> Result<Self, BusAddressError> {
        let scheme = raw.starts_with("nats://") || raw.starts_with("tls://");
        let address: ServerAddr = raw.parse().map_err(|_| BusAddressError)?;
        let login = address.username().is_some() || address.password().is_some();
        if scheme && !login && !address.host().is_empty() {
            Ok(Self(raw.to_owned()))
        } else {
            Err(BusAddressError)
        }
    }
}

impl TryFrom<String> for BusAddress {
    type Error = BusAddressError;

    fn try_from(raw: String) -> Result<Self, BusAddressError> {
        raw.parse()
    }
}

impl From<BusAddress> for String {
    fn from(address: BusAddress) -> Self {
        address.0
    }
}

impl fmt::Display for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a party logs in. A bus key signs the server's nonce and nothing else, ever.
#[derive(Clone)]
pub enum Login {
    /// With an nkey.
    Key {
        /// The name that the party's inbox bears; the server's permissions name it.
        name: String,
        /// The key's seed.
        seed: Zeroizing<String>,
    },
    /// With a published, read-only user and password.
    Public {
        /// The user, whose name the inbox bears.
        user: String,
        /// The password, which is no secret.
        password: String,
    },
}

impl Login {
    /// A new bus key's seed.
    ///
    /// # Errors
    ///
    /// The system's, if it has no randomness to give.
    pub fn generate_seed() -> io::Result<Zeroizing<String>> {
        KeyPair::new_user()
            .seed()
            .map(Zeroizing::new)
            .map_err(io::Error::other)
    }

    /// The nkey (`U…`) of a seed; none if it is no user seed.
    #[must_use]
    pub fn nkey_of_seed(seed: &str) -> Option<String> {
        let key = KeyPair::from_seed(seed.trim()).ok()?;
        let nkey = key.public_key();
        nkey.starts_with('U').then_some(nkey)
    }

    fn inbox(&self) -> String {
        match self {
            Self::Key { name, .. } | Self::Public { user: name, .. } => format!("_INBOX.{name}"),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { name, .. } | Self::Public { user: name, .. } => write!(f, "Login({name})"),
        }
    }
}

/// The Ed25519 key inside an nkey of a user (`U…`); none if the text is no such nkey.
#[must_use]
pub fn bus_public_key(nkey: &str) -> Option<PublicKey> {
    if !nkey.starts_with('U') {
        return None;
    }
    nkeys::from_public_key(nkey)
        .ok()
        .map(|(_, key)| PublicKey(key))
}

/// Why the bus did not do something.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody answers there.
    #[error("cannot reach the bus at {address}")]
    Unreachable {
        /// Where.
        address: BusAddress,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// It does not let this login in.
    #[error("the bus at {address} refuses this login")]
    Login {
        /// Where.
        address: BusAddress,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// A request went wrong.
    #[error("the bus did not {what}")]
    Request {
        /// What it was asked to do.
        what: String,
        /// Why.
        #[source]
        source: async_nats::Error,
    },
    /// The client is no more.
    #[error(
        "the client of the bus has ended, which a server can bring about by lines that make no sense"
    )]
    Ended,
    /// A publish that expected the stream to stand elsewhere.
    #[error("another message was stored first")]
    Overtaken,
}

impl BusError {
    pub(super) fn request<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<async_nats::Error>,
    {
        let what = what.into();
        move |source| Self::Request {
            what,
            source: source.into(),
        }
    }
}

/// What to do while the bus cannot be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// Say so at once: somebody waits at a terminal.
    Brief,
    /// Keep trying: a service that outlives the bus.
    Endless,
}

/// The times that a connection comes back.
pub struct Returns(watch::Receiver<u64>);

impl Returns {
    /// Waits until the connection has come back since it was last asked. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The connection is closed for good and never comes back.
            std::future::pending::<()>().await;
        }
    }
}

/// A connection to the bus of one farm. Clones share it.
#[derive(Clone)]
pub struct Bus {
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) subjects: Subjects,
    pub(super) connections: watch::Receiver<u64>,
    /// What its pipelines may still have under way.
    pub(super) window: Arc<Semaphore>,
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`BusError::Login`] or [`BusError::Unreachable`]; with [`Patience::Endless`] only for what cannot mend itself.
    pub async fn connect(
        address: &BusAddress,
        login: Login,
        subjects: Subjects,
        patience: Patience,
    ) -> Result<Self, BusError> {
        let (connected, connections) = watch::channel(0);
        let log = Log {
            address: address.clone(),
            last: Mutex::new(String::new()),
        };
        let inbox = login.inbox();
        let options = match login {
            Login::Key { seed, .. } => ConnectOptions::with_nkey(seed.trim().to_owned()),
            Login::Public { user, password } => {
                ConnectOptions::with_user_and_password(user, password)
            }
        };
        let options = options
            .custom_inbox_prefix(inbox)
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(Duration::from_secs(5)))
            // A broker must not be able to send its clients elsewhere.
            .ignore_discovered_servers()
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                log.tell(&event);
                if event == Event::Connected {
                    connected.send_modify(|count| *count += 1);
                }
                std::future::ready(())
            });
        let options = match patience {
            Patience::Brief => options,
            Patience::Endless => options.retry_on_initial_connect(),
        };
        let client = options.connect(address.as_str()).await.map_err(|source| {
            let refused = matches!(
                source.kind(),
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
            );
            let address = address.clone();
            if refused {
                BusError::Login { address, source }
            } else {
                BusError::Unreachable { address, source }
            }
        })?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(Duration::from_secs(5))
            .ack_timeout(Duration::from_secs(5))
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            subjects,
            connections,
            window: Self::window(),
        })
    }

    /// The farm's subjects.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// Whether it is connected at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The number of the connection, from 1; 0 before the first. Known a little before [`Returns`] tell of it.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Waits until it is connected. Cancel-safe.
    pub(super) async fn until_connected(&self) {
        while !self.is_connected() {
            tokio::time::sleep(CONNECTION_PERIOD).await;
        }
    }

    /// Waits until the client has ended for good: a line that it cannot read may make it panic, and nothing of it comes
    /// back then. Cancel-safe.
    pub async fn ended(&self) {
        let mut connections = self.connections.clone();
        while connections.changed().await.is_ok() {}
    }

    /// Tells of each time that the connection comes back, from now on.
    #[must_use]
    pub fn returns(&self) -> Returns {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        Returns(connections)
    }

    /// Waits until the server has what was sent so far.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if it does not answer.
    pub async fn flush(&self) -> Result<(), BusError> {
        self.client
            .flush()
            .await
            .map_err(BusError::request("take what was sent"))
    }
}

/// How often who waits for the connection looks for it.
const CONNECTION_PERIOD: Duration = Duration::from_millis(50);

/// 250 ms, doubling up to 2 s, with up to a quarter more by chance, so that a farm does not come back all at once.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(3);
    let delay = Duration::from_millis(250) * 2u32.pow(doublings);
    let mut chance = [0];
    // Without randomness there is no jitter; nothing else depends on it.
    let _ = getrandom::fill(&mut chance);
    delay + delay * u32::from(chance[0]) / 1024
}

/// Tells of what happens to the connection: each trouble once, until it is connected again.
struct Log {
    address: BusAddress,
    last: Mutex<String>,
}

impl Log {
    fn tell(&self, event: &Event) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let text = event.to_string();
        let address = &self.address;
        if *event == Event::Connected {
            tracing::info!(%address, "bus connected");
        } else if *last != text {
            if text.contains("authorization violation") {
                tracing::warn!(%address, "bus refuses this login; trying on");
            } else if text.contains("IO error") || text.contains("DNS error") {
                tracing::warn!(%address, "bus cannot be reached; trying on");
            } else {
                tracing::warn!(%address, event = %text, "bus troubled; trying on");
            }
        }
        *last = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_address_holds_no_secret_and_a_known_scheme() {
        for good in ["nats://127.0.0.1:4222", "tls://bus.example.org:4222"] {
            assert!(good.parse::<BusAddress>().is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "127.0.0.1:4222",
            "nats://u:p@host:1",
            "http://host",
            "nats://",
        ] {
            assert!(bad.parse::<BusAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a114_reconnect_delay_is_jittered_and_capped() {
        for (attempts, least) in [
            (0, 250),
            (1, 250),
            (2, 500),
            (3, 1000),
            (4, 2000),
            (1_000_000, 2000),
        ] {
            let delay = reconnect_delay(attempts).as_millis();
            assert!(
                (least..=least * 5 / 4).contains(&delay),
                "{attempts}: {delay}"
            );
        }
    }

    #[test]
    fn a_login_is_never_printed_with_its_seed() {
        let seed = Login::generate_seed().unwrap();
        let login = Login::Key {
            name: "maple".to_owned(),
            seed: seed.clone(),
        };
        assert!(!format!("{login:?}").contains(seed.as_str()));
        let nkey = Login::nkey_of_seed(&seed).unwrap();
        assert!(bus_public_key(&nkey).is_some());
    }
}
