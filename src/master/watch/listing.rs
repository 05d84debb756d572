//! Reading what `git` lists. None means that it makes no sense.

use std::collections::BTreeMap;

use crate::model::{Branch, Change, Commit, Revision, Text, Timestamp};

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

/// Reads lines of a revision, a tab and a ref; gives what comes after `prefix` in the names of tags.
pub(super) fn tags(listing: &[u8], prefix: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    for line in String::from_utf8_lossy(listing).lines() {
        let (_, name) = line.split_once('\t')?;
        let tag = name.strip_prefix("refs/tags/");
        if let Some(rest) = tag.and_then(|tag| tag.strip_prefix(prefix)) {
            // An annotated tag may be listed a second time, as what it stands for.
            tags.extend((!rest.ends_with("^{}")).then(|| rest.to_owned()));
        }
    }
    Some(tags)
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

/// Reads paths, each ending in NUL. None if they are more than one change may list, or one of them is no plain text.
pub(super) fn paths(listing: &[u8]) -> Option<Vec<Text>> {
    let Some(listing) = listing.strip_suffix(b"\0") else {
        return listing.is_empty().then(Vec::new);
    };
    let count = listing.split(|&byte| byte == 0).count();
    // Each path but the last ends in a byte that is none of it.
    if count > Change::MAX_PATHS || listing.len() - (count - 1) > Change::MAX_PATH_BYTES {
        return None;
    }
    listing
        .split(|&byte| byte == 0)
        .map(|path| {
            let path = str::from_utf8(path).ok()?;
            Text::try_from(path.to_owned()).ok()
        })
        .collect()
}
