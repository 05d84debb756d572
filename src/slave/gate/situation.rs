//! What the gate needs to know of the world.

use crate::model::{Digest, Head, Position, Timestamp};
use crate::slave::config::Mapping;
use crate::slave::host::Host;
use crate::slave::owner::Hold;
use crate::trust::KeysFault;

/// What the gate needs to know of the world, gathered by its caller.
pub struct Situation<'a> {
    /// Now; never behind the slave's high-water mark.
    pub now: Timestamp,
    /// The newest verified head.
    pub head: Option<&'a Head>,
    /// The newest keyring held.
    pub keyring: Position,
    /// The highest number of a build of its builder that was accepted; 0 before the first.
    pub highest: u64,
    /// Why nothing may be started on the word of any key.
    pub keys_fault: Option<KeysFault>,
    /// When it was found out that the disk is an older copy of what it was.
    pub restored: Option<Timestamp>,
    /// Whether this command id is in the journal.
    pub seen: bool,
    /// Whether a cancel for this command id came before it.
    pub cancelled: bool,
    /// Looks at a mapped script: safe, and with which digest?
    pub script: &'a dyn Fn(&Mapping) -> Result<Digest, &'static str>,
    /// Until when the owner wants nothing started, and why.
    pub held: Option<(Timestamp, Hold)>,
    /// Whether slave.toml has been changed to what cannot be acted on.
    pub misread: bool,
    /// What is left of the machine.
    pub host: Host,
}
