//! What a script is run by.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::slave::place::{PlaceFault, check_place, unreadable};

/// How programs begin that the system itself can run: ELF, and Mach-O of either byte order, of 64 bits, and fat.
const PROGRAMS: [&[u8]; 6] = [
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xce\xfa\xed\xfe",
    b"\xfe\xed\xfa\xcf",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
];

/// As much of a first line as Linux reads.
const MAX_LINE: usize = 255;

/// What a script is run by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Interpreter {
    /// The system itself: it is a program.
    Itself,
    /// The program that its first line names.
    Line {
        /// Where that program is.
        path: PathBuf,
        /// What else the line says. After `/usr/bin/env` it is what is looked for in the owner's `PATH`.
        argument: String,
    },
}

/// Why nothing can run a script, or nothing that is safe.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterFault {
    /// The system would not know what to do with it.
    #[error(
        "it is no program, and its first line does not say what runs it; write one such as #!/bin/sh or #!/usr/bin/env python3"
    )]
    NoLine,
    /// Nothing after `#!`.
    #[error("its first line names nothing to run it with")]
    Nothing,
    /// It would be looked for in whatever folder the script is started in.
    #[error("{0}, which its first line names, is no absolute path")]
    Relative(String),
    /// Written with an editor that ends lines differently.
    #[error(
        "its first line ends in a carriage return, which would be taken for a part of the interpreter's name; fix: sed -i 's/\\r$//' on it"
    )]
    CarriageReturn,
    /// A folder, or a file that cannot be executed.
    #[error("{0}, which its first line names, is not a program")]
    NotAProgram(PathBuf),
    /// It cannot be read, or somebody else could change it.
    #[error("what its first line names is not safe: {0}")]
    Place(#[from] PlaceFault),
}

impl InterpreterFault {
    /// What is wrong, without the place.
    pub(super) fn tersely(&self) -> &'static str {
        match self {
            Self::NoLine | Self::Nothing => "its first line does not say what runs it",
            Self::CarriageReturn => "its first line ends in a carriage return",
            Self::Relative(_)
            | Self::NotAProgram(_)
            | Self::Place(PlaceFault::Unreadable { .. } | PlaceFault::NotAFile(_)) => {
                "what its first line names is no program"
            }
            Self::Place(PlaceFault::Owner { .. }) => {
                "what its first line names could be changed by another user"
            }
            Self::Place(PlaceFault::Writable { .. }) => {
                "what its first line names is writable by others"
            }
        }
    }
}

impl Interpreter {
    /// What the system would run `script` by, if that is safe.
    pub(super) fn of(script: &[u8]) -> Result<Self, InterpreterFault> {
        if PROGRAMS.iter().any(|magic| script.starts_with(magic)) {
            return Ok(Self::Itself);
        }
        let line = script.strip_prefix(b"#!").ok_or(InterpreterFault::NoLine)?;
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
        let line = &line[..line.len().min(MAX_LINE)];
        if line.ends_with(b"\r") {
            return Err(InterpreterFault::CarriageReturn);
        }
        let line = line.trim_ascii();
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let end = line.iter().position(blank).unwrap_or(line.len());
        let (path, argument) = line.split_at(end);
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        if path == Path::new("") {
            return Err(InterpreterFault::Nothing);
        }
        if !path.is_absolute() {
            let named = path.to_string_lossy().escape_debug().to_string();
            return Err(InterpreterFault::Relative(named));
        }
        let real = check_place(path)?;
        let metadata = fs::symlink_metadata(&real).map_err(unreadable(&real))?;
        if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
            return Err(InterpreterFault::NotAProgram(path.to_owned()));
        }
        Ok(Self::Line {
            path: path.to_owned(),
            argument: String::from_utf8_lossy(argument.trim_ascii()).into_owned(),
        })
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("itself, a program"),
            Self::Line { path, argument } if argument.is_empty() => {
                write!(f, "{}", path.display())
            }
            Self::Line { path, argument } => {
                write!(f, "{} {}", path.display(), argument.escape_debug())
            }
        }
    }
}
