//! What a master or a slave shows of itself to whoever watches processes: its metrics and its health.
//!
//! A task of its own with sockets of its own. It shows nothing secret, changes nothing, and holds up no loop.

mod gate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use self::gate::Gate;
use super::clock;
use super::exit::Failure;
use crate::bus::Bus;
use crate::model::{Pulse, Timestamp};
use crate::slave::Backlog;
use crate::{master, slave};

const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const NOT_HERE: &str = "Nothing is here but /metrics and /healthz.\n";

/// Whose process is watched.
#[derive(Clone)]
pub(super) enum Role {
    /// A master.
    Master(Arc<master::Telemetry>),
    /// A slave, and its state folder.
    Slave(Arc<slave::Telemetry>, PathBuf),
}

impl Role {
    pub(super) fn pulse(&self) -> &Pulse {
        match self {
            Self::Master(telemetry) => telemetry.pulse(),
            Self::Slave(telemetry, _) => telemetry.pulse(),
        }
    }

    /// What it does, in a few words; none before it has begun.
    pub(super) fn doing(&self) -> Option<String> {
        match self {
            Self::Master(telemetry) => telemetry.doing(),
            Self::Slave(telemetry, _) => telemetry.doing(),
        }
    }

    fn troubles(&self, now: Timestamp) -> Vec<String> {
        match self {
            Self::Master(telemetry) => telemetry.troubles(),
            Self::Slave(telemetry, _) => telemetry.troubles(now),
        }
    }

    fn register(&self, registry: &mut Registry) {
        match self {
            Self::Master(telemetry) => telemetry.register(registry),
            Self::Slave(telemetry, _) => telemetry.register(registry),
        }
    }

    async fn refresh(&self, now: Timestamp) {
        match self {
            Self::Master(telemetry) => telemetry.refresh(now),
            Self::Slave(telemetry, state) => {
                telemetry.refresh(now);
                let state = state.clone();
                // Beside the loop, because it reads files.
                let looked = tokio::task::spawn_blocking(move || Backlog::of(&state)).await;
                match looked {
                    Ok(Ok(backlog)) => telemetry.set_backlog(&backlog),
                    Ok(Err(error)) => tracing::debug!(%error, "backlog not counted"),
                    Err(error) => tracing::debug!(%error, "backlog not counted"),
                }
            }
        }
    }
}

/// A process that is watched.
pub(super) struct Watched {
    role: Role,
    bus: Bus,
    registry: Registry,
    connected: Gauge,
    reconnects: Counter,
    /// Held by the one answer that is being made.
    turn: Mutex<()>,
}

impl Watched {
    pub(super) fn new(role: Role, bus: Bus) -> Self {
        let mut registry = Registry::default();
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(seconds(clock::now()));
        let help = "When the process started, since the Unix epoch";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, started);
        let (connected, reconnects) = (Gauge::default(), Counter::default());
        let ours = registry.sub_registry_with_prefix("pybots");
        role.register(ours);
        let help = "1 while the bus is connected";
        ours.register("bus_connected", help, connected.clone());
        let help = "How often the connection to the bus came back";
        ours.register("bus_reconnects", help, reconnects.clone());
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "The version of the program", version);
        Self {
            role,
            bus,
            registry,
            connected,
            reconnects,
            turn: Mutex::default(),
        }
    }

    /// Serves it, for ever.
    async fn serve(self, listener: TcpListener) {
        let router = Router::new()
            // `get` answers HEAD too, and every other method with 405.
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .fallback(|| async { (StatusCode::NOT_FOUND, NOT_HERE) })
            .with_state(Arc::new(self));
        if let Err(error) = axum::serve(Gate::new(listener), router).await {
            tracing::error!(%error, "telemetry is not served any more");
        }
    }

    async fn text(&self) -> Result<String, std::fmt::Error> {
        let _turn = self.turn.lock().await;
        self.role.refresh(clock::now()).await;
        self.connected.set(i64::from(self.bus.is_connected()));
        let reconnects = self.bus.connection().saturating_sub(1);
        let counted = self.reconnects.get();
        self.reconnects.inc_by(reconnects.saturating_sub(counted));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A sentence for each thing that is wrong.
    fn troubles(&self) -> Vec<String> {
        let pulse = self.role.pulse();
        let (last, now) = (pulse.last(), pulse.now());
        let mut troubles = Vec::new();
        if !Pulse::is_fresh(last, now) {
            let seconds = now.saturating_sub(last).as_secs();
            troubles.push(format!("its loop has not turned for {seconds} s"));
        }
        if !self.bus.is_connected() {
            troubles.push("the bus is not connected".to_owned());
        }
        troubles.extend(self.role.troubles(clock::now()));
        troubles
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for the next 200 years")]
fn seconds(time: Timestamp) -> f64 {
    time.0 as f64 / 1e6
}

/// Begins to serve what is watched, if the owner or operator wants that.
///
/// # Errors
///
/// A [`Failure`] if the address cannot be had.
pub(super) async fn start(listen: Option<SocketAddr>, watched: Watched) -> Result<(), Failure> {
    let Some(address) = listen else {
        return Ok(());
    };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for telemetry"))
        .map_err(|error| {
            Failure::error(error)
                .advice("Nothing was started. Choose another telemetry.listen, or leave it out.")
        })?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "telemetry served");
    tokio::spawn(watched.serve(listener));
    Ok(())
}

async fn metrics(State(watched): State<Arc<Watched>>) -> Response {
    match watched.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics not written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn health(State(watched): State<Arc<Watched>>, asked: HeaderMap) -> Response {
    answer(&watched.troubles(), asked.get(header::ACCEPT))
}

fn answer(troubles: &[String], accept: Option<&HeaderValue>) -> Response {
    let status = if troubles.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let accept = accept.and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/json")) {
        let body = serde_json::json!({ "ok": troubles.is_empty(), "wrong": troubles });
        let kind = [(header::CONTENT_TYPE, "application/json")];
        return (status, kind, body.to_string()).into_response();
    }
    let mut text = if troubles.is_empty() {
        "ok".to_owned()
    } else {
        troubles.join("\n")
    };
    text.push('\n');
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, kind, text).into_response()
}
