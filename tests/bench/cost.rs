//! What believing a command costs, beside what its signature alone costs.
//!
//!     cargo bench --bench cost
//!
//! Each round measures the bare signature check and the whole way (open, then the gate, without the journal) one after the
//! other, so that a busy machine slows both alike; what counts is the ratio within a round.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark reads the clock, prints what it measured, and may end where it cannot go on"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use pybots::model::{
    Build, Command, Digest, FarmId, Head, Keyring, Position, SigningKeyWindow, Source, Step, Text,
    Timestamp,
};
use pybots::slave::{Abilities, Decision, Gate, Host, Mapping, Situation, SlaveConfig};
use pybots::trust::{
    Purpose, Reader, SecretKey, SoundKey, commitment, countersign, key_id, payload_id, seal,
};
use pybots::wire::Envelope;

const ROUNDS: usize = 31;
const PER_ROUND: u32 = 500;
const NOW: Timestamp = Timestamp(1_000_000_000_000);

fn main() {
    let (signing, report_key) = (key(2), key(3));
    let (farm, mut reader) = farm(&signing);
    reader.know_reporter("maple".parse().expect("a name"), &report_key);
    let command = Command::Build(build(farm, &report_key));
    let bytes = seal(&signing, &farm, &command).bytes;

    let envelope = Envelope::parse(&bytes, bytes.len()).expect("an envelope");
    let signed = envelope.signed_bytes(Some(&farm));
    let sound = SoundKey::new(signing.public()).expect("a sound key");
    let signature = || assert!(black_box(&sound).verifies(black_box(&signed), &envelope.signature));

    let gate = Gate::new(
        config(farm),
        key_id(&report_key.public()),
        Abilities::none(),
    );
    let head = Head {
        farm,
        keyring: Position::default(),
        roster: 1,
        time: NOW,
    };
    let script = |_: &Mapping| Ok(Digest([7; 32]));
    let whole = || {
        let opened = reader
            .open::<Command>(black_box(&bytes), Purpose::Admit { now: NOW })
            .expect("a command that is believed");
        let situation = Situation {
            now: NOW,
            head: Some(&head),
            keyring: reader.keyring().position,
            highest: 1,
            keys_fault: reader.keys_fault(NOW),
            restored: None,
            seen: false,
            cancelled: false,
            script: &script,
            held: None,
            misread: false,
            host: Host::default(),
        };
        let decision = gate.decide(opened, &situation);
        assert!(matches!(black_box(decision), Decision::Run(_)));
    };

    let mut rounds: Vec<(Duration, Duration)> = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((time(&signature), time(&whole)));
    }
    println!(
        "command of {} bytes, {ROUNDS} rounds of {PER_ROUND}",
        bytes.len()
    );
    row("verify_strict", rounds.iter().map(|round| micros(round.0)));
    row("open and gate", rounds.iter().map(|round| micros(round.1)));
    let ratio = |round: &(Duration, Duration)| round.1.as_secs_f64() / round.0.as_secs_f64();
    row("ratio", rounds.iter().map(ratio));
}

/// Time of one call, on average over a round.
fn time(work: &dyn Fn()) -> Duration {
    let start = Instant::now();
    for _ in 0..PER_ROUND {
        work();
    }
    start.elapsed() / PER_ROUND
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn row(what: &str, values: impl Iterator<Item = f64>) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (first, last) = (values[0], values[values.len() - 1]);
    let median = values[values.len() / 2];
    println!("{what:14} min {first:8.2}   median {median:8.2}   max {last:8.2}");
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn farm(signing: &SecretKey) -> (FarmId, Reader) {
    let master = key(1);
    let keyring = Keyring {
        name: "cost".parse().expect("a name"),
        position: Position::default(),
        previous: None,
        issued: Timestamp(0),
        expires: Timestamp(u64::MAX),
        master_keys: vec![master.public()],
        threshold: 1,
        commitment: commitment(1, &[key(9).public()]),
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

fn config(farm: FarmId) -> SlaveConfig {
    let text = format!(
        r#"name = "maple"
farm = "{farm}"
bus = "nats://127.0.0.1:4222"
state = "state"
[builders.foo-linux]
[commands.build-python]
script = "build.sh"
[commands.run-tests]
script = "test.sh"
parameters.version = {{ type = "word" }}
"#
    );
    SlaveConfig::parse(&text, Path::new("/")).expect("a configuration")
}

fn build(farm: FarmId, report_key: &SecretKey) -> Build {
    let step = |command: &str, parameters| Step {
        command: command.parse().expect("a command id"),
        parameters,
        timeout: Duration::from_secs(3600),
        halt_on_failure: true,
        warn_only: false,
        always_run: false,
        script: None,
    };
    let version = BTreeMap::from([("version".parse().expect("a name"), Text::tidy("3.0.3"))]);
    Build {
        farm,
        slave: "maple".parse().expect("a name"),
        report_key: report_key.id(),
        builder: "foo-linux".parse().expect("a name"),
        number: 2,
        issued: NOW,
        accept_by: NOW.after(Duration::from_secs(600)),
        finish_by: NOW.after(Duration::from_secs(7200)),
        keyring: Position::default(),
        project: "foo".parse().expect("a name"),
        sources: vec![Source {
            repository: "python".parse().expect("a name"),
            branch: "main".parse().expect("a branch"),
            revision: "a".repeat(40).parse().expect("a revision"),
        }],
        covers: Vec::new(),
        steps: vec![
            step("build-python", BTreeMap::new()),
            step("run-tests", version),
        ],
        reason: Text::tidy("1 change"),
        requester: None,
        request: None,
        retry_of: None,
        attempt: 1,
        experiment: None,
    }
}
