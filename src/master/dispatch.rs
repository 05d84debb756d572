//! Publishing to COMMANDS as the one who leads.
//!
//! Every message to COMMANDS names the sequence that the whole stream must stand at. A master that lost the lead without
//! noticing is stopped by that, whichever builder it speaks to. Whatever could not be stored for sure is read again and
//! decided again: an earlier try is either there, or behind something that keeps it out for ever.

use std::time::Duration;

use crate::bus::{Bus, BusError, Delivery, Progressed, Stream};
use crate::model::{Command, FarmId, PayloadId};
use crate::trust::{SecretKey, seal};
use crate::wire::Subjects;

/// A signed command, ready to be published.
pub(super) struct Order {
    pub(super) id: PayloadId,
    pub(super) command: Command,
    pub(super) subject: String,
    pub(super) bytes: Vec<u8>,
}

impl Order {
    /// Signs a command.
    pub(super) fn new(
        key: &SecretKey,
        farm: &FarmId,
        subjects: &Subjects,
        command: Command,
    ) -> Self {
        let sealed = seal(key, farm, &command);
        Self {
            id: sealed.id,
            subject: subjects.command(command.slave(), command.builder()),
            command,
            bytes: sealed.bytes,
        }
    }
}

/// What came of messages that were published behind one another.
pub(super) struct Outcome {
    /// Why not all of them are stored for sure; none if all are.
    pub(super) fault: Option<BusError>,
    /// If so: all that stands behind what was the newest message, ours too.
    pub(super) held: Vec<Delivery>,
}

/// How long to wait after a fault, the more often it comes in a row.
pub(super) fn pause(faults: u32) -> Duration {
    (Duration::from_millis(100) * 2u32.pow(faults.min(5))).min(Duration::from_secs(2))
}

/// Publishes `messages` behind sequence `last` of COMMANDS. What is not stored at the first try is not tried again.
pub(super) async fn dispatch(
    bus: Bus,
    last: u64,
    messages: Vec<(String, Vec<u8>)>,
    pause: Duration,
) -> Outcome {
    let Progressed { fault, .. } = bus.publish_behind(Stream::Commands, last, messages).await;
    if fault.is_none() {
        let held = Vec::new();
        return Outcome { fault, held };
    }
    // A server that contradicts itself must not be asked without a pause either.
    tokio::time::sleep(pause).await;
    loop {
        match bus.read_all(Stream::Commands, ">", last + 1).await {
            Ok(held) => return Outcome { fault, held },
            Err(error) => {
                tracing::debug!(%error, "command stream not readable now");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_a_fault_grows_and_ends_at_two_seconds() {
        let pauses: Vec<u128> = (0..7).map(|faults| pause(faults).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(pause(u32::MAX), Duration::from_secs(2));
    }
}
