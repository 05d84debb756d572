//! A part of one step's log, as lines.

/// A part of one step's log, as lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogWindow {
    /// Which step, from 0.
    pub step: u16,
    /// Where it begins in that step's output, in bytes.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// How many bytes of the step's output are held now.
    pub bytes: u64,
    /// The number of its first line.
    pub first_line: u64,
    /// The number of the line that comes after it.
    pub next_line: u64,
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Where the window before this one begins, if there is one.
    pub earlier: Option<u64>,
    /// Whether there is more after it.
    pub later: bool,
    /// Who chose the step and the place.
    pub chosen: Chosen,
}

/// Who chose which part of a log is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chosen {
    /// Nobody: the end of the step of most interest.
    ByDefault,
    /// The reader.
    ByReader,
}

/// One line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// Its number in this step, from 1.
    pub number: u64,
    /// What it says.
    pub text: LineText,
}

/// What a line says, and who says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LineText {
    /// What the script printed, made safe: nothing but SGR sequences is left that could steer anything.
    Output(String),
    /// A note of ours: missing, cut, conflict.
    Note(String),
}

/// What there is to show of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogView {
    /// A part of it.
    Window(LogWindow),
    /// No step has started, or nothing was printed.
    Nothing,
    /// It cannot be read now, or no longer, and why.
    Unreadable(String),
}
