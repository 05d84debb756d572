//! Vouching anew for the roster, when the key that signed it no longer counts.
//!
//! Whoever stole a signing key can have put slaves on the roster; a person has to look at each line before another key
//! signs it. Roster and head go to the bus before the keyring that revokes: a slave that takes in the keyring finds at
//! once what to believe instead.

use std::collections::BTreeSet;

use super::changes::standing_of;
use super::holdings::Holdings;
use crate::bus::{BusError, Expected, Stream};
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::master::place_for_roster;
use crate::model::{
    Head, Keyring, Position, PublicKey, RevocationReason, Roster, RosterLine, SlaveName,
};
use crate::trust::{Purpose, Reader, Sealed, SecretKey, Verified, key_id, seal};

/// How often somebody else may be faster before we give up.
const MAX_TRIES: usize = 64;

/// A roster that is to be signed anew.
pub(super) struct Vouch {
    lines: Vec<RosterLine>,
    /// Which version they are taken from.
    taken_from: u64,
    /// Lines that do not stand like that in the newest roster that was signed by a key that still counts.
    unproven: BTreeSet<(SlaveName, PublicKey)>,
    version: u64,
}

impl Vouch {
    /// What has to be vouched for if `draft` comes into force; nothing, if the newest roster's signer still counts then.
    /// `version` names another roster than the newest one.
    async fn plan(
        holdings: &Holdings,
        draft: &Keyring,
        version: Option<u64>,
    ) -> Result<Option<Self>, Failure> {
        let filter = holdings.bus.subjects().rosters();
        let deliveries = holdings.bus.read_all(Stream::Roster, &filter, 1).await?;
        let reader = &holdings.reader;
        let opened = deliveries.iter().filter_map(|delivery| {
            reader
                .open::<Roster>(&delivery.bytes, Purpose::History)
                .ok()
        });
        let counting: BTreeSet<_> = counting_keys(draft).map(|key| key_id(&key)).collect();
        let mut rosters: Vec<_> = opened
            .map(|roster| {
                (
                    counting.contains(&roster.signer()),
                    reader.rank(&roster.signer()),
                    roster,
                )
            })
            .collect();
        rosters.sort_by_key(|(_, rank, roster)| (*rank, roster.body().version));
        let base = match version {
            None => rosters.last(),
            // If a thief made one of that number too, the one that still counts is meant.
            Some(version) => {
                let of_version = rosters
                    .iter()
                    .filter(|(_, _, roster)| roster.body().version == version);
                Some(
                    of_version
                        .max_by_key(|(counts, _, _)| *counts)
                        .ok_or_else(|| {
                            let message = format!(
                                "the bus holds no roster of version {version} that verifies"
                            );
                            Failure::message(Exit::Usage, message)
                                .advice("Nothing was made, signed or sent.")
                        })?,
                )
            }
        };
        let Some((counts, _, base)) = base else {
            return Ok(None);
        };
        if *counts && version.is_none() {
            return Ok(None);
        }
        // An older one by a key that still counts is none of a thief's.
        let proven = if *counts {
            Some(base)
        } else {
            let proven = rosters.iter().rfind(|(counts, _, _)| *counts);
            proven.map(|(_, _, roster)| roster)
        };
        let proven = proven.map_or(&[][..], |roster| &roster.body().lines);
        let version_of = |(_, _, roster): &(bool, _, Verified<Roster>)| roster.body().version;
        let newest = rosters.iter().map(version_of).max();
        let newest_counting = rosters.iter().filter(|(counts, _, _)| *counts);
        let newest_counting = newest_counting.map(version_of).max();
        // A thief may have used up the numbers; in the eyes of whoever holds the keyring only ours count.
        let version = newest
            .unwrap_or_default()
            .checked_add(1)
            .unwrap_or_else(|| newest_counting.unwrap_or_default().saturating_add(1));
        let body = base.body();
        Ok(Some(Self {
            unproven: unproven(&body.lines, proven),
            lines: body.lines.clone(),
            taken_from: body.version,
            version,
        }))
    }

    /// The same where there may be no bus to ask; lists what is vouched for.
    pub(super) async fn plan_and_tell(
        holdings: Option<&Holdings>,
        draft: &Keyring,
        version: Option<u64>,
    ) -> Result<Option<Self>, Failure> {
        let Some(holdings) = holdings else {
            return Ok(None);
        };
        let vouch = Self::plan(holdings, draft, version).await?;
        if let Some(vouch) = &vouch {
            vouch.tell();
        }
        Ok(vouch)
    }

    fn tell(&self) {
        say!(
            "The roster was signed by a key that no longer counts then. It is signed anew, as it stands in version {}:",
            self.taken_from
        );
        for line in self.lines.iter().filter(|line| line.closed.is_none()) {
            let builders: Vec<String> = line.builders.iter().map(ToString::to_string).collect();
            say!(
                "  {:<12} {}, of {}, {}, approved {}, for {}",
                line.slave,
                line.report_key,
                line.owner,
                standing_of(line.state),
                line.approved,
                builders.join(", ")
            );
            if self.unproven.contains(&name_of(line)) {
                say!(
                    "  {:<12} ! only a key that no longer counts put this line there, or changed it: did you approve it?",
                    ""
                );
            }
        }
        let closed: Vec<_> = self
            .lines
            .iter()
            .filter(|line| line.closed.is_some())
            .collect();
        if !closed.is_empty() {
            say!(
                "  and {} closed lines, so that old results stay verifiable",
                closed.len()
            );
        }
        for line in closed {
            if self.unproven.contains(&name_of(line)) {
                say!(
                    "  {:<12} ! {}: only a key that no longer counts closed this line, or put it there: did you?",
                    line.slave,
                    line.report_key
                );
            }
        }
        if !self.unproven.is_empty() {
            say!("If a line is not yours, sign an earlier version anew: --roster-version N.");
        }
    }

