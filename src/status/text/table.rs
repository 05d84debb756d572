//! Columns that line up.

use std::io;

use super::{Paint, Style};

/// Writes lines of cells in columns, two spaces apart.
pub(super) fn write_table<const COLUMNS: usize>(
    table: &[[(String, Paint); COLUMNS]],
    style: Style,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let widths = widths(table);
    for line in table {
        let mut gap = 0;
        for ((text, paint), width) in line.iter().zip(widths) {
            // The gap before a cell and not behind it, so that no line ends in spaces.
            if !text.is_empty() {
                write!(out, "{:gap$}{}", "", style.paint(*paint, text))?;
                gap = 0;
            }
            gap += width - text.chars().count() + 2;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// How wide each column is, in characters.
pub(super) fn widths<const COLUMNS: usize>(
    table: &[[(String, Paint); COLUMNS]],
) -> [usize; COLUMNS] {
    let mut widths = [0; COLUMNS];
    for line in table {
        for (width, (text, _)) in widths.iter_mut().zip(line) {
            *width = text.chars().count().max(*width);
        }
    }
    widths
}
