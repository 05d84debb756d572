//! Which paths of a repository matter to a builder.

use crate::model::Text;

/// Patterns of paths; a pattern that begins with `!` takes out what an earlier one took in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PathFilter(Vec<Text>);

impl PathFilter {
    /// Whether a change that touched `paths` matters. One of which the paths are not known always does.
    #[must_use]
    pub fn matters(&self, paths: Option<&[Text]>) -> bool {
        self.0.is_empty() || paths.is_none_or(|paths| !paths.is_empty())
    }
}
