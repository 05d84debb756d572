//! What a later version may add to a message of this one: an optional map in field 99, `ext`.
//!
//! The signature and the payload's id cover it; a reader of this version checks how it is written and looks no further.
//! So it may only hold what a reader can do without. It is as strict as everything else, although nobody knows what is in
//! it: one spelling, a few plain types, and never deeper than [`Ext::MAX_DEPTH`]. Its size counts towards the message's.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::codec::{Field, PayloadError, Writer, sure};
use super::fields::Named;

/// A message's `ext`, in its one spelling; no bytes, if the message has none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ext(Vec<u8>);

impl Ext {
    /// Its number, greater than that of any other field of a message.
    pub(super) const NUMBER: u64 = 99;
    /// How deep maps and arrays may stand in each other, the `ext` itself included.
    const MAX_DEPTH: u8 = 8;
}

impl Field for Ext {
    fn put(&self, to: &mut Writer) {
        to.writer_mut().extend_from_slice(&self.0);
    }

    /// Writes anew what it reads: what the decoder is lax about differs then from what came.
    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        if from.datatype()? != Type::Map {
            return Err(unacceptable("it is not a map"));
        }
        let mut to = Encoder::new(Vec::new());
        copy_map(from, &mut to, Self::MAX_DEPTH)?;
        let ext = Self(to.into_writer());
        // A message without anything to add has one spelling too: it has no such field.
        if ext.0 == [0xa0] {
            return Err(unacceptable("it is empty"));
        }
        Ok(ext)
    }

    fn named(&self) -> Named {
        Named::Value(format!("{} bytes", self.0.len()))
    }

    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

fn unacceptable(why: &str) -> PayloadError {
    PayloadError::Value {
        what: "ext",
        why: why.to_owned(),
    }
}

fn copy(from: &mut Decoder<'_>, to: &mut Writer, depth: u8) -> Result<(), PayloadError> {
    match from.datatype()? {
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => sure(to.int(from.int()?)),
        Type::Bytes => sure(to.bytes(from.bytes()?)),
        Type::String => sure(to.str(from.str()?)),
        Type::Bool => sure(to.bool(from.bool()?)),
        Type::Null => {
            from.null()?;
            sure(to.null());
        }
        Type::Array => {
            let depth = deeper(depth)?;
            let declared = from.array()?.ok_or(PayloadError::NotDeterministic)?;
            sure(to.array(declared));
            for _ in 0..declared {
                copy(from, to, depth)?;
            }
        }
        Type::Map => copy_map(from, to, deeper(depth)?)?,
        Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef => {
            return Err(PayloadError::NotDeterministic);
        }
        Type::F16
        | Type::F32
        | Type::F64
        | Type::Tag
        | Type::Undefined
        | Type::Simple
        | Type::Break
        | Type::Unknown(_) => {
            return Err(unacceptable(
                "it holds something else than numbers, bytes, text, true, false, null, arrays and maps",
            ));
        }
    }
    Ok(())
}

fn copy_map(from: &mut Decoder<'_>, to: &mut Writer, depth: u8) -> Result<(), PayloadError> {
    let declared = from.map()?.ok_or(PayloadError::NotDeterministic)?;
    sure(to.map(declared));
    let mut before = None;
    for _ in 0..declared {
        let key = from.u64()?;
        if before.is_some_and(|before| key <= before) {
            return Err(unacceptable("its keys do not ascend"));
        }
        before = Some(key);
        sure(to.u64(key));
        copy(from, to, depth)?;
    }
    Ok(())
}

fn deeper(depth: u8) -> Result<u8, PayloadError> {
    match depth - 1 {
        0 => Err(unacceptable("it nests too deep")),
        left => Ok(left),
    }
}
