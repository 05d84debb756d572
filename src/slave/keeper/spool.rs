//! What a script prints: from its pipe to a file.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::model::Digest;
use crate::trust::Sha256;

/// A script that prints this many times what is kept of it is ended.
const FLOOD: u64 = 16;
/// However little is kept, this much may be printed.
const LEAST_FLOOD: u64 = 16 << 20;

/// What the script has printed so far, on its way to disk. What is beyond the cap is counted and not kept, so that a
/// script is never held up by it.
pub(super) struct Spool {
    file: File,
    digest: Sha256,
    kept: u64,
    cut: u64,
    cap: u64,
    /// Bytes a second.
    rate: u64,
    flood: u64,
    buffer: Vec<u8>,
}

/// What a look at the pipe brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// Output.
    Some,
    /// Nothing yet.
    Nothing,
    /// Its end: nobody holds it any more.
    End,
}

/// What was kept in the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Logged {
    pub(super) digest: Digest,
    pub(super) kept: u64,
    pub(super) cut: u64,
}

impl Spool {
    /// A new spool at `path` for at most `cap` bytes, `rate` a second.
    pub(super) fn create(path: &Path, cap: u64, rate: u64) -> io::Result<Self> {
        Ok(Self::to(File::create(path)?, cap, rate))
    }

    fn to(file: File, cap: u64, rate: u64) -> Self {
        Self {
            file,
            digest: Sha256::default(),
            kept: 0,
            cut: 0,
            cap,
            rate,
            flood: cap.saturating_mul(FLOOD).max(LEAST_FLOOD),
            buffer: vec![0; 64 * 1024],
        }
    }

    /// Takes in what the pipe holds, once.
    pub(super) fn take(&mut self, pipe: &mut io::PipeReader) -> Look {
        match pipe.read(&mut self.buffer) {
            Ok(0) => Look::End,
            Ok(length) => {
                self.keep(length);
                Look::Some
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Look::Some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Look::Nothing,
            Err(_) => Look::End,
        }
    }

    fn keep(&mut self, length: usize) {
        let room = usize::try_from(self.cap - self.kept)
            .unwrap_or(usize::MAX)
            .min(length);
        let piece = &self.buffer[..room];
        if self.file.write_all(piece).is_ok() {
            self.digest.update(piece);
            self.kept += room as u64;
            self.cut += (length - room) as u64;
        } else {
            // A disk that takes no more is a cap reached early. What was written of this piece is not counted, so it must
            // not be read either.
            let _ = self.file.set_len(self.kept);
            self.cap = self.kept;
            self.cut += length as u64;
        }
    }

    /// Whether more was printed than the rate allows after `running`; then the pipe is left full for a while.
    pub(super) fn is_ahead(&self, running: Duration) -> bool {
        let printed = u128::from(self.kept) + u128::from(self.cut);
        // One second's worth may come at once.
        let allowed = u128::from(self.rate) * (running.as_millis() + 1000) / 1000;
        printed > allowed
    }

    /// Whether far more was printed than is kept.
    pub(super) fn is_flooded(&self) -> bool {
        self.kept + self.cut > self.flood
    }

    /// Ends it. A power cut may cost the last lines; the verdict does not rest on them.
    pub(super) fn end(self) -> Logged {
        let _ = self.file.sync_data();
        Logged {
            digest: self.digest.finish(),
            kept: self.kept,
            cut: self.cut,
        }
    }
}

impl Logged {
    pub(super) fn nothing() -> Self {
        Self {
            digest: Sha256::default().finish(),
            kept: 0,
            cut: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn filled(spool: &mut Spool, bytes: &[u8]) {
        let (mut output, mut input) = io::pipe().unwrap();
        input.write_all(bytes).unwrap();
        drop(input);
        while spool.take(&mut output) != Look::End {}
    }

    #[test]
    fn a_disk_that_is_full_cuts_the_log_and_not_the_script() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut spool = Spool::to(full, 1000, 1000);
        filled(&mut spool, &[b'x'; 25]);
        let logged = spool.end();
        assert_eq!((logged.kept, logged.cut), (0, 25));
    }

    #[test]
    fn a85_output_beyond_the_cap_is_counted_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::create(&path, 10, 1000).unwrap();
        filled(&mut spool, &[b'x'; 25]);
        let logged = spool.end();
        assert_eq!((logged.kept, logged.cut), (10, 15));
        assert_eq!(fs::read(path).unwrap(), [b'x'; 10]);
        assert_eq!(logged.digest, Digest(crate::trust::sha256(&[b'x'; 10])));
    }

    #[test]
    fn a85_a_script_that_prints_too_fast_is_held_up_until_its_time_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(&folder.path().join("spool"), 10, 20).unwrap();
        filled(&mut spool, &[b'x'; 50]);
        assert!(spool.is_ahead(Duration::from_millis(0)));
        assert!(spool.is_ahead(Duration::from_millis(1499)));
        assert!(!spool.is_ahead(Duration::from_millis(1500)));
    }

    #[test]
    fn a85_a_flood_is_what_is_far_beyond_the_cap_and_never_little() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(&folder.path().join("spool"), 2 << 20, u64::MAX).unwrap();
        spool.cut = 16 * (2 << 20);
        assert!(!spool.is_flooded());
        filled(&mut spool, b"x");
        assert!(spool.is_flooded());
        let spool = Spool::create(&folder.path().join("spool"), 0, u64::MAX).unwrap();
        assert_eq!(spool.flood, LEAST_FLOOD);
    }
}
