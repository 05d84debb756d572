//! All of a step's output as text, piece by piece.

use std::sync::Arc;

use bytes::Bytes;

use super::{Logs, ending_notes};
use crate::bus::{BusError, Stream};
use crate::status::build::BuildStatus;
use crate::status::terminal::{MARK, Sanitizer};

/// A step's output as text.
pub(super) struct Text {
    logs: Arc<Logs>,
    build: BuildStatus,
    step: u16,
    sanitizer: Sanitizer,
    next: u64,
    offset: u64,
    /// Whether the last line is not ended.
    open_line: bool,
    over: bool,
}

impl Text {
    pub(super) fn new(logs: Arc<Logs>, build: BuildStatus, step: u16) -> Self {
        Self {
            logs,
            build,
            step,
            sanitizer: Sanitizer::new(false),
            next: 0,
            offset: 0,
            open_line: false,
            over: false,
        }
    }

    /// The next piece; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BusError> {
        if self.over {
            return Ok(None);
        }
        let bus = self.logs.live.bus();
        let subject = bus
            .subjects()
            .log(&self.build.order.slave, &self.build.id());
        let batch = bus.read(Stream::Logs, &subject, self.next).await?;
        let mut text = String::new();
        let Some(last) = batch.last() else {
            self.over = true;
            for note in ending_notes(&self.build, self.step, self.offset) {
                self.note(&note, &mut text);
            }
            let rest = self.sanitizer.finish();
            text += &rest;
            return Ok((!text.is_empty()).then(|| text.into()));
        };
        self.next = last.sequence.saturating_add(1);
        for delivery in &batch {
            let Ok(chunk) = self.logs.open(&self.build, delivery) else {
                continue;
            };
            if chunk.step != self.step {
                continue;
            }
            if chunk.offset > self.offset {
                let missing = chunk.offset - self.offset;
                self.note(&format!("{missing} bytes are missing here"), &mut text);
                self.offset = chunk.offset;
            }
            let known = usize::try_from(self.offset - chunk.offset).unwrap_or(usize::MAX);
            let fresh = chunk.bytes.get(known..).unwrap_or_default();
            self.output(fresh, &mut text);
            self.offset = self.offset.saturating_add(fresh.len() as u64);
        }
        Ok(Some(text.into()))
    }

    fn output(&mut self, bytes: &[u8], text: &mut String) {
        let safe = self.sanitizer.push(bytes);
        self.put(&safe, text);
    }

    /// A line of our own; no line of a script begins so.
    fn note(&mut self, note: &str, text: &mut String) {
        let rest = self.sanitizer.finish();
        self.put(&rest, text);
        if std::mem::take(&mut self.open_line) {
            text.push('\n');
        }
        text.push(MARK);
        text.push(' ');
        text.push_str(note);
        text.push('\n');
    }

    fn put(&mut self, safe: &str, text: &mut String) {
        if !safe.is_empty() {
            self.open_line = !safe.ends_with('\n');
        }
        text.push_str(safe);
    }
}
