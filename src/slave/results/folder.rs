//! The folder of result files, and reaching them without being led elsewhere.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::bounded::Bounded;
use super::{Fault, Format};

/// So many files are looked at in one folder; foreign code may have made millions.
const MAX_ENTRIES: usize = 4096;

/// So many result files are read.
const MAX_FILES: usize = 256;

/// So much of one file is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// So much is read of all files together, in bytes.
const MAX_ALL: u64 = 64 << 20;

/// Folders within the folder are looked into, those within them are not.
const MAX_DEPTH: usize = 1;

/// What may still be read.
struct Room {
    files: usize,
    bytes: u64,
}

/// Reads the result files in `folder`.
pub(super) fn read(folder: &Path, found: &mut Bounded) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match Dir::open(folder, flags, Mode::empty()) {
        Ok(folder) => {
            let mut room = Room {
                files: MAX_FILES,
                bytes: MAX_ALL,
            };
            read_folder(folder, "", 0, &mut room, found);
        }
        Err(Errno::ENOENT) => {}
        Err(error) => found.warn(&format!(
            "the folder for test reports cannot be read: {}",
            error.desc()
        )),
    }
}

fn read_folder(mut folder: Dir, path: &str, depth: usize, room: &mut Room, found: &mut Bounded) {
    let mut names: Vec<CString> = folder
        .iter()
        .flatten()
        .filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
        // What a file is on disk is asked again of what was opened; this only spares opening what is no file anyway.
        .filter(|entry| wanted(entry.file_type(), entry.file_name().to_bytes()))
        .take(MAX_ENTRIES + 1)
        .map(|entry| entry.file_name().to_owned())
        .collect();
    names.sort_unstable();
    if names.len() > MAX_ENTRIES {
        names.truncate(MAX_ENTRIES);
        found.warn(&format!(
            "more than {MAX_ENTRIES} files are in one folder of test reports"
        ));
    }
    for name in names {
        let shown = format!("{path}{}", name.to_string_lossy());
        match open(&folder, &name) {
            Ok(Opened::File(file)) => {
                if let Err(fault) = read_file(file, &shown, room, found) {
                    found.warn(&format!("{shown} {fault}"));
                }
            }
            Ok(Opened::Folder(inner)) if depth < MAX_DEPTH => {
                read_folder(inner, &format!("{shown}/"), depth + 1, room, found);
            }
            Ok(Opened::Folder(_)) => {}
            Err(fault) => {
                if Format::of_name(&shown).is_some() {
                    found.warn(&format!("{shown} {fault}"));
                }
            }
        }
    }
}

/// Whether an entry is worth opening. What is called a result file and is none is opened too, to say so.
fn wanted(kind: Option<Type>, name: &[u8]) -> bool {
    match kind {
        Some(Type::File | Type::Directory) | None => true,
        Some(_) => Format::of_name(&String::from_utf8_lossy(name)).is_some(),
    }
}

enum Opened {
    File(File),
    Folder(Dir),
}

/// Opens an entry of `folder`, which is neither followed elsewhere nor waited for.
fn open(folder: &Dir, name: &CString) -> Result<Opened, Fault> {
    let flags = OFlag::O_RDONLY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    let file = match openat(folder, name.as_c_str(), flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        // Linux and macOS, and what FreeBSD says.
        Err(Errno::ELOOP | Errno::EMLINK) => return Err(Fault::Link),
        // A socket, or a device that is not there.
        Err(Errno::ENXIO) => return Err(Fault::NotAFile),
        Err(error) => return Err(Fault::Unreadable(error.into())),
    };
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(Opened::File(file))
    } else if kind.is_dir() {
        let folder = Dir::from_fd(file.into()).map_err(std::io::Error::from)?;
        Ok(Opened::Folder(folder))
    } else {
        Err(Fault::NotAFile)
    }
}

fn read_file(file: File, name: &str, room: &mut Room, found: &mut Bounded) -> Result<(), Fault> {
    let length = file.metadata()?.len();
    let mut input = BufReader::with_capacity(64 << 10, file.take(MAX_FILE.min(room.bytes)));
    let format = match Format::of_name(name) {
        Some(format) => format,
        None => match Format::of_start(input.fill_buf()?) {
            Some(format) => format,
            None => return Ok(()),
        },
    };
    if room.files == 0 || (room.bytes == 0 && length > 0) {
        return Err(Fault::TooMany);
    }
    room.files -= 1;
    let allowed = input.get_ref().limit() + input.buffer().len() as u64;
    let read = format.read(&mut input, found);
    room.bytes -= allowed - input.get_ref().limit();
    match read {
        Err(Fault::OtherXml) => Ok(()),
        _ if length > allowed => {
            found.file();
            // What is wrong with its end is that it was not read.
            Err(if allowed == MAX_FILE {
                Fault::TooLarge(allowed)
            } else {
                Fault::TooMany
            })
        }
        read => {
            found.file();
            read
        }
    }
}
