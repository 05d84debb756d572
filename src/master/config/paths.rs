//! Which paths of a repository matter to a builder.

use std::fmt;
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::Text;

/// Patterns of paths; a pattern that begins with `!` takes out what an earlier one took in. Where the first one does,
/// all other paths are in.
#[derive(Clone, Default)]
pub struct PathFilter {
    patterns: Vec<Text>,
    /// One glob for each pattern. Shared: a matrix may have thousands of builders with the same patterns.
    globs: Arc<GlobSet>,
}

impl PathFilter {
    /// The filter of some patterns: `*` is any part of one name, `**` any number of folders, and a final `/` all that
    /// is in a folder.
    ///
    /// # Errors
    ///
    /// What is wrong with a pattern, and which one it is, from 0.
    pub fn new(patterns: Vec<Text>) -> Result<Self, (usize, globset::Error)> {
        let mut set = GlobSetBuilder::new();
        for (position, pattern) in patterns.iter().enumerate() {
            set.add(glob(pattern).map_err(|error| (position, error))?);
        }
        let globs = set.build().map_err(|error| (0, error))?;
        Ok(Self {
            patterns,
            globs: Arc::new(globs),
        })
    }

    /// Whether a change that touched `paths` matters. One of which the paths are not known always does.
    #[must_use]
    pub fn matters(&self, paths: Option<&[Text]>) -> bool {
        self.patterns.is_empty()
            || paths.is_none_or(|paths| paths.iter().any(|path| self.takes(path)))
    }

    fn takes(&self, path: &Text) -> bool {
        let last = self.globs.matches(path.as_str()).into_iter().max();
        // What no pattern matches is in only if the first of them begins by taking out.
        let decides = last.unwrap_or(0);
        let takes_out = self.patterns.get(decides).is_some_and(is_exclusion);
        takes_out != last.is_some()
    }
}

fn is_exclusion(pattern: &Text) -> bool {
    pattern.as_str().starts_with('!')
}

fn glob(pattern: &Text) -> Result<Glob, globset::Error> {
    let pattern = pattern.as_str();
    let mut pattern = pattern.strip_prefix('!').unwrap_or(pattern).to_owned();
    if pattern.ends_with('/') {
        pattern.push_str("**");
    }
    GlobBuilder::new(&pattern).literal_separator(true).build()
}

impl Eq for PathFilter {}

impl PartialEq for PathFilter {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl fmt::Debug for PathFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PathFilter").field(&self.patterns).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(raw: &[&str]) -> Vec<Text> {
        raw.iter().map(|raw| Text::tidy(raw)).collect()
    }

    #[test]
    fn the_last_pattern_that_matches_a_path_decides() {
        let tests: &[&str] = &["Lib/**", "!Lib/test/**", "Lib/test/support/**"];
        let cases: &[(&[&str], &[&str], bool)] = &[
            (tests, &["Lib/os.py"], true),
            (tests, &["Lib/test/test_os.py"], false),
            (tests, &["Lib/test/support/os_helper.py"], true),
            (tests, &["Doc/index.rst"], false),
            (tests, &["Doc/index.rst", "Lib/os.py"], true),
            (tests, &["Doc/index.rst", "Lib/test/test_os.py"], false),
            (tests, &[], false),
            // All but.
            (
                &["!Doc/**", "!*.md"],
                &["Doc/index.rst", "README.md"],
                false,
            ),
            (&["!Doc/**", "!*.md"], &["Lib/os.py"], true),
            (&["!Doc/**", "!*.md"], &["Tools/README.md"], true),
            // A star does not go into a folder, two do, and a final slash is all that is in one.
            (&["*.py"], &["Lib/os.py"], false),
            (&["**/*.py"], &["Lib/os.py", "x"], true),
            (&["Lib/"], &["Lib/a/b.c"], true),
            (&["Lib/"], &["Lib2/a"], false),
            (&["{Lib,Modules}/**"], &["Modules/a.c"], true),
            (&[], &["Doc/index.rst"], true),
            (&[], &[], true),
        ];
        for (patterns, paths, matters) in cases {
            let filter = PathFilter::new(texts(patterns)).unwrap();
            assert_eq!(
                filter.matters(Some(&texts(paths))),
                *matters,
                "{patterns:?} {paths:?}"
            );
            assert!(filter.matters(None), "{patterns:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_pointed_at() {
        let (position, _) = PathFilter::new(texts(&["Lib/**", "Lib/[a"])).unwrap_err();
        assert_eq!(position, 1);
    }
}
