//! Where a passphrase comes from: the terminal, or a file descriptor that the caller opened. Never an argument or a
//! variable, which other users and every child process can see.

use std::cell::OnceCell;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use crate::trust::Passphrase;

/// Where to take the passphrases of encrypted key files from.
#[derive(Debug, Default, clap::Args)]
pub(super) struct PassphraseSource {
    /// Take the passphrase from the first line of this open file descriptor, instead of asking on the terminal.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16))]
    passphrase_fd: Option<u16>,
    /// A pipe can be read only once, and one command may need the passphrase for several files.
    #[arg(skip)]
    read: OnceCell<Passphrase>,
}

impl PassphraseSource {
    #[cfg(test)]
    pub(super) fn from_file(open: &impl std::os::fd::AsRawFd) -> Self {
        Self {
            passphrase_fd: open.as_raw_fd().try_into().ok(),
            ..Self::default()
        }
    }

    /// Whether a file descriptor was named.
    pub(super) fn is_given(&self) -> bool {
        self.passphrase_fd.is_some()
    }

    /// The passphrase of a file that is there.
    pub(super) fn of_file(&self, path: &Path) -> Result<Passphrase, Failure> {
        let path = path.display();
        match self.passphrase_fd {
            Some(number) => self.read_descriptor(number),
            None => ask(
                &format!("Passphrase of {path}: "),
                &format!("{path} is encrypted"),
            ),
        }
    }

    /// The passphrase for new files, asked for twice.
    pub(super) fn of_new_files(&self) -> Result<Passphrase, Failure> {
        let passphrase = if let Some(number) = self.passphrase_fd {
            self.read_descriptor(number)?
        } else {
            let why = "new key files are to be encrypted";
            let passphrase = ask("New passphrase: ", why)?;
            if ask("The same again: ", why)? != passphrase {
                return Err(
                    failure("the two passphrases differ").advice("Nothing was written. Try again.")
                );
            }
            passphrase
        };
        if passphrase.is_fit_for_a_new_file() {
            return Ok(passphrase);
        }
        let (min, max) = (Passphrase::MIN_LEN, Passphrase::MAX_LEN);
        let message = format!("a passphrase has {min} to {max} bytes, and this one has not");
        Err(failure(message).advice("Nothing was written. Four or five unrelated words are good."))
    }

    fn read_descriptor(&self, number: u16) -> Result<Passphrase, Failure> {
        if let Some(passphrase) = self.read.get() {
            return Ok(passphrase.clone());
        }
        let line = first_line(number).map_err(|error| {
            let message =
                format!("cannot read a passphrase from file descriptor {number}: {error}");
            failure(message).advice(format!(
                "Nothing was signed or written. Such as: --passphrase-fd {number} {number}< FILE"
            ))
        })?;
        Ok(self.read.get_or_init(|| Passphrase::new(line)).clone())
    }
}

fn failure(message: impl Into<String>) -> Failure {
    Failure::message(Exit::Configuration, message.into())
}

/// Asks on the terminal, whatever standard input and output are.
fn ask(prompt: &str, why: &str) -> Result<Passphrase, Failure> {
    // Ctrl-C shall end the program only after the terminal shows again what is typed.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let blocked = interrupt.thread_block();
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
    if blocked.is_ok() {
        interrupt.thread_unblock().map_err(io::Error::from)?;
    }
    match typed {
        Ok(typed) => Ok(Passphrase::new(typed)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Failure::message(Exit::Interrupted, "interrupted"))
        }
        Err(error) => {
            let message =
                format!("{why}, and there is no terminal to ask for the passphrase: {error}");
            Err(failure(message)
                .advice("Nothing was signed or written. Give --passphrase-fd N to take it from an open file."))
        }
    }
}

/// The first line of an open file or pipe, without its end.
fn first_line(number: u16) -> io::Result<Zeroizing<String>> {
    let mut file = fs::File::open(format!("/dev/fd/{number}"))?;
    // Room for all of it, so that it never moves and leaves a copy behind; byte by byte, so that no buffer keeps one and
    // whatever follows in a pipe stays there.
    let mut line = Zeroizing::new(Vec::with_capacity(Passphrase::MAX_LEN + 2));
    let mut byte = Zeroizing::new([0]);
    while line.len() <= Passphrase::MAX_LEN + 1
        && file.read(byte.as_mut())? == 1
        && byte[0] != b'\n'
    {
        line.push(byte[0]);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.is_empty() {
        return Err(io::Error::other("its first line is empty"));
    }
    if line.len() > Passphrase::MAX_LEN {
        return Err(io::Error::other("its first line is too long"));
    }
    let text = str::from_utf8(&line).map_err(|_| io::Error::other("it is not text in UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn of_descriptor(content: &[u8]) -> Result<Passphrase, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let file = fs::File::open(file.path()).unwrap();
        PassphraseSource::from_file(&file)
            .of_new_files()
            .map_err(|failure| failure.sentence().split(": ").last().unwrap().to_owned())
    }

    #[test]
    fn a_passphrase_is_the_first_line_of_the_descriptor() {
        let right = Passphrase::new(Zeroizing::new("correct horse".to_owned()));
        for content in [
            "correct horse",
            "correct horse\n",
            "correct horse\r\n",
            "correct horse\nand more",
        ] {
            let read = of_descriptor(content.as_bytes());
            assert_eq!(read.as_ref(), Ok(&right), "{content:?}");
        }
        let too_short = "a passphrase has 8 to 1023 bytes, and this one has not";
        let too_long = "x".repeat(1024);
        for (content, expected) in [
            (&b""[..], "its first line is empty"),
            (b"\nabc", "its first line is empty"),
            (b"seven77\n", too_short),
            (too_long.as_bytes(), "its first line is too long"),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff",
                "it is not text in UTF-8",
            ),
        ] {
            assert_eq!(
                of_descriptor(content),
                Err(expected.to_owned()),
                "{content:?}"
            );
        }
    }

    #[test]
    fn a_pipe_is_read_once_for_all_files_of_a_command() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"correct horse\nnot this\n").unwrap();
        let source = PassphraseSource::from_file(&reader);
        let first = source.of_file(Path::new("master.key")).unwrap();
        assert_eq!(source.of_file(Path::new("successor.key")).unwrap(), first);
        assert!(!format!("{source:?}").contains("horse"));
    }
}
