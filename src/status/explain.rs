//! Any message, layer by layer, and the first rule that it breaks.
//!
//! Pure: no bus, no clock. What is shown of the layers is not believed by anybody; the rule comes from the very readers
//! that everything else uses, so that what is said here is what a slave or a viewer would do.

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

use super::verify::{Part, chain, verify};
use crate::model::{
    Answer, Change, Command, FarmId, Head, KeyId, Keyring, Lead, Lease, LogChunk, PayloadId,
    Position, Presence, Release, Report, Request, Roster, Text,
};
use crate::trust::{
    KeyringError, Learnt, OpenError, Purpose, Reader, RosterError, open_first, payload_id,
};
use crate::wire::{
    Anatomy, Bundle, Envelope, KeyringEnvelopes, Kind, Named, Payload, Role, Shape, decode,
    name_fields,
};

/// What a message is held against.
pub struct Known {
    /// The farm; without it a keyring is held against itself, and nothing else is held against any farm.
    pub farm: Option<FarmId>,
    /// Keyrings and rosters of that farm; without them no signature is checked.
    pub reader: Option<Reader>,
    /// What the message should be, if that is known.
    pub kind: Option<Kind>,
    /// Whether somebody would act on it now, or fold the past.
    pub purpose: Purpose,
}

/// A message, explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Bytes in all.
    pub len: usize,
    /// What it seems to be.
    pub shape: Shape,
    /// Its envelope; each of a keyring's. A bundle has parts instead.
    pub envelopes: Vec<Explained>,
    /// The parts of a bundle.
    pub parts: Vec<BundlePart>,
    /// Whether a signature was checked, and what came of it; none for a bundle, which has many.
    pub signature: Option<Signature>,
    /// What is worth knowing and is no fault.
    pub notes: Vec<Text>,
    /// The first rule that it breaks.
    pub broken: Option<Broken>,
}

/// One envelope, explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its layers.
    pub anatomy: Anatomy,
    /// What it is identified by: the SHA-256 of its payload.
    pub id: Option<PayloadId>,
    /// The payload's fields by name, if it is one of its kind.
    pub fields: Option<Named>,
}

/// One part of a bundle.
#[derive(Clone, Debug)]
pub struct BundlePart {
    /// Which.
    pub part: Part,
    /// Bytes.
    pub len: usize,
    /// What it is identified by.
    pub id: Option<PayloadId>,
    /// The key that it claims to be signed with; the first of a keyring's.
    pub signer: Option<KeyId>,
}

/// What came of checking a signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signature {
    /// It is that of the key, over these bytes, for this farm.
    Matches,
    /// It is not.
    DoesNotMatch,
    /// Nobody checked it.
    NotChecked(&'static str),
}

/// A broken rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Stable code, such as `E-SIGNATURE`.
    pub code: &'static str,
    /// A sentence.
    pub why: Text,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.code)
    }
}

impl Broken {
    fn new(code: &'static str, error: &dyn std::error::Error) -> Self {
        let why = Text::tidy(&chain(error));
        Self { code, why }
    }
}

/// Explains `bytes`, whatever they are.
#[must_use]
pub fn explain(known: Known, bytes: &Bytes) -> Explanation {
    let shape = Shape::of(bytes);
    let mut found = Explanation {
        len: bytes.len(),
        shape,
        envelopes: Vec::new(),
        parts: Vec::new(),
        signature: None,
        notes: Vec::new(),
        broken: None,
    };
    match shape {
        Shape::Bundle => explain_bundle(&mut found, &known, bytes),
        Shape::Keyring => {
            let envelopes = Anatomy::of_array(bytes, KeyringEnvelopes::MAX + 1);
            found.envelopes = envelopes.into_iter().map(explained).collect();
            judge(&mut found, known, Kind::Keyring, bytes);
        }
        Shape::Envelope => {
            let envelope = explained(Anatomy::of(bytes));
            let kind = known.kind.or_else(|| envelope.anatomy.kind());
            found.envelopes.push(envelope);
            match kind {
                Some(kind) => judge(&mut found, known, kind, bytes),
                None => judge_unknown(&mut found, bytes),
            }
        }
    }
    found
}

fn explained(anatomy: Anatomy) -> Explained {
    let payload = anatomy
        .payload
        .as_ref()
        .and_then(|layer| layer.content.as_deref());
    Explained {
        id: payload.map(payload_id),
        fields: anatomy
            .kind()
            .zip(payload)
            .and_then(|(kind, payload)| name_fields(kind, payload).ok()),
        anatomy,
    }
}

