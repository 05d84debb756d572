//! Whether another master leads and is alive, by its signs of life.
//!
//! Pure. Time is what has gone by since the process began, which nobody can set: masters compare only what each of them
//! measures for itself. Whoever takes the lead though another is alive does no harm, as COMMANDS fences the two; this
//! only keeps the lead from going to and fro.

use std::time::Duration;

use crate::model::{Build, InstanceId, Lease, Timestamp};

/// The newest sign of life.
#[derive(Clone, Copy, Debug)]
struct Heard {
    lease: u64,
    /// By the other's own clock: what is only repeated is no sign of life.
    issued: Timestamp,
    instance: InstanceId,
    /// When it came.
    at: Duration,
    /// For how long nobody else should take the lead.
    lasts: Duration,
}

/// Watches over the lead of others.
#[derive(Debug)]
pub(super) struct Vigil {
    instance: InstanceId,
    heard: Option<Heard>,
    /// Since when everything that is said has been heard; none while it is not.
    listening: Option<Duration>,
    looked: Duration,
}

impl Vigil {
    /// However long a lease says that it lasts.
    const MAX_LASTS: Duration = Duration::from_secs(60);
    /// Too long between two looks while nobody said that there is less time.
    const NAP: Duration = Duration::from_secs(1);

    /// The vigil of `instance`, which hears nothing yet.
    pub(super) fn new(instance: InstanceId, at: Duration) -> Self {
        Self {
            instance,
            heard: None,
            listening: None,
            looked: at,
        }
    }

    /// From now on everything is heard, and what was said last has been.
    pub(super) fn listen(&mut self, at: Duration) {
        self.listening = Some(at);
    }

    /// Nothing is heard any more, so silence means nothing.
    pub(super) fn stop_listening(&mut self) {
        self.listening = None;
    }

    /// Takes in a verified sign of life. `highest` is the highest lease with which anybody took the lead: one below it
    /// is over, and one far above it was made up, to run out of numbers.
    pub(super) fn hear(&mut self, said: &Lease, highest: u64, at: Duration) {
        let made_up = said.lease.saturating_sub(highest) > Build::MAX_JUMP;
        if made_up || said.lease < highest {
            return;
        }
        self.take(Heard {
            lease: said.lease,
            issued: said.issued,
            instance: said.instance,
            at,
            lasts: said.lasts.min(Self::MAX_LASTS),
        });
    }

    /// `instance` has just taken the lead, and will give a sign of life.
    pub(super) fn taken(
        &mut self,
        lease: u64,
        instance: InstanceId,
        lasts: Duration,
        at: Duration,
    ) {
        self.take(Heard {
            lease,
            issued: Timestamp(0),
            instance,
            at,
            lasts: lasts.min(Self::MAX_LASTS),
        });
    }

    fn take(&mut self, said: Heard) {
        let newer = self
            .heard
            .is_none_or(|held| (held.lease, held.issued) < (said.lease, said.issued));
        if newer {
            self.heard = Some(said);
        }
    }

    /// Whether nobody else leads, as far as can be heard. Whoever slept does not know what was said meanwhile: if this is
    /// called much later than it should be, the patience begins anew.
    pub(super) fn nobody_leads(&mut self, at: Duration) -> bool {
        let nap = self
            .heard
            .map_or(Self::NAP, |heard| (heard.lasts / 2).max(Self::NAP / 2));
        let slept = at.saturating_sub(self.looked) > nap;
        self.looked = at;
        let Some(listening) = &mut self.listening else {
            return false;
        };
        if slept {
            *listening = at;
        }
        let Some(heard) = self.heard else {
            return !slept;
        };
        // Its last word was that it leads no longer; or it was this process, before it had to read everything again.
        let is_over = heard.lasts.is_zero() || heard.instance == self.instance;
        is_over || at.saturating_sub(heard.at.max(*listening)) >= heard.lasts
    }

    /// The lease with which to take the lead: above the highest of COMMANDS, and above what was heard. Else a sign of
    /// life that a thief made, or a stream that has forgotten who led, would leave masters deaf to each other for ever.
    pub(super) fn next_lease(&self, highest: u64) -> u64 {
        let heard = self.heard.map_or(0, |heard| heard.lease);
        let next = highest.max(heard).saturating_add(1);
        // Beyond that nobody would believe it.
        next.min(highest.saturating_add(Build::MAX_JUMP))
    }

    /// Who leads, as far as was heard.
    pub(super) fn leader(&self) -> Option<InstanceId> {
        self.heard.map(|heard| heard.instance)
    }

    /// How often to look, with leases that last for `lasts`.
    pub(super) fn period(lasts: Duration) -> Duration {
        lasts / 8
    }
}

/// What a leading master says of itself, each time as something newer.
#[derive(Debug)]
pub(super) struct SignsOfLife {
    last: Timestamp,
}

impl SignsOfLife {
    pub(super) fn new() -> Self {
        Self { last: Timestamp(0) }
    }

    /// When the next one is issued: now, and later than the one before even if the clock was set back.
    pub(super) fn issue(&mut self, now: Timestamp) -> Timestamp {
        self.last = now.max(Timestamp(self.last.0.saturating_add(1)));
        self.last
    }
}

#[cfg(test)]
mod tests;
