//! What the scheduler is told, and which verified message tells it.

use crate::model::{
    Answer, Build, BuilderName, Change, Command, Denial, PayloadId, Release, Report, ReportBody,
    Request, SlaveName, Timestamp,
};
use crate::trust::{Standing, Verified};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A branch moved.
    Changed {
        /// The change's place in its stream, which orders the changes of a branch.
        sequence: u64,
        /// The change.
        id: PayloadId,
        /// What it says.
        change: Box<Change>,
    },
    /// A build was ordered.
    Ordered {
        /// The command.
        id: PayloadId,
        /// What it says.
        build: Box<Build>,
        /// Whether the key that signed it was stolen; then it counts once its slave has taken it.
        standing: Standing,
    },
    /// A project released a version.
    Released {
        /// Its place in the stream of changes, which orders the releases of a project.
        sequence: u64,
        /// The release.
        id: PayloadId,
        /// What it says.
        release: Box<Release>,
    },
    /// A build was called off.
    Cancelled {
        /// The command that was called off.
        target: PayloadId,
        /// Of which builder.
        builder: BuilderName,
        /// The request that asked for it, where one did.
        request: Option<PayloadId>,
    },
    /// Somebody asked for something.
    Requested {
        /// The request.
        id: PayloadId,
        /// What it says.
        request: Box<Request>,
    },
    /// A master answered.
    Answered {
        /// Its place in the stream of requests: the first answer stands.
        sequence: u64,
        /// To which request.
        request: PayloadId,
        /// Why not, if it was not granted.
        denial: Option<Denial>,
    },
    /// A slave spoke of a build.
    Reported {
        /// The report.
        report: PayloadId,
        /// Of which command.
        command: PayloadId,
        /// Which slave.
        slave: SlaveName,
        /// In the name of which builder.
        builder: BuilderName,
        /// What it said.
        body: Box<ReportBody>,
        /// When.
        issued: Timestamp,
    },
    /// A slave has seen a build of that number. Only of interest if the bus has lost its store.
    Numbered {
        /// Of which builder.
        builder: BuilderName,
        /// Which number.
        number: u64,
    },
}

impl Fact {
    /// That a branch moved; nothing, if a stolen key says so: a thief's word on what is newest decides nothing.
    #[must_use]
    pub fn changed(sequence: u64, change: Verified<Change>) -> Option<Self> {
        let (id, change) = (change.id(), proven(change)?);
        Some(Self::Changed {
            sequence,
            id,
            change: Box::new(change),
        })
    }

    /// That a project released a version; nothing, if a stolen key says so.
    #[must_use]
    pub fn released(sequence: u64, release: Verified<Release>) -> Option<Self> {
        let (id, release) = (release.id(), proven(release)?);
        Some(Self::Released {
            sequence,
            id,
            release: Box::new(release),
        })
    }

    /// That a build was ordered or called off. A thief's cancel says nothing of what is wanted; if the slave obeyed, its
    /// report tells.
    #[must_use]
    pub fn commanded(command: Verified<Command>) -> Option<Self> {
        let (id, standing) = (command.id(), command.standing());
        match command.into_body() {
            Command::Build(build) => Some(Self::Ordered {
                id,
                build: Box::new(build),
                standing,
            }),
            Command::Cancel(cancel) => (standing == Standing::Good).then_some(Self::Cancelled {
                target: cancel.target,
                builder: cancel.builder,
                request: cancel.request,
            }),
        }
    }

    /// That a slave spoke of a build.
    #[must_use]
    pub fn reported(report: Verified<Report>) -> Self {
        let id = report.id();
        let Report {
            command,
            slave,
            builder,
            body,
            issued,
            ..
        } = report.into_body();
        Self::Reported {
            report: id,
            command,
            slave,
            builder,
            body: Box::new(body),
            issued,
        }
    }

    /// That somebody asked for something.
    #[must_use]
    pub fn requested(request: Verified<Request>) -> Self {
        Self::Requested {
            id: request.id(),
            request: Box::new(request.into_body()),
        }
    }

    /// That a master answered; nothing, if a thief did.
    #[must_use]
    pub fn answered(sequence: u64, answer: Verified<Answer>) -> Option<Self> {
        let Answer {
            request, denial, ..
        } = proven(answer)?;
        Some(Self::Answered {
            sequence,
            request,
            denial,
        })
    }
}

/// What was said, unless the key that said it was stolen.
fn proven<T>(said: Verified<T>) -> Option<T> {
    (said.standing() == Standing::Good).then(|| said.into_body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Cancel, FarmId, Keyring, Position, PublicKey, RevocationReason, RevokedKey,
        SigningKeyWindow, Text,
    };
    use crate::trust::{Purpose, Reader, SecretKey, commitment, countersign, seal, sha256};

    fn window(key: PublicKey) -> SigningKeyWindow {
        SigningKeyWindow {
            key,
            not_before: Timestamp(0),
            not_after: Timestamp(u64::MAX),
        }
    }

    /// A reader who knows that the second key was stolen.
    fn reader(good: &SecretKey, stolen: &SecretKey) -> Reader {
        let master = SecretKey::from_seed(&[1; 32]);
        let keyring = Keyring {
            name: "farm".parse().unwrap(),
            position: Position::default(),
            previous: None,
            issued: Timestamp(0),
            expires: Timestamp(u64::MAX),
            master_keys: vec![master.public()],
            threshold: 1,
            commitment: commitment(1, &[SecretKey::from_seed(&[2; 32]).public()]),
            signing_keys: vec![window(good.public())],
            revoked: vec![RevokedKey {
                window: window(stolen.public()),
                reason: RevocationReason::Compromised,
                revoked: Timestamp(0),
            }],
        };
        let envelopes = countersign(&[&master], &keyring).unwrap();
        let farm = FarmId(sha256(envelopes.payload()));
        Reader::new(farm, &envelopes.to_bytes()).unwrap()
    }

    #[test]
    fn a_thief_calls_nothing_off_that_is_wanted_and_the_master_does() {
        let keys = [3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let reader = reader(&keys[0], &keys[1]);
        let cancel = Command::Cancel(Cancel {
            farm: *reader.farm(),
            slave: "maple".parse().unwrap(),
            builder: "foo-linux".parse().unwrap(),
            target: PayloadId([5; 32]),
            issued: Timestamp(1),
            reason: Text::default(),
            requester: None,
            request: Some(PayloadId([6; 32])),
        });
        let told = keys.map(|key| {
            let sealed = seal(&key, reader.farm(), &cancel);
            let opened = reader.open::<Command>(&sealed.bytes, Purpose::History);
            Fact::commanded(opened.unwrap())
        });
        assert!(matches!(told, [Some(Fact::Cancelled { .. }), None]));
    }
}
