//! Payloads: which type stands in which kind of message, and what every one of them must be able to say of itself.

use super::codec::PayloadError;
use super::ext::Ext;
use super::kind::Kind;
use super::message::{decode_message, encode_message};
use crate::model::{
    Answer, Change, Command, FarmId, Head, Keyring, Lead, Lease, LogChunk, Presence, Release,
    Report, Request, RequesterName, Roster, SlaveName, Timestamp,
};

mod sealed {
    pub trait Sealed {}
}

/// What an envelope may carry.
pub trait Payload: Sized + sealed::Sealed {
    /// The kind of message that carries it.
    const KIND: Kind;

    /// The farm that it names; a keyring names none, it *is* the farm.
    fn farm(&self) -> Option<&FarmId>;

    /// When it was made, by its maker's clock.
    fn issued(&self) -> Timestamp;

    /// The slave that speaks in it, for what slaves sign.
    fn reporter(&self) -> Option<&SlaveName> {
        None
    }

    /// The person that speaks in it, for what requesters sign.
    fn requester(&self) -> Option<&RequesterName> {
        None
    }

    /// Its one spelling.
    #[doc(hidden)]
    fn to_payload(&self) -> Vec<u8>;

    #[doc(hidden)]
    fn from_payload(bytes: &[u8]) -> Result<Self, PayloadError>;
}

macro_rules! payload {
    ($type:ident, $kind:ident, $farm:expr, $issued:expr $(, reporter $reporter:expr)? $(, requester $requester:expr)?) => {
        impl sealed::Sealed for $type {}

        impl Payload for $type {
            const KIND: Kind = Kind::$kind;

            fn farm(&self) -> Option<&FarmId> {
                let farm: fn(&Self) -> Option<&FarmId> = $farm;
                farm(self)
            }

            fn issued(&self) -> Timestamp {
                let issued: fn(&Self) -> Timestamp = $issued;
                issued(self)
            }

            $(fn reporter(&self) -> Option<&SlaveName> {
                let reporter: fn(&Self) -> Option<&SlaveName> = $reporter;
                reporter(self)
            })?

            $(fn requester(&self) -> Option<&RequesterName> {
                let requester: fn(&Self) -> Option<&RequesterName> = $requester;
                requester(self)
            })?

            fn to_payload(&self) -> Vec<u8> {
                encode_message(self, &Ext::default())
            }

            fn from_payload(bytes: &[u8]) -> Result<Self, PayloadError> {
                decode_message(bytes)
            }
        }
    };
}

payload!(Keyring, Keyring, |_| None, |it| it.issued);
payload!(Roster, Roster, |it| Some(&it.farm), |it| it.issued);
payload!(Head, Head, |it| Some(&it.farm), |it| it.time);
payload!(Lead, Lead, |it| Some(&it.farm), |it| it.issued);
payload!(Change, Change, |it| Some(&it.farm), |it| it.seen);
payload!(Command, Command, |it| Some(it.farm()), Command::issued);
payload!(
    Report,
    Report,
    |it| Some(&it.farm),
    |it| it.issued,
    reporter | it | Some(&it.slave)
);
payload!(
    LogChunk,
    Log,
    |it| Some(&it.farm),
    |it| it.issued,
    reporter | it | Some(&it.slave)
);
payload!(
    Presence,
    Presence,
    |it| Some(&it.farm),
    |it| it.issued,
    reporter | it | Some(&it.slave)
);
payload!(Release, Release, |it| Some(&it.farm), |it| it.seen);
payload!(
    Request,
    Request,
    |it| Some(&it.farm),
    |it| it.issued,
    requester | it | Some(&it.requester)
);
payload!(Answer, Answer, |it| Some(&it.farm), |it| it.issued);
payload!(Lease, Lease, |it| Some(&it.farm), |it| it.issued);

/// The one spelling of `payload`, without the `ext` that it may have been read with: the id of what was received is taken
/// of the bytes received.
#[must_use]
pub fn encode<T: Payload>(payload: &T) -> Vec<u8> {
    payload.to_payload()
}

/// Reads a payload. The caller has already checked who signed these bytes. An `ext` in it is checked and left out.
///
/// # Errors
///
/// [`PayloadError`]: too long; not the fields of this kind; or not in their one allowed spelling.
pub fn decode<T: Payload>(bytes: &[u8]) -> Result<T, PayloadError> {
    let max = T::KIND.max_len();
    if bytes.len() > max {
        return Err(PayloadError::TooLong {
            len: bytes.len(),
            max,
        });
    }
    T::from_payload(bytes)
}
