//! A slave that was handed a part of the control group tree: each job has a group of its own, which ends with the job.
//!
//! Where nobody may make control groups, as in most containers, there is nothing to try.

use std::fs;
use std::path::{Path, PathBuf};

use pybots::model::Verdict;

use crate::harness::Farm;
use crate::process::{PYBOTS, Process, eventually};

/// A part of the tree, as systemd would hand it over.
struct Delegated(PathBuf);

impl Delegated {
    fn make(name: &str) -> Option<Self> {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let mut mounts = mounts.iter();
        let mount = mounts.find(|mount| mount.join("cgroup.procs").exists())?;
        let base = mount.join(format!("pybots-test-{}-{name}", std::process::id()));
        fs::create_dir_all(base.join("slave")).ok()?;
        Some(Self(base))
    }

    /// The groups of jobs that are there.
    fn jobs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_job = |path: &PathBuf| path.is_dir() && !path.ends_with("slave");
        paths.filter(is_job).collect()
    }

    /// A farm whose slave is in it, with one script.
    async fn farm(&self, level: &str, body: &str) -> Farm {
        let mut farm = Farm::new().await;
        farm.script("attack.sh", body);
        farm.write_slave_toml("[commands.attack]\nscript = \"attack.sh\"");
        let config = farm.text("slave/slave.toml");
        let text = fs::read_to_string(&config).unwrap();
        let settings = format!("[isolation]\nlevel = \"{level}\"");
        fs::write(&config, text.replace("[isolation]", &settings)).unwrap();
        farm.publish_keyring_and_head().await;
        let procs = self.0.join("slave/cgroup.procs");
        let line = format!(
            "echo 0 > {}; exec {PYBOTS} --log-format json slave run --config {config}",
            procs.display()
        );
        let slave = Process::start("/bin/sh", &["-c", &line], farm.path("slave.log"));
        farm.slave = Some(slave);
        eventually("the slave is ready", || async {
            farm.slave_said().contains("slave started").then_some(())
        })
        .await;
        farm
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // The slave has been killed a moment ago; what holds the folder then is only its end.
        for path in self.jobs() {
            let _ = fs::write(path.join("cgroup.kill"), "1");
            let _ = fs::remove_dir(path);
        }
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        while fs::remove_dir(self.0.join("slave"))
            .is_err_and(|error| error.raw_os_error() == Some(16))
        {
            std::thread::yield_now();
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn each_job_is_in_a_group_of_its_own_which_is_gone_with_it() {
    for level in ["plain", "landlock", "namespaces"] {
        let Some(delegated) = Delegated::make(level) else {
            return;
        };
        let body = "setsid sleep 1000 &\nuntil [ -e go ]; do sleep 0.05; done";
        let farm = delegated.farm(level, body).await;
        let id = farm.send(&farm.order(1, &["attack"])).await;
        let group = eventually("there is a group with the script in it", || async {
            let group = delegated.jobs().pop()?;
            let inside = fs::read_to_string(group.join("cgroup.procs")).ok()?;
            (inside.lines().count() >= 3).then_some(group)
        })
        .await;
        // The keeper starts the script from within the group, and goes back then.
        eventually("the keeper is in the slave's group", || async {
            let slaves = fs::read_to_string(delegated.0.join("slave/cgroup.procs")).ok()?;
            (slaves.lines().count() >= 2).then_some(())
        })
        .await;
        fs::write(farm.path("slave/state/builders/foo-linux/workspace/go"), "").unwrap();
        assert_eq!(farm.verdict(id).await, Verdict::Passed, "{level}");
        assert!(!group.exists(), "{level}");
    }
}

#[tokio::test]
async fn a72_what_a_script_left_that_killed_its_keeper_is_ended_all_the_same() {
    let Some(delegated) = Delegated::make("killed") else {
        return;
    };
    let body = "setsid sleep 1000 &\necho $! > sleeper\nkill -9 $PPID\nexec sleep 1000";
    let farm = delegated.farm("plain", body).await;
    let id = farm.send(&farm.order(1, &["attack"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Errored);
    let sleeper = farm.path("slave/state/builders/foo-linux/workspace/sleeper");
    let sleeper = fs::read_to_string(sleeper).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", sleeper.trim()));
    // Nobody may have reaped it yet.
    let lives = status.is_ok_and(|status| !status.contains("State:\tZ"));
    assert!(!lives, "{}", farm.slave_said());
    assert!(delegated.jobs().is_empty());
}
