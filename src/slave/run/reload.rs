//! slave.toml, read again when it changes: an owner who edits it need not ask the slave to take note.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Running;
use crate::slave::config::SlaveConfig;
use crate::slave::execute::Executor;

/// A slave.toml, and how it is read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Reads it, or says in a sentence why it cannot be acted on.
    pub read: fn(&Path) -> Result<SlaveConfig, String>,
}

/// Which writing of a file was read last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Where there is no such file, one that no file has.
    fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else {
            return Self::default();
        };
        Self {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What was last read of slave.toml.
pub(super) struct Reload {
    file: ConfigFile,
    /// What was looked at last; none before the first time.
    seen: Option<Stamp>,
    misread: bool,
}

impl Reload {
    pub(super) fn new(file: ConfigFile) -> Self {
        Self {
            file,
            // It may have changed since it was read for the start.
            seen: None,
            misread: false,
        }
    }

    /// Whether it cannot be acted on as it stands.
    pub(super) fn is_misread(&self) -> bool {
        self.misread
    }

    /// What it says now, if it was changed since it was looked at last.
    fn changed(&mut self) -> Option<Result<SlaveConfig, String>> {
        let now = Stamp::of(&self.file.path);
        if self.seen == Some(now) {
            return None;
        }
        // Before it is read: what is written meanwhile is seen the next time.
        self.seen = Some(now);
        let read = (self.file.read)(&self.file.path);
        self.misread = read.is_err();
        Some(read)
    }
}

impl Running {
    /// Reads slave.toml again if it was changed. What it says counts for whatever is decided from now on.
    pub(super) fn reread_config(&mut self) {
        let first = self.reload.seen.is_none();
        match self.reload.changed() {
            None => {}
            Some(Ok(config)) => {
                if !first {
                    tracing::info!("slave.toml read again");
                }
                self.go_by(config);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "slave.toml was changed and cannot be acted on; nothing new is started until it can");
            }
        }
    }

    fn go_by(&mut self, new: SlaveConfig) {
        let old = &self.executor.config;
        let fixed = fixed_at_the_start(old, &new);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            tracing::warn!(%keys, "slave.toml has a change that needs a restart; it does not count before");
        }
        let config = SlaveConfig {
            commands: new.commands,
            environment: new.environment,
            script_change: new.script_change,
            isolation: new.isolation,
            host: new.host,
            schedule: new.schedule,
            ..old.clone()
        };
        self.gate.configure(config.clone());
        // What runs goes on as it began.
        self.executor = Arc::new(Executor {
            config,
            ..(*self.executor).clone()
        });
    }
}

/// The keys that differ and count from the next start on.
fn fixed_at_the_start(old: &SlaveConfig, new: &SlaveConfig) -> Vec<&'static str> {
    let periods = |config: &SlaveConfig| {
        (
            config.presence_period,
            config.head_period,
            config.max_head_age,
        )
    };
    [
        ("name", old.name != new.name),
        ("farm", old.farm != new.farm),
        ("bus", old.bus != new.bus),
        ("state", old.state != new.state),
        ("builders", old.builders != new.builders),
        ("periods", periods(old) != periods(new)),
        ("telemetry", old.telemetry != new.telemetry),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<SlaveConfig, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        SlaveConfig::parse(&text, Path::new("/")).map_err(|error| error.to_string())
    }

    const TEXT: &str = r#"name = "maple"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
state = "state"
[builders.foo]
"#;

    #[test]
    fn a_file_is_read_once_for_each_writing_and_a_broken_or_missing_one_is_misread_until_it_is_whole()
     {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slave.toml");
        fs::write(&path, TEXT).unwrap();
        let mut reload = Reload::new(ConfigFile {
            path: path.clone(),
            read,
        });
        assert!(matches!(reload.changed(), Some(Ok(_))), "the first time");
        assert!(reload.changed().is_none());
        fs::write(&path, format!("{TEXT}[commands.x]\n")).unwrap();
        assert!(matches!(reload.changed(), Some(Err(_))));
        assert!(reload.changed().is_none());
        assert!(reload.is_misread());
        // As an editor does it: another file in its place, of the same length.
        let draft = folder.path().join("draft");
        fs::write(&draft, format!("{TEXT}[limits]    \n")).unwrap();
        fs::rename(&draft, &path).unwrap();
        assert!(matches!(reload.changed(), Some(Ok(_))));
        assert!(!reload.is_misread());
        fs::remove_file(&path).unwrap();
        assert!(matches!(reload.changed(), Some(Err(_))));
        assert!(reload.is_misread());
    }

    #[test]
    fn what_counts_from_the_next_start_on_is_named() {
        let config = |text: &str| SlaveConfig::parse(text, Path::new("/")).unwrap();
        let old = config(TEXT);
        let cases = [
            ("maple", "oak", &["name"][..]),
            (":4222", ":4223", &["bus"]),
            ("\"state\"", "\"other\"", &["state"]),
            ("[builders.foo]", "[builders.bar]", &["builders"]),
            (
                "[builders.foo]",
                "[builders.foo]\nworkspace = \"kept\"",
                &["builders"],
            ),
            (
                "[builders.foo]",
                "[periods]\nhead-seconds = 1\n[builders.foo]",
                &["periods"],
            ),
            ("SHA256:Bw", "SHA256:Aw", &["farm"]),
            (
                "[builders.foo]",
                "[telemetry]\nlisten = \"127.0.0.1:9464\"\n[builders.foo]",
                &["telemetry"],
            ),
            ("[builders.foo]", "[limits]\n[builders.foo]", &[]),
        ];
        for (from, to, keys) in cases {
            let new = config(&TEXT.replacen(from, to, 1));
            assert_eq!(fixed_at_the_start(&old, &new), keys, "{to}");
        }
    }
}
