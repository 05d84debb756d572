//! A message layer by layer, and at last the rule that it breaks.

use std::io;

use data_encoding::HEXLOWER;

use super::{Paint, Style};
use crate::status::explain::{Explained, Explanation, Signature};
use crate::wire::{Layer, Named, Shape};

/// Writes an explanation; the last line says which rule is broken, if any. Every character in it that a stranger chose is
/// escaped where it could steer a terminal.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_explanation(
    found: &Explanation,
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let mut page = Page { style, out };
    let what = match found.shape {
        Shape::Bundle => format!(", a bundle of {} parts", found.parts.len()),
        Shape::Keyring => format!(", an array of {} envelopes", found.envelopes.len()),
        Shape::Envelope => String::new(),
    };
    page.line("size", &format!("{} bytes{what}", found.len))?;
    let mut shown_payload = None;
    for (place, envelope) in (1..).zip(&found.envelopes) {
        if found.shape == Shape::Keyring {
            page.line(&format!("envelope {place}"), "")?;
        }
        let repeated = envelope.id.is_some() && envelope.id == shown_payload;
        shown_payload = envelope.id;
        page.envelope(envelope, repeated)?;
    }
    for part in &found.parts {
        let id = part.id.map(|id| format!(", id {id}")).unwrap_or_default();
        let signer = part
            .signer
            .map(|key| format!(", by {key}"))
            .unwrap_or_default();
        page.line(
            "part",
            &format!("{}: {} bytes{id}{signer}", part.part, part.len),
        )?;
    }
    match &found.signature {
        Some(Signature::Matches) => page.line("checked", "the signature matches")?,
        Some(Signature::DoesNotMatch) => page.line("checked", "the signature does NOT match")?,
        Some(Signature::NotChecked(why)) => {
            page.line("checked", &format!("the signature was NOT checked: {why}"))?;
        }
        None => {}
    }
    for note in &found.notes {
        page.line("note", note.as_str())?;
    }
    let (paint, result) = match &found.broken {
        Some(broken) => (Paint::Bad, format!("breaks a rule: {broken}")),
        None => (
            Paint::Strong,
            "breaks no rule that was looked at".to_owned(),
        ),
    };
    writeln!(page.out, "{}", style.paint(paint, &result))
}

/// Labelled lines.
struct Page<'a, W> {
    style: Style,
    out: &'a mut W,
}

impl<W: io::Write> Page<'_, W> {
    fn line(&mut self, label: &str, value: &str) -> io::Result<()> {
        let label = self.style.paint(Paint::Faint, &format!("{label:<12}"));
        let line = format!("{label}{value}");
        writeln!(self.out, "{}", line.trim_end())
    }

    fn envelope(&mut self, envelope: &Explained, repeated: bool) -> io::Result<()> {
        let anatomy = &envelope.anatomy;
        if let Some(other) = &anatomy.other {
            return self.line("content", &format!("no array of parts: {other}"));
        }
        let tag = anatomy
            .tag
            .map_or("no tag".to_owned(), |tag| format!("tag {tag}"));
        let parts = anatomy.parts.map_or_else(
            || "an array that does not say its length".to_owned(),
            |parts| format!("an array of {parts}"),
        );
        let bytes = anatomy.len;
        self.line("framing", &format!("{bytes} bytes: {tag}, {parts}"))?;
        if let Some(protected) = &anatomy.protected {
            let header = anatomy.header.as_ref().unwrap_or(&protected.notation);
            self.line("protected", header)?;
            self.header(envelope)?;
        }
        if let Some(unprotected) = &anatomy.unprotected {
            self.line("unprotected", &unprotected.notation)?;
        }
        if let Some(payload) = &anatomy.payload {
            self.payload(envelope, payload, repeated)?;
        }
        if let Some(signature) = &anatomy.signature {
            self.line("signature", &content(signature))?;
        }
        if anatomy.trailing > 0 {
            let trailing = anatomy.trailing;
            self.line("trailing", &format!("{trailing} bytes follow the end"))?;
        }
        Ok(())
    }

    fn header(&mut self, envelope: &Explained) -> io::Result<()> {
        let anatomy = &envelope.anatomy;
        if let Some(algorithm) = anatomy.algorithm {
            let name = match algorithm {
                -19 => " (Ed25519)",
                -8 => " (EdDSA, the old number)",
                _ => "",
            };
            self.line("  algorithm", &format!("{algorithm}{name}"))?;
        }
        if anatomy.content_type.is_some() {
            let kind = anatomy
                .kind()
                .map_or("none of ours".to_owned(), |kind| kind.to_string());
            self.line("  kind", &kind)?;
        }
        if let Some(id) = &anatomy.key_id {
            let shown = <[u8; 32]>::try_from(id.as_slice()).map_or_else(
                |_| format!("{} bytes: {}", id.len(), HEXLOWER.encode(id)),
                |id| crate::model::KeyId(id).to_string(),
            );
            self.line("  key", &shown)?;
        }
        Ok(())
    }

    fn payload(&mut self, envelope: &Explained, payload: &Layer, repeated: bool) -> io::Result<()> {
        let Some(id) = envelope.id else {
            return self.line("payload", &payload.notation);
        };
        let len = payload.content.as_ref().map_or(0, Vec::len);
        self.line("payload", &format!("{len} bytes, id {id}"))?;
        if repeated {
            return self.line("  content", "the same as before");
        }
        if let Some(content) = &envelope.anatomy.content {
            self.line("  content", content)?;
        }
        match &envelope.fields {
            Some(fields) => {
                self.line("  fields", "")?;
                self.named(fields, 4)
            }
            None => Ok(()),
        }
    }

    fn named(&mut self, value: &Named, indent: usize) -> io::Result<()> {
        let fields: Vec<(&str, &Named)> = match value {
            Named::Value(value) => return writeln!(self.out, "{:indent$}{value}", ""),
            Named::List(items) => items.iter().map(|item| ("-", item)).collect(),
            Named::Record(fields) => fields
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
        };
        for (name, value) in fields {
            match value {
                Named::Value(value) => {
                    writeln!(self.out, "{:indent$}{name} {value}", "")?;
                }
                Named::List(items) if items.is_empty() => {
                    writeln!(self.out, "{:indent$}{name} none", "")?;
                }
                Named::List(_) | Named::Record(_) => {
                    writeln!(self.out, "{:indent$}{name}", "")?;
                    self.named(value, indent + 2)?;
                }
            }
        }
        Ok(())
    }
}

fn content(layer: &Layer) -> String {
    match &layer.content {
        Some(content) => format!("{} bytes: {}", content.len(), layer.notation),
        None => layer.notation.clone(),
    }
}
