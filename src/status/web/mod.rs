//! The status page: the board as HTML, for people with a browser.
//!
//! GET only, and no key in the process: nothing that a reader sends can change anything. Every page is complete without
//! JavaScript; with it, the page stays up to date. All that slaves, commits and configurations say is escaped by the
//! templates.

mod answer;
mod colours;
mod events;
mod page;
mod server;

pub use server::serve;
