//! Fixed-size identifiers: hashes and public keys, each a type of its own.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, HEXLOWER};

/// Why text was not read as a hash.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} is written {prefix} and the base64 (43 characters, no padding) of 32 bytes")]
pub struct DigestError {
    what: &'static str,
    prefix: &'static str,
}

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, BASE64_NOPAD.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(raw: &str) -> Result<Self, DigestError> {
                let error = DigestError { what: $what, prefix: $prefix };
                let encoded = raw.strip_prefix($prefix).ok_or_else(|| error.clone())?;
                let bytes = BASE64_NOPAD.decode(encoded.as_bytes()).map_err(|_| error.clone())?;
                bytes.try_into().map(Self).map_err(|_| error)
            }
        }

        impl TryFrom<String> for $name {
            type Error = DigestError;

            fn try_from(raw: String) -> Result<Self, DigestError> {
                raw.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

bytes32!(
    /// What a farm is: the SHA-256 of the payload of its first keyring, 0.0. This is what a slave pins.
    FarmId, "a farm id", "SHA256:"
);
bytes32!(
    /// SHA-256 COSE key thumbprint (RFC 9679) of an Ed25519 public key.
    KeyId, "a key id", "SHA256:"
);
bytes32!(
    /// SHA-256 of a payload's bytes: what a signed thing is identified by, whatever envelope carries it.
    PayloadId, "a payload's id", "SHA256:"
);
bytes32!(
    /// SHA-256 of a file, a log or a key set.
    Digest, "a digest", "SHA256:"
);
bytes32!(
    /// An Ed25519 public key (RFC 8032), not yet known to be a sound one.
    PublicKey, "a public key", "ed25519:"
);

impl FarmId {
    /// The farm's token in NATS subjects: the first 10 characters of the id in lower-case base32.
    #[must_use]
    pub fn token(&self) -> String {
        let mut token = BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        token.truncate(10);
        token
    }
}

impl PayloadId {
    /// The first 12 hexadecimal digits, enough to tell commands of one slave apart by eye.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = HEXLOWER.encode(&self.0);
        hex.truncate(12);
        hex
    }

    /// All 64 hexadecimal digits; unlike the base64 form it can stand in a file name.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// One start of a slave or master process: random, so that two that share a key can be told apart.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InstanceId(pub [u8; 16]);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn farm_id_survives_being_written_and_read() {
        let id = FarmId([7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.token(), "a4dqobyha4");
        for bad in [
            "",
            "SHA256:",
            "sha256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            "SHA256:BwcH",
            "BwcH",
        ] {
            assert!(bad.parse::<FarmId>().is_err(), "{bad:?}");
        }
    }
}
