//! What long-running processes log.

use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_from_env("PYBOTS_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_ansi(false).init(),
        Format::Json => builder.json().flatten_event(true).init(),
    }
}
