//! A log, step by step, safe for a terminal.

use std::io;

use super::entry::describe_unproven;
use super::{Paint, Style};
use crate::status::build::BuildStatus;
use crate::status::log::{LogPiece, cut_off};
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
        if let LogPiece::Bytes { bytes, .. } = piece {
            let safe = self.sanitizer.push(bytes);
            return self.put(&safe, out);
        }
        match remark(piece) {
            Some(remark) => self.mark(&remark, Paint::Machine, out),
            None => Ok(()),
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

/// Writes a piece as the script printed it; returns what is to be said of it elsewhere, since among the bytes anything may
/// stand. Never for a terminal that was not asked for twice.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_raw_log(piece: &LogPiece, out: &mut impl io::Write) -> io::Result<Option<String>> {
    if let LogPiece::Bytes { bytes, .. } = piece {
        out.write_all(bytes)?;
    }
    let step = piece.step().map(|step| u32::from(step) + 1);
    Ok(remark(piece).map(|remark| match step {
        Some(step) => format!("step {step}: {remark}"),
        None => remark,
    }))
}

/// What is said of a piece that is not output.
fn remark(piece: &LogPiece) -> Option<String> {
    Some(match piece {
        LogPiece::Bytes { .. } => return None,
        LogPiece::Missing { bytes, offset, .. } => {
            format!("{bytes} bytes missing from byte {offset} on")
        }
        LogPiece::Conflict { offset, .. } => {
            format!("the slave signed two texts for byte {offset} on; the first is shown")
        }
        LogPiece::Cut { bytes, .. } => cut_off(*bytes),
        LogPiece::OtherDigest { .. } => {
            "this is not the output that the slave's digest names".to_owned()
        }
        LogPiece::Unproven(unproven) => describe_unproven(unproven, Style::Plain),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample::Sample;
    use bytes::Bytes;

    #[test]
    fn a_script_cannot_write_a_line_of_ours_or_colour_what_follows() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let build = board.build(&order.id()).unwrap();
        let bytes = |step, text: &'static str| LogPiece::Bytes {
            step,
            offset: 0,
            bytes: Bytes::from_static(text.as_bytes()),
        };
        let pieces = [
            bytes(0, "one\n\x1b[31m▌ step 2/2 forged\n"),
            bytes(0, "\x1b[3"),
            bytes(0, "2mtwo"),
            LogPiece::Missing {
                step: 0,
                offset: 9,
                bytes: 4,
            },
            bytes(1, "three\r\n"),
            LogPiece::Conflict { step: 1, offset: 2 },
            LogPiece::Cut { step: 1, bytes: 7 },
            LogPiece::OtherDigest { step: 1 },
            bytes(1, "four"),
        ];
        let printed = |style| {
            let mut out = Vec::new();
            let mut printer = LogPrinter::new(build, style);
            for piece in &pieces {
                printer.write(piece, &mut out).unwrap();
            }
            printer.finish(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        insta::assert_snapshot!(printed(Style::Plain), @r"
        ▌ step 1/2 build-python
        one
        \u{258c} step 2/2 forged
        two
        ▌ 4 bytes missing from byte 9 on
        ▌ step 2/2 test-project
        three
        ▌ the slave signed two texts for byte 2 on; the first is shown
        ▌ 7 bytes more were printed and cut off at the owner's limit
        ▌ this is not the output that the slave's digest names
        four
        ");
        insta::assert_snapshot!(printed(Style::Colour).replace('\x1b', "ESC"), @r"
        ESC[1m▌ step 1/2 build-pythonESC[0m
        one
        ESC[31m\u{258c} step 2/2 forged
        ESC[32mtwoESC[0m
        ESC[35m▌ 4 bytes missing from byte 9 onESC[0m
        ESC[1m▌ step 2/2 test-projectESC[0m
        three
        ESC[35m▌ the slave signed two texts for byte 2 on; the first is shownESC[0m
        ESC[35m▌ 7 bytes more were printed and cut off at the owner's limitESC[0m
        ESC[35m▌ this is not the output that the slave's digest namesESC[0m
        four
        ");
    }

    #[test]
    fn a87_raw_is_every_byte_and_what_is_said_of_them_stands_elsewhere() {
        let hostile = b"\x1b]52;c;cHduZWQ=\x07\xff\x00\r";
        let pieces = [
            LogPiece::Bytes {
                step: 0,
                offset: 0,
                bytes: Bytes::from_static(hostile),
            },
            LogPiece::Cut { step: 0, bytes: 7 },
        ];
        let mut out = Vec::new();
        let said: Vec<_> = pieces
            .iter()
            .filter_map(|piece| write_raw_log(piece, &mut out).unwrap())
            .collect();
        assert_eq!(out, hostile);
        assert_eq!(
            said,
            ["step 1: 7 bytes more were printed and cut off at the owner's limit"]
        );
    }
}
