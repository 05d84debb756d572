//! The `pybots` program.

fn main() {}
