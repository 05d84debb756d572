//! Keyrings as a viewer learns them.

use crate::bus::{Bus, BusError, Delivery, KeyringCursor, Progress, Stream, Taken};
use crate::model::{FarmId, Position};
use crate::trust::{KeysFault, Learnt, Reader};

use super::text::age;
use super::view::ViewError;

/// Lets `reader` learn a keyring.
pub(super) fn learn(reader: &mut Reader, delivery: &Delivery) -> Taken {
    match reader.learn_keyring(&delivery.bytes) {
        Ok(Learnt::Newer) => Taken::Newest(reader.keyring().position),
        Ok(Learnt::Forked) => {
            let position = reader.chain().fork().map(|fork| fork.position.to_string());
            tracing::error!(
                position,
                "two keyrings at one position: somebody else holds master keys"
            );
            Taken::Contradiction
        }
        Ok(Learnt::Nothing) => Taken::Nothing,
        Err(error) => {
            tracing::debug!(sequence = delivery.sequence, %error, "keyring rejected");
            Taken::Nothing
        }
    }
}

/// Begins to read what may follow the keyrings that `reader` holds.
pub(super) fn cursor(reader: &Reader) -> KeyringCursor {
    KeyringCursor::new(reader.keyring().position.generation)
}

/// Reads up to `parts` parts of what the bus holds behind the cursor; returns whether there may be more.
pub(super) async fn read(
    bus: &Bus,
    cursor: &mut KeyringCursor,
    parts: usize,
    mut take: impl FnMut(&Delivery) -> Taken,
) -> Result<Progress, BusError> {
    for _ in 0..parts {
        if bus.read_keyrings(cursor, &mut take).await? == Progress::Done {
            return Ok(Progress::Done);
        }
    }
    Ok(Progress::More)
}

/// Why nothing is to be believed, in words.
pub(super) fn of_fault(fault: &KeysFault) -> String {
    match fault {
        KeysFault::Forked(fork) => format!(
            "Two keyrings at {}: somebody else holds a master key. Nothing of this generation is to be believed until the \
             operator publishes a succession.",
            fork.position
        ),
        KeysFault::Expired { position, ago } => format!(
            "The newest keyring, {position}, expired {} ago: slaves start nothing until the operator publishes a newer one.",
            age(*ago)
        ),
    }
}

/// Stable code of what `fault` is.
pub(super) fn code_of_fault(fault: &KeysFault) -> &'static str {
    match fault {
        KeysFault::Forked(_) => "E-FORK",
        KeysFault::Expired { .. } => "E-KEYRING-EXPIRED",
    }
}

/// Reads the farm's first keyring from the bus; also returns the message that held it.
pub(super) async fn first_reader(bus: &Bus, farm: FarmId) -> Result<(Reader, Delivery), ViewError> {
    let subject = bus.subjects().keyring(Position::default());
    let mut found = ViewError::NoKeyring(farm);
    let mut from = 0;
    // Whoever can make the broker store junk around the keyring does not hide it: the first that verifies counts.
    loop {
        let batch = bus.read(Stream::Keyring, &subject, from).await?;
        if batch.is_empty() {
            return Err(found);
        }
        for delivery in batch {
            from = delivery.sequence + 1;
            match Reader::new(farm, &delivery.bytes) {
                Ok(reader) => return Ok((reader, delivery)),
                Err(error) => found = ViewError::Keyring(error),
            }
        }
    }
}
