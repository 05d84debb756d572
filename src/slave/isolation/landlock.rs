//! The level `landlock`: the kernel refuses the script files, TCP and signals beyond a list, for good.
//!
//! There are no rules that forbid, only such that allow; and the script still sees the machine's process list and names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

use nix::unistd::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
};

use super::plan::{self, SYSTEM, User, Wanted};
use super::{Confinement, Program, Started};
use crate::model::Network;

/// What every script may read besides [`SYSTEM`].
const ALSO_READABLE: [&str; 1] = ["/proc"];
/// What every script may read and write.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];
/// As many folders as are looked into for what leads to the slave's state.
const FOLDERS: u32 = 64;
/// The newest rights that are spoken of here.
const NEWEST: ABI = ABI::V6;

/// The version of Landlock's interface here, by applying it to a thread that does nothing else.
pub(super) fn probe() -> Result<u32, String> {
    let tried = thread::spawn(|| {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V1))?
            .create()?
            .restrict_self()
    });
    let status = match tried.join() {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(format!("Landlock does not work: {error}")),
        Err(_) => return Err("Landlock does not work".to_owned()),
    };
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. }
            if status.ruleset != RulesetStatus::NotEnforced =>
        {
            Ok(effective_abi as u32)
        }
        LandlockStatus::NotEnabled => Err(
            "Landlock is switched off in this kernel; fix: add landlock to the kernel parameter lsm="
                .to_owned(),
        ),
        LandlockStatus::NotImplemented | LandlockStatus::Available { .. } => {
            Err("this kernel has no Landlock; it came with Linux 5.13".to_owned())
        }
    }
}

impl Confinement {
    /// Starts `program` from a thread that Landlock holds; the others stay free.
    pub(super) fn spawn_under_landlock(
        &self,
        program: &Program<'_>,
        output: io::PipeWriter,
    ) -> io::Result<Started> {
        // `/tmp` is everybody's and the home is its owner's, so neither is allowed.
        let mut environment = program.environment.clone();
        let mut stand_in = |name: &str, folder: &Path| {
            environment.insert(name.to_owned(), folder.to_string_lossy().into_owned())
        };
        stand_in("TMPDIR", &self.temporary);
        if program.environment.contains_key("HOME") {
            stand_in("HOME", &self.home);
        }
        thread::scope(|scope| {
            let started = scope.spawn(|| {
                drop_capabilities()?;
                self.restrict(program.script)?;
                super::start(program, &environment, output)
            });
            let started = started.join();
            started.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended")))
        })
    }

    fn restrict(&self, script: &Path) -> io::Result<()> {
        // For what it refuses: a link, say, that an earlier step put in its owner's path.
        plan::plan(&Wanted {
            readable: &self.readable,
            writable: &self.writable,
            hidden: &self.hidden,
            temporary: &self.temporary,
            home: None,
            user: User::Other,
        })?;
        let canonical =
            |path: &PathBuf| fs::canonicalize(path).map_err(|error| plan::missing(path, &error));
        let all = |paths: &[PathBuf]| paths.iter().map(canonical).collect::<io::Result<Vec<_>>>();
        let hidden = all(&self.hidden)?;
        let readable = all(&self.readable)?;
        let system = SYSTEM
            .iter()
            .chain(&ALSO_READABLE)
            .filter_map(|path| fs::canonicalize(path).ok());
        let read = system.chain(readable.iter().cloned());
        let mut read = without(read.collect(), &hidden)?;
        // A rule for a folder would hold for everything in it.
        read.retain(|path| !hidden.iter().any(|hidden| path.starts_with(hidden)));
        read.push(script.to_owned());
        let mut write = all(&self.writable)?;
        write.extend([canonical(&self.temporary)?, canonical(&self.home)?]);
        let only_readable = readable.into_iter().filter(|path| !write.contains(path));
        let guarded: Vec<PathBuf> = hidden.into_iter().chain(only_readable).collect();
        let write = without(write, &guarded)?;
        let refused = |error: RulesetError| io::Error::other(error);
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .map_err(refused)?;
        if self.network != Network::On {
            ruleset = ruleset
                .handle_access(AccessNet::from_all(ABI::V4))
                .map_err(refused)?;
        }
        // A device made by root would be a way around all this.
        let devices: BitFlags<AccessFs> = AccessFs::MakeBlock | AccessFs::MakeChar;
        let status = ruleset
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .and_then(|ruleset| {
                ruleset.add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST)))
            })
            .and_then(|ruleset| {
                ruleset.add_rules(path_beneath_rules(
                    write,
                    AccessFs::from_all(NEWEST) & !devices,
                ))
            })
            .and_then(|ruleset| {
                let access = AccessFs::ReadFile | AccessFs::WriteFile;
                ruleset.add_rules(path_beneath_rules(DEVICES, access))
            })
            .and_then(RulesetCreated::restrict_self)
            .map_err(refused)?;
        if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
            return Err(io::Error::other("Landlock was not applied"));
        }
        Ok(())
    }
}

/// Takes from this thread, and from whatever it starts, all that root may do beyond its files.
fn drop_capabilities() -> io::Result<()> {
    if geteuid().is_root() {
        for capability in CapabilitySet::all() {
            // Not every kernel knows all of them.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

/// What of `todo` is left without what is `guarded`: a folder that holds something guarded stands for all that it holds
/// besides. A folder inside a guarded one stays.
fn without(mut todo: Vec<PathBuf>, guarded: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = FOLDERS;
    while let Some(path) = todo.pop() {
        if guarded.contains(&path) {
            continue;
        }
        if !guarded.iter().any(|guarded| guarded.starts_with(&path)) {
            found.push(path);
            continue;
        }
        left = left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("what is not to be shown lies too deep"))?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A link leads to what is not on the list.
            if !entry.file_type()?.is_symlink() {
                todo.push(entry.path());
            }
        }
    }
    Ok(found)
}
