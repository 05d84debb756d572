//! What systemd is told of a service: that it is ready, what it does, that it is alive, that it stops. See `sd_notify(3)`.
//!
//! A few lines and no crate: ours would read the environment where nobody looks for that, or change it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::files;
use super::telemetry::Role;
use crate::bus::Bus;
use crate::model::Pulse;

/// How often it is looked whether there is something to tell.
const PERIOD: Duration = Duration::from_secs(1);

/// The way to the service manager, if one started this process and wants to be told.
#[derive(Clone)]
pub(super) struct Notifier(Option<Arc<Way>>);

struct Way {
    socket: UnixDatagram,
    path: PathBuf,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Finds the way by what the service manager has put into the environment.
    pub(super) fn find() -> Self {
        let watchdog = watchdog(
            files::variable("WATCHDOG_USEC").as_deref(),
            files::variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        let way = files::variable("NOTIFY_SOCKET").and_then(|path| Way::to(&path, watchdog));
        Self(way.map(Arc::new))
    }

    /// Tells of `role` from now on.
    pub(super) fn watch(&self, role: Role, bus: Bus) {
        let Some(way) = self.0.clone() else {
            return;
        };
        tokio::spawn(async move {
            let mut teller = Teller::new(way.watchdog);
            let mut look = tokio::time::interval(PERIOD);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                look.tick().await;
                let pulse = role.pulse();
                let seen = Seen {
                    now: pulse.now(),
                    turned: pulse.last(),
                    bus: Connection::of(&bus),
                    doing: role.doing(),
                };
                for message in teller.tell(&seen) {
                    way.send(&message);
                }
            }
        });
    }

    /// Says that the service stops.
    pub(super) fn stopping(&self) {
        if let Some(way) = &self.0 {
            way.send("STOPPING=1");
        }
    }
}

impl Way {
    fn to(path: &str, watchdog: Option<Duration>) -> Option<Self> {
        // An abstract socket would begin with @; systemd gives a service the path of a file.
        if !path.starts_with('/') {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        // A service manager that does not listen holds up nobody.
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            path: path.into(),
            watchdog,
        })
    }

    fn send(&self, message: &str) {
        if let Err(error) = self.socket.send_to(message.as_bytes(), &self.path) {
            tracing::debug!(%error, "service manager not told");
        }
    }
}

/// The time within which systemd wants to hear that this process is alive.
fn watchdog(microseconds: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    // Meant for another process, if it names one.
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    let microseconds: u64 = microseconds?.parse().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

/// Whether the bus is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Connection {
    Up,
    Down,
}

impl Connection {
    fn of(bus: &Bus) -> Self {
        if bus.is_connected() {
            Self::Up
        } else {
            Self::Down
        }
    }
}

/// What is seen at one moment, by a clock that never jumps.
#[derive(Clone, Debug)]
struct Seen {
    now: Duration,
    /// When the loop turned last.
    turned: Duration,
    bus: Connection,
    /// What the role does, once it has begun.
    doing: Option<String>,
}

/// What has been told, and so what is still to be told. Pure.
#[derive(Debug)]
struct Teller {
    watchdog: Option<Duration>,
    ready: bool,
    status: String,
    /// When it was said last that the process is alive.
    alive: Option<Duration>,
    /// When the bus was last seen to be away.
    away: Duration,
}

impl Teller {
    fn new(watchdog: Option<Duration>) -> Self {
        Self {
            watchdog,
            ready: false,
            status: String::new(),
            alive: None,
            away: Duration::ZERO,
        }
    }

    fn tell(&mut self, seen: &Seen) -> Vec<String> {
        let mut messages = Vec::new();
        if seen.bus == Connection::Down {
            self.away = seen.now;
        }
        let status = match (&seen.doing, seen.bus) {
            (Some(doing), Connection::Up) => doing.clone(),
            (Some(doing), Connection::Down) => format!("{doing}; the bus is away"),
            (None, Connection::Up) => "starts".to_owned(),
            (None, Connection::Down) => "waits for the bus".to_owned(),
        };
        if status != self.status {
            messages.push(format!("STATUS={status}"));
            self.status = status;
        }
        if seen.doing.is_some() && !std::mem::replace(&mut self.ready, true) {
            messages.push("READY=1".to_owned());
        }
        let due = self.watchdog.is_some_and(|limit| {
            let since = self.alive.map(|alive| seen.now.saturating_sub(alive));
            // A look may come a period late, and half of the limit is the latest moment.
            since.is_none_or(|since| since + PERIOD >= limit / 2)
        });
        // A loop may wait for a bus that is away, however long; a new process would wait as well.
        if due && Pulse::is_fresh(seen.turned.max(self.away), seen.now) {
            messages.push("WATCHDOG=1".to_owned());
            self.alive = Some(seen.now);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn seen(now: u64, turned: u64) -> Seen {
        Seen {
            now: seconds(now),
            turned: seconds(turned),
            bus: Connection::Up,
            doing: Some("takes commands".to_owned()),
        }
    }

    #[test]
    fn a_service_is_ready_once_it_has_begun_and_what_it_does_is_told_when_that_changes() {
        let mut teller = Teller::new(None);
        let begins = Seen {
            bus: Connection::Down,
            doing: None,
            ..seen(1, 0)
        };
        assert_eq!(teller.tell(&begins), ["STATUS=waits for the bus"]);
        assert_eq!(
            teller.tell(&seen(2, 2)),
            ["STATUS=takes commands", "READY=1"]
        );
        assert!(teller.tell(&seen(3, 3)).is_empty(), "told already");
    }

    #[test]
    fn it_is_alive_twice_within_the_limit_while_its_loop_turns_and_no_more_once_that_is_stuck() {
        let mut teller = Teller::new(Some(seconds(60)));
        let beats = |teller: &mut Teller, now: u64, turned: u64| {
            let messages = teller.tell(&seen(now, turned));
            messages.contains(&"WATCHDOG=1".to_owned())
        };
        let told: Vec<u64> = (1..=90)
            .filter(|now| beats(&mut teller, *now, *now))
            .collect();
        assert_eq!(told, [1, 30, 59, 88]);
        let told: Vec<u64> = (91..=300)
            .filter(|now| beats(&mut teller, *now, 90))
            .collect();
        assert_eq!(told, [117], "the last one is 27 s after the last turn");
    }

    #[test]
    fn a_loop_that_waits_for_a_bus_that_is_away_is_not_stuck_until_30_s_after_it_is_back() {
        let mut teller = Teller::new(Some(seconds(2)));
        let mut beats = |now: u64, bus| {
            let seen = Seen {
                bus,
                ..seen(now, 0)
            };
            teller.tell(&seen).contains(&"WATCHDOG=1".to_owned())
        };
        assert!((1..1000).all(|now| beats(now, Connection::Down)));
        assert!((1000..1030).all(|now| beats(now, Connection::Up)));
        assert!(!beats(1030, Connection::Up));
    }

    #[test]
    fn a_watchdog_that_is_meant_for_another_process_is_none_of_ours() {
        assert_eq!(watchdog(Some("60000000"), None, 7), Some(seconds(60)));
        assert_eq!(watchdog(Some("60000000"), Some("7"), 7), Some(seconds(60)));
        assert_eq!(watchdog(Some("60000000"), Some("8"), 7), None);
        for odd in ["0", "", "soon"] {
            assert_eq!(watchdog(Some(odd), None, 7), None, "{odd:?}");
        }
        assert_eq!(watchdog(None, Some("7"), 7), None);
    }
}
