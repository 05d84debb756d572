//! Server-sent events (WHATWG HTML, section 9.2): that something has changed, and lines of a log as they come.
//!
//! An event says *that* a page is out of date, and the reader's browser asks for the page again; only lines of a log are
//! sent themselves. A browser that reads too slowly loses lines, and is told so; it never makes the server remember them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use super::colours::Colours;
use super::page::{line_html, stage};
use super::server::Site;
use crate::model::BuildId;
use crate::status::{LiveLog, LogLine};

/// How many events may wait for a reader.
const WAITING: usize = 8;
/// How long after one word of a change the next is held back.
const CALM: Duration = Duration::from_millis(200);
/// How often a page is asked for again though nothing was said: ages grow, and slaves fall silent.
const AGEING: Duration = Duration::from_secs(30);

/// Where a reader is.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Reading {
    /// What the page was made of; a reader that has something older is told at once.
    #[serde(default)]
    seen: String,
    /// Of a build's page: which step's log, from 1, from which byte and line on.
    step: Option<u16>,
    offset: Option<u64>,
    line: Option<u64>,
}

pub(super) async fn overview(
    State(site): State<Arc<Site>>,
    Query(reading): Query<Reading>,
) -> Response {
    event_stream(&site.clone(), move |events| {
        tell_changes(site, reading.seen, events)
    })
}

pub(super) async fn build(
    State(site): State<Arc<Site>>,
    Path((builder, number)): Path<(String, String)>,
    Query(mut reading): Query<Reading>,
    asked: HeaderMap,
) -> Response {
    let id: Option<BuildId> = format!("{builder}/{number}").parse().ok();
    let Some(id) = id.filter(|id| site.build(id).is_some()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A browser that lost the connection says where it was.
    let last = asked.get("last-event-id").and_then(|id| id.to_str().ok());
    if let Some((offset, line)) = last.and_then(|id| id.split_once('-')) {
        reading.offset = offset.parse().ok().or(reading.offset);
        reading.line = line.parse().ok().or(reading.line);
    }
    event_stream(&site.clone(), move |events| {
        tell_build(site, id, reading, events)
    })
}

/// Answers with what `teller` says, for as long as the reader listens.
fn event_stream<F: Future<Output = ()> + Send + 'static>(
    site: &Arc<Site>,
    teller: impl FnOnce(mpsc::Sender<Event>) -> F,
) -> Response {
    let Ok(place) = site.streams.clone().try_acquire_owned() else {
        let later = [(axum::http::header::RETRY_AFTER, "30")];
        return (StatusCode::SERVICE_UNAVAILABLE, later).into_response();
    };
    let (events, waiting) = mpsc::channel(WAITING);
    let teller = teller(events);
    tokio::spawn(async move {
        teller.await;
        // Taken up for as long as there is work, also after the reader has left.
        drop(place);
    });
    let events = stream::unfold(waiting, async |mut waiting| {
        let event = waiting.recv().await?;
        Some((Ok::<_, Infallible>(event), waiting))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response()
}

/// An event without data would be dropped by the browser.
fn changed() -> Event {
    Event::default().event("changed").data("page")
}

async fn tell_changes(site: Arc<Site>, mut seen: String, events: mpsc::Sender<Event>) {
    let mut changes = site.live.changes();
    loop {
        changes.mark_unchanged();
        let version = site.live.version().to_string();
        if version != seen {
            seen = version;
            if events.send(changed()).await.is_err() {
                return;
            }
            tokio::time::sleep(CALM).await;
        }
        tokio::select! {
            word = changes.changed() => if word.is_err() { return },
            () = tokio::time::sleep(AGEING) => seen.clear(),
            () = events.closed() => return,
        }
    }
}

async fn tell_build(site: Arc<Site>, id: BuildId, reading: Reading, events: mpsc::Sender<Event>) {
    let mut changes = site.live.changes();
    let mut log = tokio::select! {
        log = open_log(&site, &id, &reading) => log,
        () = events.closed() => return,
    };
    let mut reached = reading.seen;
    let mut lines = Lines::default();
    loop {
        changes.mark_unchanged();
        let now = stage_of(&site, &id);
        // A reader that is behind is told when it has caught up.
        if now != reached && events.try_send(changed()).is_ok() {
            reached = now;
        }
        tokio::select! {
            fresh = next_lines(log.as_mut()) => {
                if let Some(log) = &log {
                    lines.send(&events, &fresh, log.position());
                }
            }
            word = changes.changed() => if word.is_err() { return },
            () = tokio::time::sleep(AGEING) => {}
            () = events.closed() => return,
        }
    }
}

fn stage_of(site: &Site, id: &BuildId) -> String {
    let build = site.build(id);
    build.map_or_else(String::new, |build| stage(&build, (site.clock)()))
}

async fn open_log(site: &Site, id: &BuildId, reading: &Reading) -> Option<LiveLog> {
    let build = site.build(id)?;
    let step = reading.step?.checked_sub(1)?;
    let (offset, line) = (reading.offset.unwrap_or(0), reading.line.unwrap_or(1));
    match site.logs.clone().follow(build, step, offset, line).await {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!(%error, build = %id, "log not followed");
            None
        }
    }
}

async fn next_lines(log: Option<&mut LiveLog>) -> Vec<LogLine> {
    match log {
        Some(log) => log.next().await,
        None => std::future::pending().await,
    }
}

/// Lines on their way to one reader.
#[derive(Default)]
struct Lines {
    colours: Colours,
    /// How many were left out because the reader was too slow.
    left_out: usize,
}

impl Lines {
    fn send(&mut self, events: &mpsc::Sender<Event>, fresh: &[LogLine], position: (u64, u64)) {
        let Ok(room) = events.try_reserve() else {
            self.left_out += fresh.len();
            return;
        };
        let left_out = std::mem::take(&mut self.left_out);
        let note = (left_out > 0).then(|| {
            let number = fresh.first().map_or(0, |line| line.number);
            let what = format!("{left_out} lines came faster than they could be shown here");
            LogLine::note(number.saturating_sub(1), what)
        });
        let html: Vec<(u64, String)> = note
            .iter()
            .chain(fresh)
            .map(|line| (line.number, line_html(&mut self.colours, line)))
            .collect();
        let (offset, line) = position;
        room.send(
            Event::default()
                .event("lines")
                .id(format!("{offset}-{line}"))
                .data(serde_json::json!(html).to_string()),
        );
    }
}
