//! Deterministic CBOR (RFC 8949, section 4.2.1) for typed fields.
//!
//! The reader knows at each byte what must come; it never skips a value, so nothing unknown can hide (but where it may, in
//! [`ext`](super::ext)) and nesting cannot go deeper than the types do. What it is lax about (long forms of numbers,
//! indefinite lengths) the comparison with the re-encoded value in [`decode`](super::decode) finds.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::{Decoder, Encoder};

use super::fields::Named;

/// Why bytes were not read as a payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// More bytes than this kind may have.
    #[error("payload has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not CBOR, or another type than must stand there.
    #[error("payload is not the CBOR expected")]
    Cbor(#[from] minicbor::decode::Error),
    /// A field that this version does not have, or one that stands in the wrong place.
    #[error("{record} has the unknown or misplaced field {number}")]
    UnknownField {
        /// Which record.
        record: &'static str,
        /// Which field.
        number: u64,
    },
    /// A field that must be there is not.
    #[error("{record} lacks the field {number}")]
    MissingField {
        /// Which record.
        record: &'static str,
        /// Which field.
        number: u64,
    },
    /// A variant that this version does not have.
    #[error("{what} has no variant {number}")]
    UnknownVariant {
        /// Which type.
        what: &'static str,
        /// The number found.
        number: u64,
    },
    /// A value outside its grammar.
    #[error("{what} is not acceptable: {why}")]
    Value {
        /// Which type.
        what: &'static str,
        /// What its parser said.
        why: String,
    },
    /// Well-formed, but not the one spelling that is allowed.
    #[error("payload is not in deterministic encoding")]
    NotDeterministic,
}

/// Where fields are written to.
pub(super) type Writer = Encoder<Vec<u8>>;

/// Encoding to memory cannot fail; the type says so once.
pub(super) fn sure<T>(result: Result<T, minicbor::encode::Error<std::convert::Infallible>>) {
    result.map_or_else(
        |_| unreachable!("writing CBOR to memory does not fail"),
        drop,
    );
}

/// A value that can stand in a payload.
pub(super) trait Field: Sized {
    fn put(&self, to: &mut Writer);

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError>;

    fn named(&self) -> Named;

    /// Whether the field is left out when written.
    fn is_absent(&self) -> bool {
        false
    }

    /// The value of a field that was left out, if it may be.
    fn absent() -> Option<Self> {
        None
    }
}

/// The fields of one record while they are read.
pub(super) struct Fields {
    record: &'static str,
    left: u64,
    ahead: Option<u64>,
}

impl Fields {
    pub(super) fn begin(
        record: &'static str,
        from: &mut Decoder<'_>,
    ) -> Result<Self, PayloadError> {
        let left = from.map()?.ok_or(PayloadError::NotDeterministic)?;
        Ok(Self {
            record,
            left,
            ahead: None,
        })
    }

    fn next_number(&mut self, from: &mut Decoder<'_>) -> Result<Option<u64>, PayloadError> {
        if self.ahead.is_none() && self.left > 0 {
            self.left -= 1;
            self.ahead = Some(from.u64()?);
        }
        Ok(self.ahead)
    }

    /// Reads the field `number` if it comes next. Fields are asked for in ascending order, so one that does not come
    /// next is not there.
    pub(super) fn take<T: Field>(
        &mut self,
        number: u64,
        from: &mut Decoder<'_>,
    ) -> Result<T, PayloadError> {
        match self.next_number(from)? {
            Some(next) if next == number => {
                self.ahead = None;
                T::take(from)
            }
            Some(next) if next < number => Err(PayloadError::UnknownField {
                record: self.record,
                number: next,
            }),
            Some(_) | None => T::absent().ok_or(PayloadError::MissingField {
                record: self.record,
                number,
            }),
        }
    }

    pub(super) fn end(mut self, from: &mut Decoder<'_>) -> Result<(), PayloadError> {
        match self.next_number(from)? {
            None => Ok(()),
            Some(number) => Err(PayloadError::UnknownField {
                record: self.record,
                number,
            }),
        }
    }
}

/// Writes those fields that are there as one map.
macro_rules! put_fields {
    ($to:ident, { $($number:expr => $field:expr),* $(,)? }) => {
        let present = 0 $(+ u64::from(!$field.is_absent()))*;
        sure($to.map(present));
        $(if !$field.is_absent() {
            sure($to.u64($number));
            $field.put($to);
        })*
    };
}

/// Names those fields that are there.
macro_rules! name_fields {
    ({ $($name:ident => $field:expr),* $(,)? }) => {{
        let mut fields = Vec::new();
        $(if !$field.is_absent() {
            fields.push((stringify!($name).to_owned(), $field.named()));
        })*
        Named::Record(fields)
    }};
}

/// Writes and reads a struct as a map with numbered keys. The list is the format: numbers ascend and are never reused.
macro_rules! record {
    ($type:ident { $($number:literal => $field:ident),+ $(,)? }) => {
        impl Field for $type {
            fn put(&self, to: &mut Writer) {
                put_fields!(to, { $($number => self.$field),+ });
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
                let mut fields = Fields::begin(stringify!($type), from)?;
                let value = Self { $($field: fields.take($number, from)?),+ };
                fields.end(from)?;
                Ok(value)
            }

            fn named(&self) -> Named {
                name_fields!({ $($field => self.$field),+ })
            }
        }
    };
}

