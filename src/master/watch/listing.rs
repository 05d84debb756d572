//! Reading what `git` lists. None means that it makes no sense.

use std::collections::BTreeMap;

use crate::model::{Branch, Commit, Revision, Text, Timestamp};

/// Reads lines of a revision, a tab and a ref. Refs that cannot be watched are passed over, whoever made them.
pub(super) fn tips(listing: &[u8]) -> Option<BTreeMap<Branch, Revision>> {
    let mut tips = BTreeMap::new();
    for line in String::from_utf8_lossy(listing).lines() {
        let (revision, name) = line.split_once('\t')?;
        let revision = revision.parse().ok()?;
        if let Some(Ok(branch)) = name.strip_prefix("refs/heads/").map(str::parse) {
            tips.insert(branch, revision);
        }
    }
    Some(tips)
}

/// Reads records of four fields, each ending in NUL; the rest of a record that was cut before its subject is dropped.
pub(super) fn commits(log: &[u8]) -> Option<Vec<Commit>> {
    let fields: Vec<_> = log
        .split(|&byte| byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    fields
        .chunks_exact(4)
        .map(|record| {
            Some(Commit {
                revision: record[0].parse().ok()?,
                // A commit without a readable date is a commit still.
                committed: Timestamp(record[1].parse().unwrap_or(0_u64).saturating_mul(1_000_000)),
                author: Text::tidy(&record[2]),
                subject: Text::tidy(&record[3]),
            })
        })
        .collect()
}

pub(super) fn count(count: &[u8]) -> Option<u32> {
    str::from_utf8(count).ok()?.trim_end().parse().ok()
}
