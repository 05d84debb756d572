//! The order of versions, and which of them are pre-releases (PEP 440). What is no version by that has no place in it.
//!
//! Of our own: `pep440_rs` has not been kept since it moved into a larger project, and all that is needed is a key.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;

use crate::model::Version;

/// The pattern of PEP 440, appendix B.
const PATTERN: &str = r"(?ix)^v?
    (?:(?P<epoch>[0-9]+)!)?
    (?P<release>[0-9]+(?:\.[0-9]+)*)
    (?:[-_.]?(?P<phase>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre>[0-9]+)?)?
    (?P<post>-(?P<plain>[0-9]+)|[-_.]?(?:post|rev|r)[-_.]?(?P<number>[0-9]+)?)?
    (?P<dev>[-_.]?dev[-_.]?(?P<draft>[0-9]+)?)?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?$";

static GRAMMAR: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PATTERN).ok());

/// A version's place among the others. Two spellings of one version, such as `1.0` and `1.0.0`, have the same.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank {
    epoch: u64,
    /// Without the zeros at its end.
    release: Vec<u64>,
    pre: Pre,
    post: Option<u64>,
    dev: Dev,
    local: Vec<Local>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Pre {
    /// A draft of the release itself, which comes before its first alpha.
    Draft,
    Alpha(u64),
    Beta(u64),
    Candidate(u64),
    Final,
}

/// Whether it is a draft of what it is called otherwise, and comes before that.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Dev {
    Draft(u64),
    Done,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Local {
    Word(String),
    Number(u64),
}

impl Rank {
    /// The place of a version; none if it is none by PEP 440, or a number in it has no end.
    #[must_use]
    pub fn of(version: &Version) -> Option<Self> {
        let found = GRAMMAR.as_ref()?.captures(version.as_str())?;
        let text = |name: &str| found.name(name).map(|found| found.as_str());
        // A number that is left out is 0.
        let number = |name: &str| text(name).map_or(Some(0), |digits| digits.parse().ok());
        let mut release = text("release")?
            .split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<Vec<u64>>>()?;
        while release.last() == Some(&0) {
            release.pop();
        }
        let post = match (text("post"), text("plain")) {
            (None, _) => None,
            (Some(_), Some(plain)) => Some(plain.parse().ok()?),
            (Some(_), None) => Some(number("number")?),
        };
        let dev = match text("dev") {
            Some(_) => Dev::Draft(number("draft")?),
            None => Dev::Done,
        };
        let phase = text("phase").map(str::to_ascii_lowercase);
        let pre = match phase.as_deref() {
            Some("a" | "alpha") => Pre::Alpha(number("pre")?),
            Some("b" | "beta") => Pre::Beta(number("pre")?),
            Some(_) => Pre::Candidate(number("pre")?),
            None if post.is_none() && dev != Dev::Done => Pre::Draft,
            None => Pre::Final,
        };
        let local = text("local")
            .map(|local| local.split(['.', '-', '_']).map(local_part).collect())
            .unwrap_or_default();
        Some(Self {
            epoch: number("epoch")?,
            release,
            pre,
            post,
            dev,
            local,
        })
    }

    /// Whether it is an alpha, a beta, a candidate, or a draft of anything.
    #[must_use]
    pub fn is_pre_release(&self) -> bool {
        self.pre != Pre::Final || self.dev != Dev::Done
    }
}

fn local_part(part: &str) -> Local {
    part.parse()
        .map_or_else(|_| Local::Word(part.to_ascii_lowercase()), Local::Number)
}

/// Which of two versions is the greater; what is no version by PEP 440 is less than all that is one.
#[must_use]
pub fn by_release(one: &Version, other: &Version) -> Ordering {
    Rank::of(one).cmp(&Rank::of(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(raw: &str) -> Version {
        raw.parse().unwrap()
    }

    fn rank(raw: &str) -> Rank {
        Rank::of(&version(raw)).unwrap()
    }

    #[test]
    fn versions_stand_in_the_order_of_the_standard() {
        let ordered = [
            "0.9",
            "1.dev0",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.15",
            "1.1.dev1",
            "1.9",
            "1.10",
            "2026.1",
            "1!0.1",
        ];
        for pair in ordered.windows(2) {
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn spellings_of_one_version_are_one() {
        for spellings in [
            &["1.0", "1", "1.0.0", "v1.0", "V1", "0!1"][..],
            &["1.1a1", "1.1.0-alpha.1", "1.1_A1", "1.1alpha1"],
            &["1.1rc0", "1.1c", "1.1-pre", "1.1.preview0"],
            &["1.0.post2", "1.0-2", "1.0r2", "1.0-rev_2"],
            &["1.0.dev0", "1-dev", "1.0dev"],
            &["1.0+ubuntu-1", "1.0+Ubuntu.1"],
        ] {
            for other in spellings {
                assert_eq!(rank(spellings[0]), rank(other), "{other}");
            }
        }
    }

    #[test]
    fn pre_releases_are_told_from_releases() {
        for raw in ["2.0rc1", "2.0a1", "2.0.dev1", "2.0.post1.dev1", "2.0-beta"] {
            assert!(rank(raw).is_pre_release(), "{raw}");
        }
        for raw in ["2.0", "2.0.post1", "2.0+local", "1!2"] {
            assert!(!rank(raw).is_pre_release(), "{raw}");
        }
    }

    #[test]
    fn what_is_no_version_has_no_rank_and_comes_before_all_that_has_one() {
        for raw in [
            "latest",
            "release-1",
            "1.0.x",
            "1.0+",
            "1..0",
            "99999999999999999999999",
        ] {
            assert_eq!(Rank::of(&version(raw)), None, "{raw}");
        }
        assert_eq!(
            by_release(&version("latest"), &version("0.1")),
            Ordering::Less
        );
    }

    proptest! {
        #[test]
        fn whatever_a_version_looks_like_the_order_is_total(raw in proptest::collection::vec("[0-9][0-9a-z.!+_-]{0,12}", 3)) {
            let versions: Vec<Version> = raw.iter().filter_map(|raw| raw.parse().ok()).collect();
            for one in &versions {
                for other in &versions {
                    prop_assert_eq!(by_release(one, other), by_release(other, one).reverse());
                }
            }
        }
    }
}