/// Writes and reads an enum as the array `[variant, {fields}]`.
macro_rules! choice {
    ($type:ident { $($variant:literal => $name:ident { $($number:literal => $field:ident),* $(,)? }),+ $(,)? }) => {
        impl Field for $type {
            fn put(&self, to: &mut Writer) {
                sure(to.array(2));
                match self {
                    $(Self::$name { $($field),* } => {
                        sure(to.u64($variant));
                        put_fields!(to, { $($number => $field),* });
                    })+
                }
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
                if from.array()? != Some(2) {
                    return Err(PayloadError::NotDeterministic);
                }
                match from.u64()? {
                    $($variant => {
                        let mut fields = Fields::begin(stringify!($name), from)?;
                        let value = Self::$name { $($field: fields.take($number, from)?),* };
                        fields.end(from)?;
                        Ok(value)
                    })+
                    number => Err(PayloadError::UnknownVariant { what: stringify!($type), number }),
                }
            }

            fn named(&self) -> Named {
                match self {
                    $(Self::$name { $($field),* } => {
                        Named::variant(stringify!($name), name_fields!({ $($field => $field),* }))
                    })+
                }
            }
        }
    };
}

/// Writes and reads a plain enum as a number.
macro_rules! number {
    ($type:ident { $($number:literal => $name:ident),+ $(,)? }) => {
        impl Field for $type {
            fn put(&self, to: &mut Writer) {
                let number: u64 = match self { $(Self::$name => $number),+ };
                sure(to.u64(number));
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
                match from.u64()? {
                    $($number => Ok(Self::$name),)+
                    number => Err(PayloadError::UnknownVariant { what: stringify!($type), number }),
                }
            }

            fn named(&self) -> Named {
                let name = match self { $(Self::$name => stringify!($name)),+ };
                Named::Value(name.to_owned())
            }
        }
    };
}

/// Writes and reads names and other checked text as text strings, through their parsers.
macro_rules! text {
    ($($type:ident),+ $(,)?) => {
        $(impl Field for $type {
            fn put(&self, to: &mut Writer) {
                sure(to.str(self.as_str()));
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
                Self::try_from(from.str()?.to_owned())
                    .map_err(|error| PayloadError::Value { what: stringify!($type), why: error.to_string() })
            }

            fn named(&self) -> Named {
                Named::Value(self.to_string())
            }
        })+
    };
}

/// Writes and reads fixed-size identifiers as byte strings.
macro_rules! bytes {
    ($($type:ident),+ $(,)?) => {
        $(impl Field for $type {
            fn put(&self, to: &mut Writer) {
                sure(to.bytes(&self.0));
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
                let bytes = from.bytes()?;
                bytes.try_into().map(Self).map_err(|_| PayloadError::Value {
                    what: stringify!($type),
                    why: format!("{} bytes", bytes.len()),
                })
            }

            fn named(&self) -> Named {
                Named::Value(self.to_string())
            }
        })+
    };
}

pub(super) use {bytes, choice, name_fields, number, put_fields, record, text};

macro_rules! unsigned {
    ($($type:ident),+) => {
        $(impl Field for $type {
            fn put(&self, to: &mut Writer) {
                sure(to.$type(*self));
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
                Ok(from.$type()?)
            }

            fn named(&self) -> Named {
                Named::Value(self.to_string())
            }
        })+
    };
}

unsigned!(u8, u16, u32, u64, bool);

impl Field for Duration {
    /// Whole milliseconds.
    fn put(&self, to: &mut Writer) {
        sure(to.u64(u64::try_from(self.as_millis()).unwrap_or(u64::MAX)));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        Ok(Self::from_millis(from.u64()?))
    }

    fn named(&self) -> Named {
        Named::Value(format!("{} ms", self.as_millis()))
    }
}

impl Field for bytes::Bytes {
    fn put(&self, to: &mut Writer) {
        sure(to.bytes(self));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        Ok(Self::copy_from_slice(from.bytes()?))
    }

    fn named(&self) -> Named {
        Named::Value(format!("{} bytes", self.len()))
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, to: &mut Writer) {
        if let Some(value) = self {
            value.put(to);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        T::take(from).map(Some)
    }

    fn named(&self) -> Named {
        let value = self.as_ref().map(Field::named);
        value.unwrap_or_else(|| Named::List(Vec::new()))
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, to: &mut Writer) {
        sure(to.array(self.len() as u64));
        for item in self {
            item.put(to);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        let declared = from.array()?.ok_or(PayloadError::NotDeterministic)?;
        // Grows as items really come: a declared length of 2^62 allocates nothing.
        let mut items = Self::new();
        for _ in 0..declared {
            items.push(T::take(from)?);
        }
        Ok(items)
    }

    fn named(&self) -> Named {
        Named::List(self.iter().map(Field::named).collect())
    }
}

/// Keys sort by their encoded bytes, shorter ones first, which is not the order of the text itself.
impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn put(&self, to: &mut Writer) {
        let mut entries: Vec<(Vec<u8>, &V)> = self
            .iter()
            .map(|(key, value)| (encode_field(key), value))
            .collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        sure(to.map(entries.len() as u64));
        for (key, value) in entries {
            to.writer_mut().extend_from_slice(&key);
            value.put(to);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        let declared = from.map()?.ok_or(PayloadError::NotDeterministic)?;
        let mut entries = Self::new();
        for _ in 0..declared {
            let key = K::take(from)?;
            entries.insert(key, V::take(from)?);
        }
        Ok(entries)
    }

    fn named(&self) -> Named {
        let entry = |(key, value): (&K, &V)| match key.named() {
            Named::Value(key) => (key, value.named()),
            Named::List(_) | Named::Record(_) => (String::new(), value.named()),
        };
        Named::Record(self.iter().map(entry).collect())
    }
}

/// The bytes of one field.
pub(super) fn encode_field<T: Field>(value: &T) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    value.put(&mut to);
    to.into_writer()
}
