//! What masters, slaves and requesters say, made up.

use std::time::Duration;

use pybots::master::Fact;
use pybots::model::{
    Build, Digest, FarmId, InstanceId, Isolation, Keyring, Network, Outcome, PayloadId, Position,
    Report, ReportBody, SigningKeyWindow, Timestamp, Verdict,
};
use pybots::trust::{Reader, SecretKey, commitment, countersign, payload_id, sha256};

pub(super) fn key(kind: u8, number: u64) -> SecretKey {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed)
}

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(what: &str, number: u64) -> T {
    format!("{what}-{number}").parse().expect("a name")
}

pub(super) fn unsigned(kind: u8, number: u64) -> PayloadId {
    // Spread like a digest.
    let mut bytes = [kind; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PayloadId(sha256(&bytes))
}

pub(super) fn report(build: &Build, command: PayloadId, sequence: u64, body: ReportBody) -> Report {
    Report {
        farm: build.farm,
        slave: build.slave.clone(),
        instance: InstanceId([7; 16]),
        builder: build.builder.clone(),
        command,
        number: build.number,
        sequence: build.number * 4 + sequence,
        previous: Some(command),
        keyring: Position::default(),
        issued: build.issued.after(Duration::from_secs(sequence)),
        experiment: None,
        body,
    }
}

pub(super) fn reported(id: PayloadId, report: Report) -> Fact {
    Fact::Reported {
        report: id,
        command: report.command,
        slave: report.slave,
        builder: report.builder,
        body: Box::new(report.body),
        issued: report.issued,
    }
}

/// What a slave says of one build.
pub(super) fn course(build: &Build) -> [ReportBody; 4] {
    let digest = Digest([7; 32]);
    [
        ReportBody::Accepted {
            received: build.issued,
        },
        ReportBody::StepStarted {
            step: 0,
            name: build.steps[0].command.clone(),
            started: build.issued,
            script: digest,
            mapped: Some(digest),
            isolation: Isolation::Plain,
            network: Network::On,
        },
        ReportBody::StepFinished {
            step: 0,
            outcome: Outcome {
                verdict: Verdict::Passed,
                exit: Some(0),
                signal: None,
                duration: Duration::from_secs(9),
                cpu: Some(Duration::from_secs(8)),
                peak_memory: Some(1 << 28),
                log: digest,
                log_bytes: 1 << 16,
                log_cut: 0,
                tests: None,
                limit: None,
                peak_processes: Some(9),
                counted: None,
            },
        },
        ReportBody::Finished {
            verdict: Verdict::Passed,
            log: digest,
            isolation: Isolation::Plain,
            detail: None,
            network: Network::On,
        },
    ]
}

pub(super) fn trusting(signing: &SecretKey) -> (FarmId, Reader) {
    let master = key(1, 0);
    let keyring = Keyring {
        name: "fold".parse().expect("a name"),
        position: Position::default(),
        previous: None,
        issued: Timestamp(0),
        expires: Timestamp(u64::MAX),
        master_keys: vec![master.public()],
        threshold: 1,
        commitment: commitment(1, &[key(9, 0).public()]),
        signing_keys: vec![SigningKeyWindow {
            key: signing.public(),
            not_before: Timestamp(0),
            not_after: Timestamp(u64::MAX),
        }],
        revoked: Vec::new(),
    };
    let envelopes = countersign(&[&master], &keyring).expect("a keyring");
    let farm = FarmId(payload_id(envelopes.payload()).0);
    let reader = Reader::new(farm, &envelopes.to_bytes()).expect("a keyring that verifies");
    (farm, reader)
}
