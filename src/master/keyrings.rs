//! Keyrings to and from the bus.

use super::run::RunError;
use crate::bus::{Bus, BusError, KeyringCursor, Progress, Stream, Taken};
use crate::model::PayloadId;
use crate::trust::{KeyringError, Learnt, Reader, payload_id};
use crate::wire::{KeyringEnvelopes, decode};

/// Takes in the keyrings on the bus that are not known here.
///
/// # Errors
///
/// [`BusError`] if they cannot be read. What does not verify is told and left out.
pub async fn learn_keyrings(bus: &Bus, reader: &mut Reader) -> Result<(), BusError> {
    let mut cursor = KeyringCursor::new(reader.keyring().position.generation);
    let mut progress = Progress::More;
    while progress == Progress::More {
        progress = bus
            .read_keyrings(&mut cursor, |delivery| {
                match reader.learn_keyring(&delivery.bytes) {
                    Ok(Learnt::Newer) => Taken::Newest(reader.keyring().position),
                    Ok(Learnt::Forked) => Taken::Contradiction,
                    Ok(Learnt::Nothing) => Taken::Nothing,
                    Err(error) => {
                        tracing::warn!(sequence = delivery.sequence, code = error.code(), %error, "keyring rejected");
                        Taken::Nothing
                    }
                }
            })
            .await?;
    }
    Ok(())
}

/// Puts a keyring on the bus, where every reader looks for it, unless it is there among whatever else is.
///
/// # Errors
///
/// [`RunError`] if the bus cannot be read, or the bytes are no keyring.
pub async fn publish_keyring(bus: &Bus, bytes: &[u8]) -> Result<(), RunError> {
    let envelopes = KeyringEnvelopes::parse(bytes).map_err(KeyringError::from)?;
    let keyring: crate::model::Keyring = decode(envelopes.payload()).map_err(KeyringError::from)?;
    let subject = bus.subjects().keyring(keyring.position);
    let held = bus.read_all(Stream::Keyring, &subject, 1).await?;
    if held.iter().all(|delivery| delivery.bytes != bytes) {
        let id: PayloadId = payload_id(bytes);
        bus.publish_until_stored(subject, &id.to_hex(), bytes.to_vec())
            .await;
    }
    Ok(())
}
