//! A build to make bundles of.

use bytes::Bytes;

use crate::model::{Build, Cancel, Command, Digest, LogChunk, PayloadId, ReportBody, Verdict};
use crate::status::sample::{Sample, at, ended, finished, id, started, text};
use crate::trust::{SecretKey, seal, sha256};
use crate::wire::Bundle;

/// A build of maple's that failed, and all that was signed about it.
pub(in crate::status) struct Case {
    pub(in crate::status) sample: Sample,
    pub(in crate::status) order: Build,
    pub(in crate::status) bodies: Vec<ReportBody>,
    /// The slave's count of the first report.
    pub(in crate::status) first: u64,
    /// Step and output.
    pub(in crate::status) printed: Vec<(u16, &'static [u8])>,
}

/// The digest of the logs of two steps that both printed `hello`.
pub(in crate::status) fn digest_of_two() -> Digest {
    let one = sha256(b"hello\n");
    Digest(sha256(&[one, one].concat()))
}

pub(in crate::status) fn finished_with(verdict: Verdict, log: Digest) -> ReportBody {
    let ReportBody::Finished {
        isolation,
        detail,
        network,
        ..
    } = finished(verdict)
    else {
        panic!("another report")
    };
    ReportBody::Finished {
        verdict,
        log,
        isolation,
        detail,
        network,
    }
}

impl Case {
    pub(in crate::status) fn new() -> Self {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 2, 'a');
        let received = order.issued;
        Self {
            bodies: vec![
                ReportBody::Accepted { received },
                started(0, at(201)),
                ended(0, 0),
                started(1, at(202)),
                ended(1, 1),
                finished_with(Verdict::Failed, digest_of_two()),
            ],
            first: 17,
            printed: vec![(0, b"hello\n"), (1, b"hello\n")],
            sample,
            order,
        }
    }

    /// As little as a bundle with a log can hold: one report, which names none of its output.
    pub(in crate::status) fn small() -> Self {
        let mut case = Self::new();
        case.order.steps.truncate(1);
        case.bodies = vec![finished_with(Verdict::Failed, Digest(sha256(b"")))];
        case.first = 1;
        case.printed.truncate(1);
        case
    }

    pub(in crate::status) fn command_id(&self) -> PayloadId {
        id(&self.order)
    }

    pub(in crate::status) fn command(&self, key: &SecretKey, command: &Command) -> Bytes {
        seal(key, &self.sample.farm, command).bytes.into()
    }

    pub(in crate::status) fn reports(&self) -> Vec<Bytes> {
        // The report before the first one is about another build.
        let mut previous = (self.first > 1).then_some(PayloadId([1; 32]));
        let mut reports = Vec::new();
        for (sequence, body) in (self.first..).zip(&self.bodies) {
            let after = sequence - self.first;
            let mut report = self.sample.said(&self.order, sequence, after, body.clone());
            report.previous = previous;
            let sealed = seal(&self.sample.maple, &self.sample.farm, &report);
            previous = Some(sealed.id);
            reports.push(sealed.bytes.into());
        }
        reports
    }

    pub(in crate::status) fn chunk(&self, step: u16, offset: u64, bytes: &'static [u8]) -> Bytes {
        let chunk = LogChunk {
            farm: self.sample.farm,
            slave: self.order.slave.clone(),
            builder: self.order.builder.clone(),
            command: id(&self.order),
            step,
            offset,
            issued: at(203),
            bytes: Bytes::from_static(bytes),
        };
        seal(&self.sample.maple, &self.sample.farm, &chunk)
            .bytes
            .into()
    }

    pub(in crate::status) fn roster(&self, version: u64) -> Bytes {
        let roster = self.sample.roster(version);
        seal(&self.sample.signing, &self.sample.farm, &roster)
            .bytes
            .into()
    }

    pub(in crate::status) fn bundle(&self) -> Bundle {
        let log = self
            .printed
            .iter()
            .map(|(step, bytes)| self.chunk(*step, 0, bytes));
        Bundle {
            keyrings: vec![self.sample.keyring.clone().into()],
            rosters: vec![self.roster(3)],
            command: self.command(&self.sample.signing, &Command::Build(self.order.clone())),
            cancel: None,
            reports: self.reports(),
            log: Some(log.collect()),
        }
    }

    pub(in crate::status) fn cancel(&self, target: PayloadId) -> Bytes {
        let cancel = Cancel {
            farm: self.sample.farm,
            slave: self.order.slave.clone(),
            builder: self.order.builder.clone(),
            target,
            issued: at(204),
            reason: text("not needed any more"),
            requester: None,
            request: None,
        };
        self.command(&self.sample.signing, &Command::Cancel(cancel))
    }
}
