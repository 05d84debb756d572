//! Stub.
use super::colours::Colours;
use crate::model::*;
use crate::status::*;
pub struct Scene<'a> {
    pub farm: &'a Farm,
    pub board: &'a Board,
    pub bus: BusState,
    pub now: Timestamp,
}
pub const STYLE: &str = "";
pub const SCRIPT: &str = "";
pub const FAVICON: &str = "";
pub fn overview(scene: &Scene<'_>) -> Result<String, askama::Error> {
    Ok(format!("{:?}", scene.board.rows(scene.now)))
}
pub fn build(
    _scene: &Scene<'_>,
    build: &BuildStatus,
    log: &LogView,
) -> Result<String, askama::Error> {
    Ok(format!("{build:?} {log:?}"))
}
pub fn keys(_scene: &Scene<'_>, keyring: &Keyring) -> Result<String, askama::Error> {
    Ok(format!("{keyring:?}"))
}
pub fn not_found(_scene: &Scene<'_>, what: &str) -> Result<String, askama::Error> {
    Ok(what.to_owned())
}
pub fn line_html(colours: &mut Colours, line: &LogLine) -> String {
    match &line.text {
        LineText::Output(t) => colours.line(t),
        LineText::Note(t) => t.clone(),
    }
}
