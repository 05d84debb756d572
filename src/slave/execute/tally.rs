//! What the steps of a build amount to so far.

use crate::model::{Digest, Isolation, Network, Step, Text, Verdict};
use crate::trust::Sha256;

/// What came of a step.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub(super) enum Ran {
    /// Its script has ended.
    Ended {
        verdict: Verdict,
        log: Digest,
        isolation: Isolation,
        network: Network,
    },
    /// It came to no verdict of its own: the machine's fault, not the code's.
    Fault(String),
}

/// What the steps so far amount to.
pub(super) struct Tally {
    pub(super) verdict: Verdict,
    pub(super) detail: Option<Text>,
    logs: Sha256,
    /// Whether only steps that always run are left.
    halted: bool,
    /// The weakest of any step so far.
    isolation: Option<Isolation>,
    /// The most of any step so far.
    pub(super) network: Network,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            verdict: Verdict::Passed,
            detail: None,
            logs: Sha256::default(),
            halted: false,
            isolation: None,
            network: Network::Off,
        }
    }

    /// Whether a step's turn comes after what has been.
    pub(super) fn lets(&self, step: &Step) -> bool {
        !self.halted || step.always_run
    }

    pub(super) fn cancel(&mut self) {
        self.verdict = self.verdict.and(Verdict::Cancelled);
        self.halted = true;
    }

    pub(super) fn fault(&mut self, why: &str) {
        self.verdict = self.verdict.and(Verdict::Errored);
        self.detail.get_or_insert_with(|| Text::tidy(why));
        self.halted = true;
    }

    pub(super) fn count(&mut self, step: &Step, ran: &Ran) {
        let (verdict, log, isolation, network) = match ran {
            Ran::Fault(why) => return self.fault(why),
            Ran::Ended {
                verdict,
                log,
                isolation,
                network,
            } => (*verdict, log, *isolation, *network),
        };
        let weakest = self.isolation.unwrap_or(isolation);
        self.isolation = Some(weakest.min(isolation));
        self.network = self.network.max(network);
        self.logs.update(&log.0);
        let counted = if step.warn_only && verdict == Verdict::Failed {
            Verdict::Warned
        } else {
            verdict
        };
        self.verdict = self.verdict.and(counted);
        // What is not about the code (a cancel, the machine's fault) ends the build whatever the step's flags say.
        self.halted |= match verdict {
            Verdict::Passed | Verdict::Warned | Verdict::Skipped => false,
            Verdict::Failed => step.halt_on_failure,
            Verdict::Refused
            | Verdict::Cancelled
            | Verdict::TimedOut
            | Verdict::Errored
            | Verdict::Lost => true,
        };
    }

    /// The weakest level of any step; of a build without any, `none` is told.
    pub(super) fn isolation(&self, none: Isolation) -> Isolation {
        self.isolation.unwrap_or(none)
    }

    pub(super) fn logs(self) -> Digest {
        self.logs.finish()
    }
}