fn explain_bundle(found: &mut Explanation, known: &Known, bytes: &Bytes) {
    let bundle = match Bundle::parse(bytes) {
        Ok(bundle) => bundle,
        Err(error) => {
            found.broken = Some(Broken::new(error.code(), &error));
            return;
        }
    };
    let numbered = |part: fn(usize) -> Part, all: &[Bytes]| -> Vec<BundlePart> {
        let parts = (1..).zip(all);
        parts
            .map(|(place, bytes)| in_bundle(part(place), bytes))
            .collect()
    };
    found.parts = numbered(Part::Keyring, &bundle.keyrings);
    found.parts.extend(numbered(Part::Roster, &bundle.rosters));
    found.parts.push(in_bundle(Part::Command, &bundle.command));
    let cancel = bundle.cancel.iter();
    found
        .parts
        .extend(cancel.map(|bytes| in_bundle(Part::Cancel, bytes)));
    found.parts.extend(numbered(Part::Report, &bundle.reports));
    let log = bundle.log.as_deref().unwrap_or_default();
    found.parts.extend(numbered(Part::Piece, log));
    let Some(farm) = known.farm else {
        let note = "nothing of it was checked: no farm was given";
        found.notes.push(Text::tidy(note));
        return;
    };
    let verification = verify(farm, &bundle, &[]);
    found.broken = verification.findings.first().map(|finding| {
        let why = if finding.part == Part::Bundle {
            finding.why.clone()
        } else {
            Text::tidy(&format!("{}: {}", finding.part, finding.why))
        };
        let code = finding.code;
        Broken { code, why }
    });
    found.notes = verification.notes;
}

fn in_bundle(part: Part, bytes: &Bytes) -> BundlePart {
    let envelope = match KeyringEnvelopes::parse(bytes) {
        Ok(keyring) => keyring.envelopes().first().cloned(),
        Err(_) => Envelope::parse(bytes, longest()).ok(),
    };
    BundlePart {
        part,
        len: bytes.len(),
        id: envelope
            .as_ref()
            .map(|envelope| payload_id(&envelope.payload)),
        signer: envelope.map(|envelope| envelope.signer),
    }
}

fn longest() -> usize {
    Kind::ALL.into_iter().map(Kind::max_len).max().unwrap_or(0)
}

/// Nothing says what kind it is: so it is no envelope, and that is the first rule.
fn judge_unknown(found: &mut Explanation, bytes: &[u8]) {
    let error = Envelope::parse(bytes, longest()).err();
    found.broken = error.map(|error| Broken::new(error.code(), &error));
    found.signature = Some(Signature::NotChecked(EARLIER));
}

const EARLIER: &str = "a rule that comes before is broken";
const NO_KEYS: &str = "no keyring was given";
const OLD: &str = "the keyrings that were given hold it already, or a newer one";
const NO_REQUESTERS: &str = "only the master's configuration says whose key this is";
const NO_ROSTER: &str = "no roster was given, which says whose key this is";

fn judge(found: &mut Explanation, known: Known, kind: Kind, bytes: &[u8]) {
    let (signature, broken) = match kind {
        Kind::Keyring => judge_keyring(&mut found.notes, known, bytes),
        Kind::Roster => judge_roster(known, bytes),
        Kind::Head => judge_message::<Head>(&known, bytes),
        Kind::Lead => judge_message::<Lead>(&known, bytes),
        Kind::Change => judge_message::<Change>(&known, bytes),
        Kind::Command => judge_message::<Command>(&known, bytes),
        Kind::Report => judge_message::<Report>(&known, bytes),
        Kind::Log => judge_message::<LogChunk>(&known, bytes),
        Kind::Presence => judge_message::<Presence>(&known, bytes),
        Kind::Release => judge_message::<Release>(&known, bytes),
        Kind::Request => judge_message::<Request>(&known, bytes),
        Kind::Answer => judge_message::<Answer>(&known, bytes),
        Kind::Lease => judge_message::<Lease>(&known, bytes),
    };
    found.signature = Some(signature);
    found.broken = broken;
}

type Judged = (Signature, Option<Broken>);

/// A keyring is judged by the farm's id if it is the first or claims to be, and else by the chain that is held.
fn judge_keyring(notes: &mut Vec<Text>, known: Known, bytes: &[u8]) -> Judged {
    let Ok(envelopes) = KeyringEnvelopes::parse(bytes) else {
        return judge_first(&FarmId([0; 32]), bytes);
    };
    let itself = FarmId(payload_id(envelopes.payload()).0);
    let keyring = decode::<Keyring>(envelopes.payload());
    let is_later = keyring.is_ok_and(|keyring| keyring.position != Position::default());
    match (known.farm, known.reader) {
        (_, Some(mut reader)) if is_later => judge_later(&mut reader, bytes),
        (None, None) if is_later => (Signature::NotChecked(NO_KEYS), None),
        (Some(farm), None) if is_later && farm != itself => (Signature::NotChecked(NO_KEYS), None),
        (Some(farm), _) => judge_first(&farm, bytes),
        (None, _) => {
            notes.push(Text::tidy(&format!(
                "no farm was given: it is held against farm {itself}, whose first keyring it says it is"
            )));
            judge_first(&itself, bytes)
        }
    }
}

