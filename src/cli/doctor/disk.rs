//! Room to work.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::finding::{Judgement, quoted};

const GIBIBYTE: u64 = 1 << 30;
const ENOUGH: u64 = 10 * GIBIBYTE;
const TOO_LITTLE: u64 = GIBIBYTE;

/// Looks at the file system of `folder`, or of what will hold it.
pub(super) fn examine(folder: &Path) -> Judgement {
    let Some(place) = folder.ancestors().find(|place| place.exists()) else {
        return Judgement::skip(format!("{} is nowhere", folder.display()));
    };
    match statvfs(place) {
        Ok(system) => {
            let free = wide(system.blocks_available()).saturating_mul(wide(system.fragment_size()));
            judge(free, place)
        }
        Err(error) => Judgement::skip(format!("{} does not say: {error}", place.display())),
    }
}

/// Some systems count in 32 bits.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

fn judge(free: u64, place: &Path) -> Judgement {
    let found = format!(
        "{}.{} GiB free for {}",
        free / GIBIBYTE,
        free % GIBIBYTE * 10 / GIBIBYTE,
        place.display()
    );
    let fix = format!("make room; what fills it says: du -sh {}/*", quoted(place));
    if free < TOO_LITTLE {
        Judgement::fail(
            found,
            "builds end as errored, and what they report may not be kept",
            fix,
        )
    } else if free < ENOUGH {
        Judgement::warn(
            found,
            "one build of Python with its tests may need several GiB",
            fix,
        )
    } else {
        Judgement::ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn less_than_ten_gibibytes_warn_and_less_than_one_fails() {
        let cases = [
            (0, State::Fail),
            (TOO_LITTLE - 1, State::Fail),
            (TOO_LITTLE, State::Warn),
            (ENOUGH - 1, State::Warn),
            (ENOUGH, State::Ok),
            (u64::MAX, State::Ok),
        ];
        for (free, expected) in cases {
            assert_eq!(judge(free, Path::new("/b")).state(), expected, "{free}");
        }
        assert_eq!(
            judge(ENOUGH + GIBIBYTE / 2, Path::new("/b")).found(),
            "10.5 GiB free for /b"
        );
    }
}
