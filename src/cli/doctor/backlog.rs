//! What the slave has not said yet, and whether one is there to say it.

use super::finding::{Judgement, quoted};
use super::patient::Read;
use crate::cli::exit::Failure;
use crate::slave::{Backlog, Occupant, SlaveConfig};

/// Looks at the slave's journal and at the folders of its jobs.
pub(super) fn examine(slave: &Read<SlaveConfig>) -> Vec<Judgement> {
    let state = &slave.config.state;
    let start = format!("pybots slave run --config {}", quoted(&slave.path));
    let judgement = match (Backlog::of(state), Occupant::of(state)) {
        (Ok(backlog), Ok(occupant)) => judge(backlog, occupant, &start),
        (Err(error), _) => unreadable(&Failure::error(error)),
        (_, Err(error)) => unreadable(&Failure::error(error)),
    };
    vec![judgement]
}

fn unreadable(why: &Failure) -> Judgement {
    Judgement::fail(
        why.sentence(),
        "what waits to be reported is not known, and the slave may not start",
        "see whose the state folder is, and whether its disk is in order",
    )
}

fn judge(backlog: Backlog, occupant: Occupant, start: &str) -> Judgement {
    let Backlog {
        reports,
        log_bytes,
        builds,
        orphans,
    } = backlog;
    let waits = format!("{reports} reports and {log_bytes} bytes of logs are not sent");
    if occupant != Occupant::Nobody {
        return Judgement::ok(format!("{waits}; the slave that runs sees to it"));
    }
    if orphans > 0 {
        return Judgement::warn(
            format!("scripts at work: {orphans}, and no slave runs; {waits}"),
            "the builds go on, and nobody hears of it before a slave runs here again",
            format!("start the slave, which takes them over and reports them: {start}"),
        );
    }
    if reports > 0 || log_bytes > 0 || builds > 0 {
        return Judgement::warn(
            format!("{waits}, builds without an end: {builds}, and no slave runs"),
            "the farm does not learn what came of them; it calls them lost in the end",
            format!("start the slave: {start}"),
        );
    }
    Judgement::ok("nothing waits to be sent")
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn what_waits_is_wrong_only_while_no_slave_is_there_to_send_it() {
        let none = Backlog::default();
        let cases = [
            (none, State::Ok, "nothing waits"),
            (Backlog { reports: 2, ..none }, State::Warn, "2 reports"),
            (
                Backlog {
                    log_bytes: 7,
                    ..none
                },
                State::Warn,
                "7 bytes",
            ),
            (
                Backlog { builds: 1, ..none },
                State::Warn,
                "without an end: 1",
            ),
            (
                Backlog { orphans: 1, ..none },
                State::Warn,
                "scripts at work: 1",
            ),
        ];
        for (backlog, state, found) in cases {
            let judgement = judge(backlog, Occupant::Nobody, "start");
            assert_eq!(judgement.state(), state, "{judgement:?}");
            assert!(judgement.found().contains(found), "{judgement:?}");
            let judgement = judge(backlog, Occupant::Process(1), "start");
            assert_eq!(judgement.state(), State::Ok, "{judgement:?}");
        }
    }
}