    /// Signs and publishes the roster, then the head that names it. `reader` holds the new keyring.
    pub(super) async fn publish(
        mut self,
        holdings: &Holdings,
        reader: &Reader,
        key: &SecretKey,
    ) -> Result<(), Failure> {
        let keyring = reader.keyring().position;
        let bus = &holdings.bus;
        for _ in 0..MAX_TRIES {
            let place = place_for_roster(bus, reader, self.version).await;
            let Some(last) = place.map_err(not_sent)? else {
                self.version = self.version.saturating_add(1);
                continue;
            };
            let sealed = self.seal(reader, key)?;
            let subject = bus.subjects().roster(self.version);
            let expected = Expected::Subject(last);
            let publish = bus.publish_expecting(Stream::Roster, subject, sealed.bytes, expected);
            match publish.await {
                Ok(_) => {
                    say!(
                        "  ok  published       roster, version {}, signed anew",
                        self.version
                    );
                    return publish_head(holdings, reader, key, (keyring, self.version)).await;
                }
                // Somebody was faster: what stands there now is looked at.
                Err(BusError::Overtaken) => {}
                Err(error) => {
                    return Err(not_sent(error));
                }
            }
        }
        Err(not_sent(BusError::Overtaken))
    }

    /// Judged by the rules of every reader before anybody sees it.
    fn seal(&self, reader: &Reader, key: &SecretKey) -> Result<Sealed, Failure> {
        let roster = Roster {
            farm: *reader.farm(),
            version: self.version,
            keyring: reader.keyring().position,
            issued: clock::now(),
            lines: self.lines.clone(),
        };
        let sealed = seal(key, reader.farm(), &roster);
        reader
            .clone()
            .learn_roster(&sealed.bytes)
            .map_err(|error| {
                Failure::new(Exit::Unverified, error)
                    .advice("The keyring is made; roster, head and keyring were not sent. Another version? --roster-version N")
            })?;
        Ok(sealed)
    }
}

async fn publish_head(
    holdings: &Holdings,
    reader: &Reader,
    key: &SecretKey,
    (keyring, roster): (Position, u64),
) -> Result<(), Failure> {
    let bus = &holdings.bus;
    let subject = bus.subjects().head();
    for _ in 0..MAX_TRIES {
        let head = Head {
            farm: *reader.farm(),
            keyring,
            roster,
            time: clock::now(),
        };
        let sealed = seal(key, reader.farm(), &head);
        let newest = bus.read_newest(Stream::Head, &subject).await?;
        let last = newest.map_or(0, |newest| newest.sequence);
        let publish = bus.publish_expecting(
            Stream::Head,
            subject.clone(),
            sealed.bytes,
            Expected::Subject(last),
        );
        match publish.await {
            Ok(_) => {
                say!("  ok  published       head");
                return Ok(());
            }
            // The master that runs announces one now and then.
            Err(BusError::Overtaken) => {}
            Err(error) => {
                return Err(not_sent(error));
            }
        }
    }
    // Whoever floods the bus with heads does not hold up the keyring.
    say!("  --  not published   head: others keep publishing; the master announces one");
    Ok(())
}

fn not_sent(error: BusError) -> Failure {
    Failure::from(error).advice(
        "The new keyring is made and signed, but NOT published: the old keys still count. Try again: pybots keys publish",
    )
}

/// The lines that whoever holds a stolen key can have added or changed: a builder, a login key, a slave that was sent away
/// and is active again.
fn unproven(lines: &[RosterLine], proven: &[RosterLine]) -> BTreeSet<(SlaveName, PublicKey)> {
    let unproven = lines.iter().filter(|line| !proven.contains(line));
    unproven.map(name_of).collect()
}

fn name_of(line: &RosterLine) -> (SlaveName, PublicKey) {
    (line.slave.clone(), line.report_key)
}

/// The keys whose word still counts by a keyring, at least for what they said in their time.
fn counting_keys(keyring: &Keyring) -> impl Iterator<Item = PublicKey> {
    let retired = keyring
        .revoked
        .iter()
        .filter(|revoked| revoked.reason == RevocationReason::Retired)
        .map(|revoked| &revoked.window);
    let windows = keyring.signing_keys.iter().chain(retired);
    windows.map(|window| window.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SlaveState, Text, Timestamp};

    #[test]
    fn a_line_that_only_a_stolen_key_has_changed_is_pointed_out_like_one_that_it_added() {
        let line = |slave: &str, key| RosterLine {
            slave: slave.parse().unwrap(),
            report_key: PublicKey([key; 32]),
            bus_key: PublicKey([key + 100; 32]),
            owner: Text::default(),
            platform: Text::default(),
            builders: Vec::new(),
            state: SlaveState::Active,
            approved: Timestamp(1),
            closed: None,
        };
        let gone = RosterLine {
            state: SlaveState::Revoked,
            ..line("elm", 2)
        };
        let proven = [line("oak", 1), gone, line("ash", 3), line("yew", 4)];
        let login = RosterLine {
            bus_key: PublicKey([9; 32]),
            ..line("ash", 3)
        };
        let closed = RosterLine {
            closed: Some(Timestamp(2)),
            ..line("yew", 4)
        };
        let lines = [
            line("oak", 1),
            line("elm", 2),
            login,
            closed,
            line("fir", 5),
        ];
        let found = unproven(&lines, &proven);
        let names: Vec<&str> = found.iter().map(|(slave, _)| slave.as_str()).collect();
        assert_eq!(names, ["ash", "elm", "fir", "yew"]);
        assert_eq!(unproven(&lines, &lines), BTreeSet::new());
    }
}