fn judge_first(farm: &FarmId, bytes: &[u8]) -> Judged {
    match open_first(farm, bytes) {
        Ok(_) => (Signature::Matches, None),
        Err(error) => not_taken_in(&error),
    }
}

fn judge_later(reader: &mut Reader, bytes: &[u8]) -> Judged {
    match reader.learn_keyring(bytes) {
        Ok(Learnt::Newer) => (Signature::Matches, None),
        Ok(Learnt::Nothing) => (Signature::NotChecked(OLD), None),
        Ok(Learnt::Forked) => {
            let why = "it contradicts the keyring that was given for its position: somebody else holds master keys";
            let (code, why) = ("E-FORK", Text::tidy(why));
            (Signature::Matches, Some(Broken { code, why }))
        }
        Err(error) => not_taken_in(&error),
    }
}

fn not_taken_in(error: &KeyringError) -> Judged {
    let signature = match error {
        KeyringError::BadSignature(_) => Signature::DoesNotMatch,
        KeyringError::Threshold { .. } => Signature::Matches,
        KeyringError::Envelope(_)
        | KeyringError::OtherFarm { .. }
        | KeyringError::Payload(_)
        | KeyringError::NotTheFirst(_)
        | KeyringError::Unsound(_)
        | KeyringError::Rule(_)
        | KeyringError::Unlinked { .. }
        | KeyringError::OtherPredecessor(_)
        | KeyringError::NotCommitted(_)
        | KeyringError::MastersChanged(_) => Signature::NotChecked(EARLIER),
    };
    (signature, Some(Broken::new(error.code(), error)))
}

fn judge_roster(known: Known, bytes: &[u8]) -> Judged {
    let Some(mut reader) = known.reader else {
        return judge_unsigned::<Roster>(&known, NO_KEYS, bytes);
    };
    match reader.learn_roster(bytes) {
        Ok(()) => (Signature::Matches, None),
        Err(error) => {
            let signature = match &error {
                RosterError::Open(error) => checked(error),
                RosterError::Unsound(_)
                | RosterError::OneKeyForTwo(_)
                | RosterError::Contradiction(_) => Signature::Matches,
            };
            (signature, Some(Broken::new(error.code(), &error)))
        }
    }
}

fn judge_message<T: Payload>(known: &Known, bytes: &[u8]) -> Judged {
    let Some(reader) = &known.reader else {
        return judge_unsigned::<T>(known, NO_KEYS, bytes);
    };
    if T::KIND.signer() == Role::Report && reader.roster().is_none() {
        return judge_unsigned::<T>(known, NO_ROSTER, bytes);
    }
    if T::KIND.signer() == Role::Requester && !reader.lets_anybody_ask() {
        return judge_unsigned::<T>(known, NO_REQUESTERS, bytes);
    }
    match reader.open::<T>(bytes, known.purpose) {
        Ok(_) => (Signature::Matches, None),
        Err(error) => (checked(&error), Some(Broken::new(error.code(), &error))),
    }
}

/// What came of the signature, by the rule that was broken: the rules have an order.
fn checked(error: &OpenError) -> Signature {
    match error {
        OpenError::Envelope(_) | OpenError::OtherKind { .. } | OpenError::UnknownKey(_) => {
            Signature::NotChecked(EARLIER)
        }
        OpenError::BadSignature(_) => Signature::DoesNotMatch,
        OpenError::Payload(_)
        | OpenError::OtherFarm(_)
        | OpenError::NotTheReporter { .. }
        | OpenError::NotTheRequester { .. }
        | OpenError::Revoked(_)
        | OpenError::OutsideWindow(_) => Signature::Matches,
    }
}

/// Every rule that needs no key.
fn judge_unsigned<T: Payload>(known: &Known, why: &'static str, bytes: &[u8]) -> Judged {
    let open = || -> Result<(), OpenError> {
        let envelope = Envelope::parse(bytes, T::KIND.max_len())?;
        if envelope.kind != T::KIND {
            return Err(OpenError::OtherKind {
                expected: T::KIND,
                found: envelope.kind,
            });
        }
        let body: T = decode(&envelope.payload)?;
        match (body.farm(), known.farm) {
            (Some(found), Some(farm)) if *found != farm => Err(OpenError::OtherFarm(*found)),
            (Some(_) | None, _) => Ok(()),
        }
    };
    let broken = open().err().map(|error| Broken::new(error.code(), &error));
    (Signature::NotChecked(why), broken)
}
