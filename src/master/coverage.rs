//! Asking the bus which keyring each slave holds.

use crate::bus::{Bus, BusError, Stream};
use crate::model::{KeyringsHeld, Presence, Report};
use crate::trust::{Purpose, Reader};

/// What each slave on the roster says that it holds, by its newest reports and sign of life.
///
/// # Errors
///
/// [`BusError::Request`] if the bus does not answer, or not to the end.
pub async fn learn_keyrings_held(bus: &Bus, reader: &Reader) -> Result<KeyringsHeld, BusError> {
    let mut held = KeyringsHeld::default();
    let lines = reader.roster().map_or(&[][..], |roster| &roster.lines);
    for line in lines.iter().filter(|line| line.closed.is_none()) {
        for builder in &line.builders {
            let subject = bus.subjects().report(&line.slave, builder);
            let Some(newest) = bus.read_newest(Stream::Results, &subject).await? else {
                continue;
            };
            if let Ok(report) = reader.open::<Report>(&newest.bytes, Purpose::History) {
                held.take_report(report.body());
            }
        }
    }
    for delivery in bus.read_all(Stream::Presence, ">", 1).await? {
        if let Ok(presence) = reader.open::<Presence>(&delivery.bytes, Purpose::History) {
            held.take_presence(presence.body());
        }
    }
    Ok(held)
}
