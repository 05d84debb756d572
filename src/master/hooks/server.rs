//! The listener itself.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::config::HooksLimits;
use super::desk::{Desk, Fault};
use super::forge::{Forge, HookSecret};
use crate::bus::Bus;
use crate::model::{Clock, RepositoryName};

/// Longest head of a request.
const MAX_HEAD: usize = 16 << 10;
/// Most fields of a head.
const MAX_HEADERS: usize = 64;
/// How long an answer may take to be fetched.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// A listener for webhooks, ready to listen.
pub struct Hooks {
    secrets: BTreeMap<RepositoryName, (Forge, HookSecret)>,
    limits: HooksLimits,
    bus: Bus,
    clock: Clock,
    desk: Mutex<Desk>,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Hinted,
    Refused(Fault),
}

impl Outcome {
    fn status(self) -> StatusCode {
        match self {
            Self::Hinted => StatusCode::ACCEPTED,
            Self::Refused(Fault::SeenBefore) => StatusCode::OK,
            Self::Refused(Fault::Crowded) => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(Fault::Unknown) => StatusCode::NOT_FOUND,
            Self::Refused(Fault::Method) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused(Fault::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(Fault::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(Fault::Unsigned) => StatusCode::UNAUTHORIZED,
            Self::Refused(Fault::BusAway) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Hinted => "accepted: the master will look\n",
            Self::Refused(Fault::SeenBefore) => "seen before\n",
            Self::Refused(Fault::Crowded) => "too many requests; try again in a minute\n",
            Self::Refused(Fault::Unknown) => "no such repository\n",
            Self::Refused(Fault::Method) => "POST only\n",
            Self::Refused(Fault::TooLong) => "body too long\n",
            Self::Refused(Fault::Slow) => "body not sent in time\n",
            Self::Refused(Fault::Unsigned) => "signature missing or wrong\n",
            Self::Refused(Fault::BusAway) => "the farm's bus cannot be reached; try again later\n",
        }
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.sentence()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        let more = match self {
            Self::Refused(Fault::Method) => Some((header::ALLOW, "POST")),
            Self::Refused(Fault::Crowded | Fault::BusAway) => Some((header::RETRY_AFTER, "60")),
            Self::Hinted | Self::Refused(_) => None,
        };
        if let Some((name, value)) = more {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl Hooks {
    /// A listener for deliveries that prove themselves by `secrets`, which hints over `bus`.
    #[must_use]
    pub fn new(
        secrets: BTreeMap<RepositoryName, (Forge, HookSecret)>,
        limits: HooksLimits,
        bus: Bus,
        clock: Clock,
    ) -> Self {
        Self {
            secrets,
            limits,
            bus,
            clock,
            desk: Mutex::new(Desk::new(limits)),
        }
    }

    /// Listens, for ever.
    ///
    /// # Errors
    ///
    /// The system's, if the listener is broken.
    pub async fn serve(self, listener: TcpListener) -> io::Result<Infallible> {
        let hooks = Arc::new(self);
        let slots = Arc::new(Semaphore::new(hooks.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    // Whoever gave up while waiting, or no more files: both pass.
                    Err(error) => {
                        tracing::debug!(%error, "connection not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                hooks.tell(None, Fault::Crowded);
                continue;
            };
            let hooks = Arc::clone(&hooks);
            connections.spawn(async move {
                hooks.talk(stream, peer).await;
                drop(slot);
            });
        }
    }

    /// Answers the one request of a connection.
    async fn talk(&self, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(async |request| {
            Ok::<_, Infallible>(self.answer(peer.ip(), request).await.response())
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let patience = self.limits.header_time + self.limits.body_time + ANSWER_TIME;
        match timeout(patience, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%peer, %error, "connection broken off"),
            Err(_) => tracing::debug!(%peer, "connection too slow"),
        }
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Outcome {
        let (repository, outcome) = self.judge(peer, request).await;
        match (outcome, repository) {
            (Outcome::Refused(fault), repository) => self.tell(repository, fault),
            (Outcome::Hinted, Some(repository)) => {
                tracing::info!(%repository, "delivery accepted");
            }
            (Outcome::Hinted, None) => {}
        }
        outcome
    }

    /// What a request comes to, and the repository that it is about.
    async fn judge(
        &self,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> (Option<&RepositoryName>, Outcome) {
        let address = sender(peer, request.headers());
        let now = (self.clock)();
        if !self.desk().admit(address, now) {
            return (None, Outcome::Refused(Fault::Crowded));
        }
        let named: Option<RepositoryName> = request
            .uri()
            .path()
            .strip_prefix("/hooks/")
            .and_then(|name| name.parse().ok());
        let found = named.and_then(|name| self.secrets.get_key_value(&name));
        let Some((repository, (forge, secret))) = found else {
            return (None, Outcome::Refused(Fault::Unknown));
        };
        let outcome = match self.hint(repository, *forge, secret, request).await {
            Ok(()) => Outcome::Hinted,
            Err(fault) => Outcome::Refused(fault),
        };
        (Some(repository), outcome)
    }

    async fn hint(
        &self,
        repository: &RepositoryName,
        forge: Forge,
        secret: &HookSecret,
        request: Request<Incoming>,
    ) -> Result<(), Fault> {
        if request.method() != Method::POST {
            return Err(Fault::Method);
        }
        let (head, body) = request.into_parts();
        let body = self.read(body).await?;
        if !forge.proves(secret, &head.headers, &body) {
            return Err(Fault::Unsigned);
        }
        // Before it is remembered: the forge may send it again.
        if !self.bus.is_connected() {
            return Err(Fault::BusAway);
        }
        if let Some(delivery) = forge.delivery(&head.headers)
            && !self.desk().is_new(repository, delivery)
        {
            return Err(Fault::SeenBefore);
        }
        let subject = self.bus.subjects().hint(repository);
        self.bus
            .publish_unconfirmed(subject, Vec::new())
            .await
            .map_err(|_| Fault::BusAway)
    }

    /// The body, unless it is too long, or too slow.
    async fn read(&self, body: Incoming) -> Result<Bytes, Fault> {
        let most = self.limits.body;
        if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(Fault::TooLong);
        }
        match timeout(self.limits.body_time, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::TooLong),
            Ok(Err(_)) | Err(_) => Err(Fault::Slow),
        }
    }

    fn tell(&self, repository: Option<&RepositoryName>, fault: Fault) {
        self.desk().tell(repository, fault, (self.clock)());
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who sent a request. A web server on this machine says whom it speaks for; what others say of that is not believed.
fn sender(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !peer.to_canonical().is_loopback() {
        return peer;
    }
    headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok())
        .unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_web_server_on_this_machine_says_whom_it_speaks_for() {
        let mut headers = HeaderMap::new();
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let far: IpAddr = "192.0.2.9".parse().unwrap();
        assert_eq!(sender(here, &headers), here);
        let forwarded = HeaderValue::from_static("198.51.100.1, 203.0.113.7");
        headers.insert("x-forwarded-for", forwarded);
        assert_eq!(sender(far, &headers), far);
        let named: IpAddr = "203.0.113.7".parse().unwrap();
        assert_eq!(sender(here, &headers), named);
        headers.insert("x-forwarded-for", HeaderValue::from_static("unknown"));
        assert_eq!(sender(here, &headers), here);
    }
}
