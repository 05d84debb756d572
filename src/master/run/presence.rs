//! Who is there: the slaves, and the bus with its streams.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Done, Errand, Running};
use crate::bus::Stream;
use crate::master::attendance;
use crate::master::scheduler::{Reason, Waiting};
use crate::model::{RosterLine, SlaveName, Timestamp};

impl Running<'_> {
    /// Looks which of the slaves that are to build something are there.
    pub(super) fn look_who_is_there(&mut self) {
        // What was said before this moment counts.
        self.take_what_is_there();
        let now = (self.herald.clock)();
        let roster = self.reader.roster();
        let builders = self.life.config.builders.values();
        let slaves: BTreeSet<&SlaveName> = builders
            .map(|builder| &builder.slave)
            .filter(|slave| {
                let line = roster.and_then(|roster| roster.line(slave));
                line.is_some_and(RosterLine::takes_commands)
            })
            .collect();
        let events = self.attendance.look(slaves.iter().copied(), now);
        let counted = self.attendance.count(slaves.into_iter(), now);
        self.master.telemetry.slaves(counted);
        let queue = self.with_circumstances(now, |circumstances| {
            self.scheduler.queue(circumstances, now)
        });
        // What is to be built at a certain time is not late before that.
        let due = |waiting: &&Waiting| !matches!(waiting.reason, Reason::Scheduled { .. });
        let oldest = queue.iter().find(due).map(|waiting| waiting.since);
        self.master.telemetry.queue(queue.len(), oldest);
        self.tell(&events, now);
    }

    pub(super) fn tell(&self, events: &[attendance::Event], now: Timestamp) {
        for event in events {
            event.tell(&self.scheduler.builds_on(event.slave(), now));
        }
    }

    /// Makes the streams that are missing, however long the bus takes to answer, and looks whether the server still holds
    /// what it held.
    pub(super) fn restore_streams(&mut self) {
        if !self.under_way.insert(Errand::Restore) {
            return;
        }
        let bus = self.herald.bus.clone();
        self.errands.spawn(async move {
            let mut told = false;
            loop {
                let newest = match bus.ensure_streams().await {
                    Ok(()) => bus.read_newest(Stream::Commands, &bus.subjects().lead()).await,
                    Err(error) => Err(error),
                };
                match newest {
                    Ok(newest) => return Done::Restored(newest.is_some()),
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            tracing::warn!(code = "E-BUS", %error, "streams not restored yet; it is tried again");
                        }
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
            }
        });
    }
}
