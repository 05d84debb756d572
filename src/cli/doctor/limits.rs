//! Whether the machine itself lets a command start right now, and how it is counted what scripts use.

use super::finding::Judgement;
use super::patient::Read;
use crate::model::Counted;
use crate::slave::{Deferral, Host, HostLimits, Occupant, SlaveConfig, counted_below};

/// Looks at what is left of the machine, against what its owner wants left.
pub(super) fn examine(slave: &Read<SlaveConfig>) -> Vec<Judgement> {
    let config = &slave.config;
    let counted = match Occupant::of(&config.state) {
        Ok(Occupant::Process(slave)) => counted_below(slave),
        Ok(Occupant::Nobody | Occupant::Unknown) | Err(_) => None,
    };
    vec![judge(&config.host, Host::look(&config.state), counted)]
}

fn judge(limits: &HostLimits, host: Host, counted: Option<Counted>) -> Judgement {
    let reasons = Deferral::of_host(limits, host);
    if reasons.is_empty() {
        let counted = match counted {
            Some(Counted::Cgroup) => "counted by a control group for each job",
            Some(Counted::Sampled | Counted::Waited) => {
                "sampled, because no control group is delegated to the slave"
            }
            None => "counted by control groups if the slave is started with some, else sampled",
        };
        return Judgement::ok(format!(
            "a command would not be put off for disk, load or battery; memory and processes are {counted}"
        ));
    }
    let join = |words: Vec<String>| words.join("; ");
    Judgement::warn(
        join(reasons.iter().map(Deferral::to_string).collect()),
        "a command that comes now is put off, and tried again later",
        join(reasons.iter().map(fix).collect()),
    )
}

fn fix(reason: &Deferral) -> String {
    match reason {
        Deferral::FreeDisk { .. } => {
            "make room, or lower free-disk-mebibytes under [limits] in slave.toml"
        }
        Deferral::Load { .. } => {
            "wait until the machine has less to do, or raise load under [limits] in slave.toml"
        }
        Deferral::Battery => {
            "plug the machine in, or set on-battery = \"run\" under [limits] in slave.toml"
        }
        Deferral::Held(_) | Deferral::Configuration | Deferral::Quiet => {
            "see what pybots slave schedule says"
        }
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::slave::OnBattery;

    #[test]
    fn every_reason_to_put_a_command_off_is_said_with_what_to_do_about_it() {
        let limits = HostLimits {
            parallel_builds: 1,
            free_disk: 1 << 30,
            load: Some(2.0),
            on_battery: OnBattery::Defer,
        };
        let idle = Host {
            free_disk: Some(1 << 30),
            load: Some(2.0),
            on_battery: Some(false),
        };
        let sampled = judge(&limits, idle, Some(Counted::Sampled));
        assert_eq!(sampled.state(), State::Ok);
        assert!(sampled.found().contains("are sampled"), "{sampled:?}");
        let exact = judge(&limits, idle, Some(Counted::Cgroup));
        assert!(exact.found().contains("by a control group"), "{exact:?}");
        let worn = Host {
            free_disk: Some((1 << 30) - 1),
            load: Some(2.5),
            on_battery: Some(true),
        };
        let judgement = judge(&limits, worn, None);
        assert_eq!(judgement.state(), State::Warn);
        let said = format!("{judgement:?}");
        for word in [
            "1023 MiB",
            "load average is 2.50",
            "battery",
            "free-disk-mebibytes",
            "plug",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
