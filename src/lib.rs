//! pybots, a community build farm.
//!
pub mod bus;
pub mod model;
pub mod slave;
pub mod trust;
pub mod wire;
