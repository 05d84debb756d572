//! Replays what the fuzzer found worth keeping: `corpus/<target>` holds bytes that each take another way through the code.
//!
//! `tests/run fuzz SECONDS` goes on from there and leaves what is new in `target/tests/fuzz/<target>`. To take over from that
//! what reaches further:
//!
//! ```text
//! PYBOTS_FUZZ=head target/debug/examples/fuzz -set_cover_merge=1 -use_counters=0 -use_cmp=0 \
//!     tests/fuzz/corpus/head target/tests/fuzz/head
//! ```

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test, and says so by ending"
)]

mod oracle;

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use pybots::wire::Kind;

use oracle::Target;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

#[test]
fn there_is_a_corpus_for_each_kind_of_message_and_for_bundles() {
    let there: BTreeSet<String> = files(&corpus())
        .iter()
        .map(|folder| folder.file_name().expect("a name").to_string_lossy().into())
        .collect();
    let kinds = Kind::ALL.into_iter().map(|kind| kind.name().to_owned());
    assert_eq!(there, kinds.chain(["bundle".to_owned()]).collect());
}

#[test]
fn no_golden_file_and_no_bytes_of_the_corpus_break_a_promise_of_the_wire() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let golden = [files(&golden.join("good")), files(&golden.join("bad"))].concat();
    for folder in files(&corpus()) {
        let name = folder.file_name().expect("a name").to_string_lossy();
        let target: Target = name.parse().expect("a folder is named by its target");
        // Golden files are of all kinds; each is taken for each.
        for file in files(&folder).iter().chain(&golden) {
            let bytes = fs::read(file).expect("a file that was listed");
            let held = panic::catch_unwind(|| target.check(&bytes));
            assert!(held.is_ok(), "{target:?}: {}", file.display());
        }
    }
}

#[test]
fn a50_a51_what_is_large_beside_a_payload_takes_no_memory() {
    let bombs: [fn(usize) -> Vec<u8>; 4] = [
        // The payload is 60,000 numbers; so is the unprotected header, and the protected one; or arrays without end nest.
        |len| [&b"\xd2\x84\x40\xa0\x99\xea\x60"[..], &vec![0; len]].concat(),
        |len| [&b"\xd2\x84\x40\x99\xea\x60"[..], &vec![0; len]].concat(),
        |len| [&b"\xd2\x84\x59\xea\x60\x99\xea\x5d"[..], &vec![0; len]].concat(),
        |len| [&b"\xd2\x84"[..], &b"\x82\x9f".repeat(len / 2)].concat(),
    ];
    for kind in Kind::ALL {
        for bomb in bombs {
            let bomb = bomb(kind.max_len().min(60_500));
            Target::Message(kind).check(&bomb);
            Target::Message(kind).check(&[&b"\x81"[..], &bomb].concat());
        }
    }
}
