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
use crate::model::{
    Head, Keyring, Position, PublicKey, RevocationReason, Roster, RosterLine, SlaveName,
};
use crate::trust::{Purpose, Reader, Sealed, SecretKey, Verified, key_id, seal};

/// How many numbers a thief can have taken before we give up.
const MAX_TRIES: usize = 64;

/// A roster that is to be signed anew.
pub(super) struct Vouch {
    lines: Vec<RosterLine>,
    /// Which version they are taken from.
    taken_from: u64,
    /// Lines that no roster holds that was signed by a key that still counts.
    introduced_by_others: BTreeSet<(SlaveName, PublicKey)>,
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
        let introduced: BTreeSet<_> = rosters
            .iter()
            .filter(|(counts, _, _)| *counts)
            .flat_map(|(_, _, roster)| roster.body().lines.iter().map(name_of))
            .collect();
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
            introduced_by_others: body
                .lines
                .iter()
                .map(name_of)
                .filter(|line| !introduced.contains(line))
                .collect(),
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
            if self.introduced_by_others.contains(&name_of(line)) {
                say!(
                    "  {:<12} ! only a key that no longer counts put this line there: did you approve it?",
                    ""
                );
            }
        }
        let closed = self
            .lines
            .iter()
            .filter(|line| line.closed.is_some())
            .count();
        if closed > 0 {
            say!("  and {closed} closed lines, so that old results stay verifiable");
        }
        if !self.introduced_by_others.is_empty() {
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
            let sealed = self.seal(reader, key)?;
            let subject = bus.subjects().roster(self.version);
            let id = sealed.id.to_hex();
            let publish = bus.publish_expecting(
                Stream::Roster,
                subject,
                &id,
                sealed.bytes,
                Expected::Subject(0),
            );
            match publish.await {
                Ok(_) => {
                    say!(
                        "  ok  published       roster, version {}, signed anew",
                        self.version
                    );
                    return publish_head(holdings, reader, key, (keyring, self.version)).await;
                }
                // Whoever commands the broker can take numbers.
                Err(BusError::Overtaken) => self.version = self.version.saturating_add(1),
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
        let id = sealed.id.to_hex();
        let publish = bus.publish_expecting(
            Stream::Head,
            subject.clone(),
            &id,
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
    Err(not_sent(BusError::Overtaken))
}

fn not_sent(error: BusError) -> Failure {
    Failure::from(error).advice(
        "The new keyring is made and signed, but NOT published: the old keys still count. Try again: pybots keys publish",
    )
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
