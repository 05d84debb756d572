//! The fuzzer: bytes that libFuzzer thinks of, against what must hold of any bytes. `tests/run fuzz` runs it.
//!
//! `PYBOTS_FUZZ` names what is fuzzed, a kind of message or `bundle`; the arguments are libFuzzer's.

#![no_main]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is a test"
)]

mod oracle;

use std::env;
use std::sync::LazyLock;

static TARGET: LazyLock<oracle::Target> = LazyLock::new(|| {
    let name = env::var("PYBOTS_FUZZ").expect("PYBOTS_FUZZ names a kind of message, or bundle");
    name.parse()
        .unwrap_or_else(|error| panic!("PYBOTS_FUZZ: {error}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.check(bytes));
