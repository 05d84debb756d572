//! The bytes: envelopes, payloads and subject names. Frozen once released: a released version is never edited, a new one
//! is added beside it.
//!
//! Everything is strict in both directions. There is exactly one spelling of each message, and anything else is refused,
//! because a thing is identified by the SHA-256 of its payload bytes: a second spelling would be a second identity.

mod anatomy;
mod bundle;
mod codec;
mod diagnostic;
mod envelope;
mod ext;
mod fields;
mod kind;
mod message;
mod payload;
mod subject;
mod v1;

pub use anatomy::{Anatomy, Layer, Shape};
pub use bundle::{Bundle, BundleError};
pub use codec::PayloadError;
pub use envelope::{Envelope, EnvelopeError, KeyringEnvelopes};
pub use fields::{Named, name_fields};
pub use kind::{Kind, Role};
pub use payload::{Payload, decode, encode};
pub use subject::Subjects;
