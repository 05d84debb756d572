//! The `pybots` program. Everything is in the library; see [`pybots`] for the map.

use std::process::ExitCode;

fn main() -> ExitCode {
    pybots::cli::main()
}
