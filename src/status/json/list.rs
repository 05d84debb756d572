//! The document of several builds.

use serde::Serialize;

use super::BuildDocument;
use crate::model::Timestamp;

/// Several builds.
#[derive(Debug, Serialize)]
pub struct BuildsDocument<'a> {
    /// `pybots.builds.v1`.
    pub schema: &'static str,
    /// The moment for which `lost` was computed.
    pub now: Timestamp,
    /// The newest order first.
    pub builds: Vec<BuildDocument<'a>>,
}
