//! Which page answers which address.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Scene;
use super::answer::{self, HTML};
use super::events;
use super::page;
use crate::model::{BuildId, Clock};
use crate::status::{BuildStatus, Chosen, Live, LogView, Logs, Place, json, telling_step};

/// Most event streams at once; more are asked to come back later.
const EVENT_STREAMS: usize = 512;

/// What all pages share. It holds no key, and nothing in it can be changed by a reader.
pub(super) struct Site {
    pub(super) live: Arc<Live>,
    pub(super) logs: Arc<Logs>,
    pub(super) clock: Clock,
    pub(super) streams: Arc<Semaphore>,
}

/// Serves the pages, for ever.
///
/// # Errors
///
/// Whatever the listener returns.
pub async fn serve(
    listener: TcpListener,
    live: Arc<Live>,
    clock: Clock,
) -> std::io::Result<Infallible> {
    let site = Site {
        logs: Arc::new(Logs::new(live.clone())),
        live,
        clock,
        streams: Arc::new(Semaphore::new(EVENT_STREAMS)),
    };
    let logs = site.logs.clone();
    tokio::select! {
        ended = axum::serve(listener, router(Arc::new(site))) => ended?,
        () = logs.keep_ready() => {}
    }
    Err(std::io::Error::other("the server has ended by itself"))
}

fn router(site: Arc<Site>) -> Router {
    // `get` answers HEAD too, and every other method with 405.
    Router::new()
        .route("/", get(overview))
        .route("/index.json", get(board_json))
        .route("/live", get(events::overview))
        .route("/keys", get(keys))
        .route("/keys.json", get(keys_json))
        .route("/.well-known/pybots.json", get(keys_json))
        .route("/build/{builder}/{number}", get(build))
        .route("/build/{builder}/{number}/log.txt", get(log_text))
        .route("/build/{builder}/{number}/live", get(events::build))
        .route("/style.css", get(style))
        .route("/script.js", get(script))
        .route("/favicon.svg", get(favicon))
        .fallback(no_such_page)
        .layer(map_response(protected))
        .with_state(site)
}

