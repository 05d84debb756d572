//! The broker's spelling of a login's key.

use crate::model::PublicKey;

/// Stands before the key of a user: base32 then begins with `U`.
const USER: u8 = 20 << 3;

/// The nkey (`U…`) of a bus key, as the broker's list of users names it.
#[must_use]
pub fn nkey(key: &PublicKey) -> String {
    let mut bytes = vec![USER];
    bytes.extend(key.0);
    let check = crc16(&bytes);
    bytes.extend(check.to_le_bytes());
    data_encoding::BASE32_NOPAD.encode(&bytes)
}

/// CRC-16/XMODEM, which ends every nkey. The nkeys crate computes it, but for keys that it made itself only.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Login, bus_public_key};

    #[test]
    fn a_bus_key_is_written_as_its_seed_says_it() {
        let seed = Login::generate_seed().unwrap();
        let spelled = Login::nkey_of_seed(&seed).unwrap();
        let key = bus_public_key(&spelled).unwrap();
        assert_eq!(nkey(&key), spelled);
    }
}
