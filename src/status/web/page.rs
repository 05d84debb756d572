//! The pages.

mod build;
mod changes;
mod frame;
mod keys;
mod log;
mod overview;
#[cfg(test)]
mod tests;

pub(super) use build::stage;
pub use log::line_html;

use askama::Template;

use super::Scene;
use crate::status::build::BuildStatus;
use crate::status::log_window::LogView;
use crate::trust::Chain;
use frame::Frame;

/// The overview, `/`.
///
/// # Errors
///
/// None but for a lack of memory.
pub fn overview(scene: &Scene<'_>) -> Result<String, askama::Error> {
    overview::OverviewPage::new(scene).render()
}

/// One build, `/build/<builder>/<number>`.
///
/// # Errors
///
/// As [`overview`].
pub fn build(
    scene: &Scene<'_>,
    build: &BuildStatus,
    log: &LogView,
) -> Result<String, askama::Error> {
    build::BuildPage::new(scene, build, log).render()
}

/// Whom to trust, `/keys`.
///
/// # Errors
///
/// As [`overview`].
pub fn keys(scene: &Scene<'_>, chain: &Chain) -> Result<String, askama::Error> {
    keys::KeysPage::new(scene, chain).render()
}

/// For an address at which there is nothing; `what` says in a sentence what was looked for.
///
/// # Errors
///
/// As [`overview`].
pub fn not_found(scene: &Scene<'_>, what: &str) -> Result<String, askama::Error> {
    let frame = Frame::new(scene, "Not found", "/index.json");
    NotFoundPage { frame, what }.render()
}

#[derive(Template)]
#[template(path = "not_found.html", config = "src/status/web/askama.toml")]
struct NotFoundPage<'a> {
    frame: Frame<'a>,
    what: &'a str,
}
