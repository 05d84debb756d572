//! Which jobs a keeper takes.

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use crate::model::{Digest, Isolation, Network};
use crate::slave::isolation::Confinement;
use crate::slave::keeper::{Allowance, Stage, prepare, script, stage, try_abandon};

fn job(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(script(folder.path()), text).unwrap();
    fs::set_permissions(script(folder.path()), fs::Permissions::from_mode(0o500)).unwrap();
    let job = Job {
        script: Digest([0; 32]),
        mapped: None,
        confinement: Confinement {
            level: Isolation::Plain,
            network: Network::On,
            bubblewrap: None,
            readable: Vec::new(),
            writable: Vec::new(),
            own: Vec::new(),
            cache: PathBuf::new(),
            hidden: Vec::new(),
            temporary: PathBuf::new(),
            home: PathBuf::new(),
        },
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        workspace: folder.path().to_owned(),
        allowance: Allowance {
            wall: Duration::from_secs(60),
            silent: Duration::from_secs(60),
            cpu: None,
            memory: 1 << 30,
            processes: 100,
            open_files: 1024,
            disk: 1 << 30,
            free_disk: 0,
            log: 1000,
            log_rate: 1000,
        },
    };
    prepare(folder.path(), &job).unwrap();
    folder
}

fn refused(folder: &Path) -> bool {
    let kept = keep(folder, || Timestamp(1), || Duration::ZERO);
    matches!(kept, Err(KeeperError::NotToRun(_)))
}

#[test]
fn a133_an_abandoned_job_is_never_run() {
    let folder = job("#!/bin/sh\ntouch ran\n");
    assert!(try_abandon(folder.path()).unwrap());
    assert!(refused(folder.path()));
    assert!(!folder.path().join("ran").exists());
}

#[test]
fn a_job_whose_script_was_started_once_is_never_run_again() {
    let folder = job("#!/bin/sh\ntouch ran\n");
    fs::write(started(folder.path()), "1").unwrap();
    assert!(refused(folder.path()));
    assert!(matches!(stage(folder.path()).unwrap(), Stage::Broken));
    assert!(!folder.path().join("ran").exists());
}

#[test]
fn a_job_that_a_keeper_holds_is_run_by_no_other_and_cannot_be_abandoned() {
    let folder = job("#!/bin/sh\ntouch ran\n");
    assert!(matches!(stage(folder.path()).unwrap(), Stage::Waiting));
    let lock = open_lock(folder.path()).unwrap();
    lock.lock().unwrap();
    assert!(matches!(stage(folder.path()).unwrap(), Stage::Running));
    assert!(!try_abandon(folder.path()).unwrap());
    assert!(refused(folder.path()));
    assert!(!folder.path().join("ran").exists());
}