/// What every answer says to the browser: run and load nothing but what this server serves, and guess no types.
async fn protected(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Site {
    /// Renders a page of the farm as it is now.
    fn page(
        &self,
        asked: &HeaderMap,
        render: impl FnOnce(&Scene<'_>) -> Result<String, askama::Error>,
    ) -> Response {
        self.page_with(StatusCode::OK, asked, render)
    }

    fn page_with(
        &self,
        status: StatusCode,
        asked: &HeaderMap,
        render: impl FnOnce(&Scene<'_>) -> Result<String, askama::Error>,
    ) -> Response {
        let page = self.live.board(|board, bus| {
            render(&Scene {
                farm: self.live.farm(),
                board,
                bus,
                now: (self.clock)(),
                version: self.live.version(),
            })
        });
        match page {
            Ok(page) => answer::body(status, HTML, page.into(), asked),
            Err(error) => {
                tracing::error!(%error, "page not rendered");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    fn missing(&self, asked: &HeaderMap, what: &str) -> Response {
        self.page_with(StatusCode::NOT_FOUND, asked, |scene| {
            page::not_found(scene, what)
        })
    }

    /// A build as it is now.
    pub(super) fn build(&self, id: &BuildId) -> Option<BuildStatus> {
        self.live.board(|board, _| board.build(id).cloned())
    }
}

async fn overview(State(site): State<Arc<Site>>, asked: HeaderMap) -> Response {
    site.page(&asked, page::overview)
}

async fn keys(State(site): State<Arc<Site>>, asked: HeaderMap) -> Response {
    let chain = site.live.chain();
    site.page(&asked, |scene| page::keys(scene, &chain))
}

async fn board_json(State(site): State<Arc<Site>>, asked: HeaderMap) -> Response {
    let mut body = Vec::new();
    let written = site.live.board(|board, bus| {
        json::write_board(site.live.farm(), board, bus, (site.clock)(), &mut body)
    });
    answer::document(written, body, &asked)
}

async fn keys_json(State(site): State<Arc<Site>>, asked: HeaderMap) -> Response {
    let mut body = Vec::new();
    let chain = site.live.chain();
    let written = site.live.board(|board, _| {
        json::write_keys(site.live.farm(), &chain, board, (site.clock)(), &mut body)
    });
    answer::document(written, body, &asked)
}

/// Which part of a log is asked for; steps and lines count from 1.
#[derive(Debug, serde::Deserialize)]
struct Part {
    step: Option<u16>,
    line: Option<u64>,
    offset: Option<u64>,
}

const NUMBERS: &str = "step, line and offset are whole numbers.";

/// What a build's address names.
struct Named {
    build: BuildStatus,
    step: Option<u16>,
}

impl Site {
    /// The build, and the step of it, that an address names; or a sentence that there is none.
    fn named(&self, builder: &str, number: &str, step: Option<u16>) -> Result<Named, String> {
        let name = format!("{builder}/{number}");
        let id: Option<BuildId> = name.parse().ok();
        let Some(build) = id.and_then(|id| self.build(&id)) else {
            return Err(format!("There is no build {name}."));
        };
        let known = step.is_none_or(|step| (1..=build.steps.len()).contains(&usize::from(step)));
        if !known {
            let steps = build.steps.len();
            return Err(format!("Build {name} has {steps} steps, counted from 1."));
        }
        let step = step.map(|step| step - 1).or_else(|| telling_step(&build));
        Ok(Named { build, step })
    }
}

async fn build(
    State(site): State<Arc<Site>>,
    Path((builder, number)): Path<(String, String)>,
    part: Result<Query<Part>, QueryRejection>,
    asked: HeaderMap,
) -> Response {
    if let Some(number) = number.strip_suffix(".json") {
        return match site.named(&builder, number, None) {
            Ok(named) => build_json(&site, &named.build, &asked),
            Err(what) => site.missing(&asked, &what),
        };
    }
    let Ok(Query(part)) = part else {
        return site.missing(&asked, NUMBERS);
    };
    let Named { build, step } = match site.named(&builder, &number, part.step) {
        Ok(named) => named,
        Err(what) => return site.missing(&asked, &what),
    };
    let place = match (part.line, part.offset) {
        (Some(line), _) => Place::Line(line),
        (None, Some(offset)) => Place::Offset(offset),
        (None, None) => Place::End,
    };
    let chosen = if part.step.is_none() && place == Place::End {
        Chosen::ByDefault
    } else {
        Chosen::ByReader
    };
    let log = match step {
        Some(step) => site.logs.view(&build, step, place, chosen).await,
        None => LogView::Nothing,
    };
    site.page(&asked, |scene| {
        // It may have gone on while its log was read.
        let build = scene.board.build(&build.id()).unwrap_or(&build);
        page::build(scene, build, &log)
    })
}

fn build_json(site: &Site, build: &BuildStatus, asked: &HeaderMap) -> Response {
    let mut body = Vec::new();
    let written = site
        .live
        .board(|board, _| json::write_build(board, build, (site.clock)(), &mut body));
    answer::document(written, body, asked)
}

async fn log_text(
    State(site): State<Arc<Site>>,
    Path((builder, number)): Path<(String, String)>,
    part: Result<Query<Part>, QueryRejection>,
    asked: HeaderMap,
) -> Response {
    let Ok(Query(part)) = part else {
        return site.missing(&asked, NUMBERS);
    };
    match site.named(&builder, &number, part.step) {
        Ok(Named { build, step }) => {
            let text = site.logs.clone().text(build, step.unwrap_or(0));
            let kind = (header::CONTENT_TYPE, answer::TEXT);
            ([kind], Body::from_stream(text)).into_response()
        }
        Err(what) => site.missing(&asked, &what),
    }
}

async fn style(asked: HeaderMap) -> Response {
    answer::asset("text/css; charset=utf-8", super::STYLE, &asked)
}

async fn script(asked: HeaderMap) -> Response {
    answer::asset("text/javascript; charset=utf-8", super::SCRIPT, &asked)
}

async fn favicon(asked: HeaderMap) -> Response {
    answer::asset("image/svg+xml", super::ICON, &asked)
}

async fn no_such_page(State(site): State<Arc<Site>>, asked: Request) -> Response {
    let what = format!("There is no page {}.", asked.uri().path());
    site.missing(asked.headers(), &what)
}
