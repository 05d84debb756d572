//! What long-running processes log.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::files;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins logging to standard error; `PYBOTS_LOG` says how much (`info` unless it is set).
pub(super) fn start(format: Format) {
    // Not `EnvFilter`: what it can do besides takes memory for as long as the process runs.
    let filter = files::variable("PYBOTS_LOG").and_then(|text| text.parse().ok());
    let filter = filter.unwrap_or_else(|| {
        Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("async_nats", LevelFilter::OFF)
    });
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => registry.with(lines.with_ansi(false)).init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}
