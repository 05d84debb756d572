//! A payload as a whole: the record at its top, which alone may carry an `ext`.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::codec::{PayloadError, Writer};
use super::ext::Ext;
use super::fields::Named;

/// What can stand at the top of a payload. It is no [`Field`](super::codec::Field), so it stands nowhere else.
pub(super) trait Message: Sized {
    fn put(&self, ext: &Ext, to: &mut Writer);

    /// The value without its `ext`, and the `ext`, which no reader of this version looks into.
    fn take(from: &mut Decoder<'_>) -> Result<(Self, Ext), PayloadError>;

    fn named(&self) -> Named;
}

/// A [`record!`](super::codec::record) at the top of a payload: after its own fields it may have field 99.
macro_rules! message {
    ($type:ident { $($number:literal => $field:ident),+ $(,)? }) => {
        $(const _: () = assert!($number < Ext::NUMBER);)+

        impl Message for $type {
            fn put(&self, ext: &Ext, to: &mut Writer) {
                put_fields!(to, { $($number => self.$field,)+ Ext::NUMBER => ext });
            }

            fn take(from: &mut Decoder<'_>) -> Result<(Self, Ext), PayloadError> {
                let mut fields = Fields::begin(stringify!($type), from)?;
                let value = Self { $($field: fields.take($number, from)?),+ };
                let ext = fields.take(Ext::NUMBER, from)?;
                fields.end(from)?;
                Ok((value, ext))
            }

            fn named(&self) -> Named {
                name_fields!({ $($field => self.$field),+ })
            }
        }
    };
}

/// Writes and reads an enum whose variants hold one message each as the array `[variant, message]`.
macro_rules! either {
    ($type:ident { $($variant:literal => $name:ident),+ $(,)? }) => {
        impl Message for $type {
            fn put(&self, ext: &Ext, to: &mut Writer) {
                sure(to.array(2));
                match self {
                    $(Self::$name(inner) => {
                        sure(to.u64($variant));
                        inner.put(ext, to);
                    })+
                }
            }

            fn take(from: &mut Decoder<'_>) -> Result<(Self, Ext), PayloadError> {
                if from.array()? != Some(2) {
                    return Err(PayloadError::NotDeterministic);
                }
                match from.u64()? {
                    $($variant => {
                        let (inner, ext) = Message::take(from)?;
                        Ok((Self::$name(inner), ext))
                    })+
                    number => Err(PayloadError::UnknownVariant { what: stringify!($type), number }),
                }
            }

            fn named(&self) -> Named {
                match self {
                    $(Self::$name(inner) => Named::variant(stringify!($name), inner.named()),)+
                }
            }
        }
    };
}

pub(super) use {either, message};

/// The bytes of a payload.
pub(super) fn encode_message<T: Message>(value: &T, ext: &Ext) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    value.put(ext, &mut to);
    to.into_writer()
}

/// Reads a message that must be the whole of `bytes`, in its one allowed spelling.
pub(super) fn decode_message<T: Message>(bytes: &[u8]) -> Result<T, PayloadError> {
    let mut from = Decoder::new(bytes);
    // Tags and floats are no type of ours; saying so here gives them one error wherever they stand at the top.
    if matches!(
        from.datatype()?,
        Type::Tag | Type::F16 | Type::F32 | Type::F64
    ) {
        return Err(PayloadError::NotDeterministic);
    }
    let (value, ext) = T::take(&mut from)?;
    if encode_message(&value, &ext) == bytes {
        Ok(value)
    } else {
        Err(PayloadError::NotDeterministic)
    }
}
