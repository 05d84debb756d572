//! A log, step by step, safe for a terminal.

use std::io;

use super::entry::describe_unproven;
use super::{Paint, Style};
use crate::status::build::BuildStatus;
use crate::status::log::LogPiece;
use crate::status::terminal::{MARK, RESET, Sanitizer};

/// Prints the pieces of one build's log. Lines of its own begin with [`MARK`], and no line of a script does.
pub struct LogPrinter {
    style: Style,
    names: Vec<String>,
    step: Option<u16>,
    sanitizer: Sanitizer,
    /// Whether the last line is not ended.
    open_line: bool,
}

impl LogPrinter {
    /// Prints the log of `build`.
    #[must_use]
    pub fn new(build: &BuildStatus, style: Style) -> Self {
        Self {
            style,
            names: build
                .steps
                .iter()
                .map(|step| step.name.to_string())
                .collect(),
            step: None,
            sanitizer: Sanitizer::new(style == Style::Colour),
            open_line: false,
        }
    }

    /// Writes a piece.
    ///
    /// # Errors
    ///
    /// Whatever `out` returns; a closed pipe is the usual one.
    pub fn write(&mut self, piece: &LogPiece, out: &mut impl io::Write) -> io::Result<()> {
        if let Some(step) = piece.step()
            && self.step != Some(step)
        {
            let name = self.names.get(usize::from(step)).map_or("", String::as_str);
            let title = format!("step {}/{} {name}", u32::from(step) + 1, self.names.len());
            self.mark(&title, Paint::Strong, out)?;
            self.step = Some(step);
        }
        match piece {
            LogPiece::Bytes { bytes, .. } => {
                let safe = self.sanitizer.push(bytes);
                self.put(&safe, out)
            }
            LogPiece::Missing { bytes, offset, .. } => {
                let text = format!("{bytes} bytes missing from byte {offset} on");
                self.mark(&text, Paint::Machine, out)
            }
            LogPiece::Conflict { offset, .. } => {
                let text =
                    format!("the slave signed two texts for byte {offset} on; the first is shown");
                self.mark(&text, Paint::Machine, out)
            }
            LogPiece::Cut { bytes, .. } => {
                let text = format!("{bytes} more bytes cut off at the owner's cap");
                self.mark(&text, Paint::Machine, out)
            }
            LogPiece::OtherDigest { .. } => {
                let text = "this is not the output that the slave's digest names";
                self.mark(text, Paint::Machine, out)
            }
            LogPiece::Unproven(unproven) => {
                let text = describe_unproven(unproven, Style::Plain);
                self.mark(&text, Paint::Machine, out)
            }
        }
    }

    /// Writes what was held back, and ends the last line. Call once, at the end.
    ///
    /// # Errors
    ///
    /// Whatever `out` returns; a closed pipe is the usual one.
    pub fn finish(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        let rest = self.sanitizer.finish();
        self.put(&rest, out)?;
        if std::mem::take(&mut self.open_line) {
            writeln!(out)?;
        }
        Ok(())
    }

    fn put(&mut self, safe: &str, out: &mut impl io::Write) -> io::Result<()> {
        // Colours at the end of a line do not open another one.
        let text = safe.trim_end_matches(RESET);
        if !text.is_empty() {
            self.open_line = !text.ends_with('\n');
        }
        out.write_all(safe.as_bytes())
    }

    fn mark(&mut self, text: &str, paint: Paint, out: &mut impl io::Write) -> io::Result<()> {
        self.finish(out)?;
        writeln!(
            out,
            "{}",
            self.style.paint(paint, &format!("{MARK} {text}"))
        )
    }
}
