//! The keyrings that the bus holds, judged.

use std::time::Duration;

use super::finding::Judgement;
use crate::model::{Position, SlaveName, Timestamp};
use crate::status::text::age;
use crate::trust::{Chain, KeysFault};

/// How long before a key or a keyring ends it is to be seen to.
pub(super) const WARNING: Duration = Duration::from_secs(14 * 24 * 3600);
/// How an operator goes on.
pub(super) const RENEW: &str = "the operator makes the next keyring: pybots keys rotate";

/// What is compared with the keyrings of the bus.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside<'a> {
    /// The newest keyring in the files of this machine, if they are to hold one.
    pub(super) files: Option<Position>,
    /// Slaves that are alive and say that they hold an older one.
    pub(super) behind: &'a [(SlaveName, Position)],
}

/// The newest keyring, as far as the bus holds it.
pub(super) fn judge_chain(chain: &Chain, beside: Beside<'_>, now: Timestamp) -> Judgement {
    let keyring = chain.newest();
    let position = keyring.position;
    match chain.fault(now) {
        Some(KeysFault::Forked(fork)) => {
            return Judgement::fail(
                format!(
                    "two keyrings at {}: somebody else holds a master key",
                    fork.position
                ),
                "nothing of this generation is to be believed, and slaves start nothing",
                "the operator publishes a succession: pybots keys rotate --master",
            );
        }
        Some(KeysFault::Expired { position, ago }) => {
            return Judgement::fail(
                format!("the newest keyring, {position}, expired {} ago", age(ago)),
                "slaves start nothing",
                RENEW,
            );
        }
        None => {}
    }
    let (expires, left) = (keyring.expires, keyring.expires.since(now));
    let found = format!("{position}, until {expires}, {} from now", age(left));
    if left < WARNING {
        return Judgement::warn(found, "then slaves start nothing any more", RENEW);
    }
    if let Some(files) = beside.files
        && files < position
    {
        return Judgement::warn(
            format!("the bus holds keyring {position}, the files here {files}"),
            "without the bus this machine knows nothing of keys that were made or revoked since",
            "put the newest keyring here, beside the first",
        );
    }
    if !beside.behind.is_empty() {
        let behind = beside.behind.iter();
        let behind: Vec<String> = behind
            .map(|(slave, held)| format!("{slave} holds {held}"))
            .collect();
        return Judgement::warn(
            format!(
                "the newest keyring is {position}, but {}",
                behind.join(", ")
            ),
            "they do not know of keys that were made or revoked since",
            "if that stays so for minutes, their owners look at the slave's log, and whether it reaches the bus",
        );
    }
    Judgement::ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::State;
    use crate::model::{Digest, FarmId, Keyring, PayloadId};
    use crate::trust::{SecretKey, countersign, payload_id};

    const DAY: u64 = 24 * 3600;

    fn at(days: u64) -> Timestamp {
        Timestamp(days * DAY * 1_000_000)
    }

    fn keyring(serial: u32, previous: Option<PayloadId>, expires: u64) -> Keyring {
        Keyring {
            name: "test".parse().unwrap(),
            position: Position {
                generation: 0,
                serial,
            },
            previous,
            issued: at(0),
            expires: at(expires),
            master_keys: vec![SecretKey::from_seed(&[1; 32]).public()],
            threshold: 1,
            commitment: Digest([0; 32]),
            signing_keys: vec![],
            revoked: vec![],
        }
    }

    /// The first keyring, and after it those with these serials and ends.
    fn chain(later: &[(u32, u64)]) -> Chain {
        let master = SecretKey::from_seed(&[1; 32]);
        let first = countersign(&[&master], &keyring(0, None, 100)).unwrap();
        let id = payload_id(first.payload());
        let mut chain = Chain::new(FarmId(id.0), &first.to_bytes()).unwrap();
        for (serial, expires) in later {
            let keyring = keyring(*serial, Some(id), *expires);
            let signed = countersign(&[&master], &keyring).unwrap();
            chain.learn(&signed.to_bytes()).unwrap();
        }
        chain
    }

    #[test]
    fn keyrings_are_in_order_if_the_newest_lasts_and_everybody_has_it() {
        type Case<'a> = (
            &'a [(u32, u64)],
            Option<Position>,
            &'a [(SlaveName, Position)],
            u64,
            State,
            &'a str,
        );
        let own = |serial| {
            Some(Position {
                generation: 0,
                serial,
            })
        };
        let oak = [("oak".parse().unwrap(), Position::default())];
        let nobody: &[(SlaveName, Position)] = &[];
        let renew = "pybots keys rotate";
        let forked = "two keyrings at 0.1: somebody else holds a master key";
        let cases: &[Case<'_>] = &[
            (&[], None, nobody, 10, State::Ok, "0.0, until"),
            (&[], own(0), nobody, 86, State::Ok, "14 d from now"),
            (&[], own(0), nobody, 87, State::Warn, "13 d from now"),
            (
                &[],
                own(0),
                nobody,
                100,
                State::Fail,
                "0.0, expired 0 s ago",
            ),
            (&[(3, 200)], own(3), nobody, 100, State::Ok, "0.3, until"),
            (
                &[(3, 200)],
                own(0),
                nobody,
                100,
                State::Warn,
                "the files here 0.0",
            ),
            (
                &[(3, 200)],
                None,
                &oak,
                100,
                State::Warn,
                "but oak holds 0.0",
            ),
            (
                &[(1, 200), (1, 300)],
                own(1),
                nobody,
                100,
                State::Fail,
                forked,
            ),
        ];
        for (later, files, behind, now, state, found) in cases {
            let files = *files;
            let judgement = judge_chain(&chain(later), Beside { files, behind }, at(*now));
            assert_eq!(judgement.state(), *state, "{judgement:?}");
            assert!(judgement.found().contains(found), "{judgement:?}");
            if let Judgement::Warn(trouble) | Judgement::Fail(trouble) = &judgement
                && files.is_some()
                && later.is_empty()
            {
                assert!(trouble.fix.contains(renew), "{judgement:?}");
            }
        }
    }
}
