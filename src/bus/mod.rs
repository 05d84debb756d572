//! Delivery. Moves bytes over NATS and knows nothing of what they mean or who signed them.
//!
//! The broker is trusted with nothing: whatever matters is signed and every reader verifies for itself. Permissions at the
//! broker ([`server_config`]) are a second wall.

mod announcements;
mod connection;
mod consumer;
mod follow;
mod hints;
mod inspect;
mod keyrings;
mod nkey;
mod pipeline;
mod publish;
mod read;
mod server;
mod signs;
mod stream;

pub use announcements::Announcements;
pub use connection::{Bus, BusAddress, BusError, Login, Patience, Returns, bus_public_key};
pub use consumer::{Commands, Parcel};
pub use follow::{Follower, Next};
pub use hints::Hints;
pub use inspect::{BusTrouble, StreamState, TimeSource};
pub use keyrings::{KeyringCursor, Progress, Taken};
pub use nkey::nkey;
pub use pipeline::{Pipeline, Room, Word};
pub use publish::{Expected, Stored};
pub use read::Delivery;
pub use server::{Access, ServerConfig, User, server_config, users_list};
pub use signs::{Sign, Signs};
pub use stream::Stream;
