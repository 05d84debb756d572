//! `pybots slave pause` and `resume`: whether anything new is started.

use super::place::{Chosen, Place};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::status::parse_age;
use crate::model::{Text, Timestamp};
use crate::slave::{Hold, Occupant, Owner, Pause};

const EXAMPLES: &str = "\
Examples:
  pybots slave pause
  pybots slave pause --until 2h
  pybots slave pause --until 18:00 --note 'a video call'
  pybots slave pause --until '2026-12-27 08:00'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// How long (90s, 15m, 2h, 3d), or until which time: 18:00, 2026-12-27 or "2026-12-27 18:00" here, or in UTC as
    /// 2026-12-27T18:00:00Z. Without it, until you resume.
    #[arg(long, value_name = "TIME|DURATION")]
    until: Option<String>,
    /// Why, for yourself: the farm is not told.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    which: Chosen,
}

const NOT_DONE: &str = "Nothing was changed.";

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let place = arguments.which.place()?;
    let usage = |message: String| Failure::message(Exit::Usage, message).advice(NOT_DONE);
    let until = match arguments.until {
        Some(raw) => Some(moment(&place, &raw).map_err(usage)?),
        None => None,
    };
    let note = match arguments.note {
        Some(note) => {
            Some(Text::try_from(note).map_err(|error| usage(format!("--note: {error}")))?)
        }
        None => None,
    };
    let owner = Owner {
        paused: Some(Pause {
            since: place.now,
            until,
            note,
        }),
        ..place.owner()
    };
    let end = until.map_or_else(|| "you resume".to_owned(), |until| place.local(until));
    place.tell(&owner, "pause", &format!("until {end}"))?;
    say!("Paused until {end}.");
    place.say_occupant(
        "takes nothing new from now on; what it has accepted goes on to its end",
        "one that starts will wait for that",
    )?;
    say!("The farm learns only until when it need not ask; without an end, a day at a time.");
    say!("Go on: pybots slave resume     End what runs, at once: pybots slave panic");
    Ok(Exit::Ok)
}

/// The moment that `--until` means.
fn moment(place: &Place, raw: &str) -> Result<Timestamp, String> {
    let now = place.now;
    let moment = parse_age(raw)
        .map(|age| now.after(age))
        .ok()
        .or_else(|| raw.parse().ok())
        .or_else(|| place.schedule.moment(raw, now))
        .ok_or_else(|| {
            format!("--until {raw:?} is neither a time, such as 18:00, nor how long, such as 2h")
        })?;
    if moment <= now {
        return Err(format!("--until {raw:?} is over already"));
    }
    Ok(moment)
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    which: Chosen,
}

pub(super) fn resume(arguments: &Resume) -> Result<Exit, Failure> {
    let place = arguments.which.place()?;
    let said = Owner::read(&place.state);
    if said.as_ref().is_ok_and(|owner| *owner == Owner::default()) {
        say!("Nothing was paused, and nothing was changed.");
    } else {
        place.tell(&Owner::default(), "resume", "")?;
        match Owner::defers_or_unreadable(&said, place.now) {
            Some((_, Hold::Paused(_))) => say!("The pause is over."),
            Some((_, Hold::Draining)) => say!("The slave need not drain any more."),
            Some((_, Hold::Panic)) => say!("A slave may be started here again."),
            Some((_, Hold::Unreadable)) => {
                say!("What was said before could not be read, and is forgotten.");
            }
            None => say!("The pause was over already."),
        }
    }
    match place.occupant()? {
        Occupant::Nobody => say!("No slave runs here now. Start it: pybots slave run"),
        Occupant::Process(_) | Occupant::Unknown => {
            let quiet = place.schedule.quiet_until(place.now);
            let after = quiet.map_or_else(String::new, |until| {
                format!(" after its quiet hours, {}", place.local(until))
            });
            say!("The slave that runs here takes commands again{after}.");
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slave::Schedule;
    use std::path::PathBuf;

    #[test]
    fn a_pause_ends_when_its_owner_says_in_whichever_way_and_never_in_the_past() {
        let place = Place {
            state: PathBuf::new(),
            schedule: Schedule::default(),
            now: "2026-11-22T18:00:00Z".parse().unwrap(),
        };
        let cases = [
            ("90m", Ok("2026-11-22T19:30:00.000Z")),
            ("2026-11-22T18:00:01Z", Ok("2026-11-22T18:00:01.000Z")),
            ("0s", Err("is over already")),
            ("2026-11-22T18:00:00Z", Err("is over already")),
            ("2026-11-20", Err("is over already")),
            ("tomorrow", Err("is neither a time")),
            ("", Err("is neither a time")),
        ];
        for (raw, expected) in cases {
            let found = moment(&place, raw).map(|moment| moment.to_string());
            match expected {
                Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{raw}"),
                Err(expected) => assert!(found.unwrap_err().contains(expected), "{raw}"),
            }
        }
    }
}
