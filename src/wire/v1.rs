//! Version 1 of every payload, on one page: which field has which number.
//!
//! A `message!` may have field 99 besides, its [`Ext`]. Golden files in `tests/golden` pin each of these lists byte for byte.

use minicbor::Decoder;

use super::codec::{
    Field, Fields, PayloadError, Writer, bytes, choice, name_fields, number, put_fields, record,
    sure, text,
};
use super::ext::Ext;
use super::fields::Named;
use super::message::{Message, either, message};
use crate::model::{
    Answer, Branch, Build, BuilderName, Cancel, Change, ClockOffset, Command, CommandId, Commit,
    Counted, Denial, Digest, Experiment, ExperimentRole, FailedTest, FarmId, FarmName, Head,
    InstanceId, Isolation, KeyId, Keyring, Lead, Lease, Limit, LogChunk, Network, Outcome,
    ParameterName, PayloadId, Position, Presence, ProjectName, PublicKey, Release, ReleaseOrigin,
    Report, ReportBody, RepositoryName, Request, RequesterName, Revision, RevocationReason,
    RevokedKey, Roster, RosterLine, SigningKeyWindow, SlaveName, SlaveState, Source, Step,
    TestResults, Text, Timestamp, Verdict, Version, Wish,
};

text!(
    Branch,
    BuilderName,
    CommandId,
    FarmName,
    ParameterName,
    ProjectName,
    RepositoryName,
    RequesterName,
    Revision,
    SlaveName,
    Text,
    Version
);
bytes!(Digest, FarmId, InstanceId, KeyId, PayloadId, PublicKey);

impl Field for Timestamp {
    /// Microseconds since the Unix epoch.
    fn put(&self, to: &mut Writer) {
        sure(to.u64(self.0));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        Ok(Self(from.u64()?))
    }

    fn named(&self) -> Named {
        Named::Value(self.to_string())
    }
}

impl Field for Position {
    /// `[generation, serial]`.
    fn put(&self, to: &mut Writer) {
        sure(to.array(2));
        sure(to.u32(self.generation));
        sure(to.u32(self.serial));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        if from.array()? != Some(2) {
            return Err(PayloadError::NotDeterministic);
        }
        Ok(Self {
            generation: from.u32()?,
            serial: from.u32()?,
        })
    }

    fn named(&self) -> Named {
        Named::Value(self.to_string())
    }
}

impl Field for ClockOffset {
    /// Microseconds, negative if the clock is behind.
    fn put(&self, to: &mut Writer) {
        sure(to.i64(self.0));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, PayloadError> {
        Ok(Self(from.i64()?))
    }

    fn named(&self) -> Named {
        Named::Value(format!("{} us", self.0))
    }
}

message!(Keyring {
    0 => name,
    1 => position,
    2 => previous,
    3 => issued,
    4 => expires,
    5 => master_keys,
    6 => threshold,
    7 => commitment,
    8 => signing_keys,
    9 => revoked,
});
record!(SigningKeyWindow { 0 => key, 1 => not_before, 2 => not_after });
record!(RevokedKey { 0 => window, 1 => reason, 2 => revoked });
number!(RevocationReason { 0 => Retired, 1 => Compromised });

message!(Roster { 0 => farm, 1 => version, 2 => keyring, 3 => issued, 4 => lines });
record!(RosterLine {
    0 => slave,
    1 => report_key,
    2 => bus_key,
    3 => owner,
    4 => platform,
    5 => builders,
    6 => state,
    7 => approved,
    8 => closed,
});
number!(SlaveState { 0 => Probation, 1 => Active, 2 => Paused, 3 => Revoked });

message!(Head { 0 => farm, 1 => keyring, 2 => roster, 3 => time });
message!(Lead { 0 => farm, 1 => lease, 2 => instance, 3 => config, 4 => issued });

message!(Change {
    0 => farm,
    1 => repository,
    2 => branch,
    3 => revision,
    4 => previous,
    5 => seen,
    6 => commits,
    7 => more,
    8 => rewritten,
    9 => paths,
});
record!(Commit { 0 => revision, 1 => author, 2 => subject, 3 => committed });

either!(Command { 0 => Build, 1 => Cancel });
message!(Build {
    0 => farm,
    1 => slave,
    2 => report_key,
    3 => builder,
    4 => number,
    5 => issued,
    6 => accept_by,
    7 => finish_by,
    8 => keyring,
    9 => project,
    10 => sources,
    11 => covers,
    12 => steps,
    13 => reason,
    14 => requester,
    15 => request,
    16 => retry_of,
    17 => attempt,
    18 => experiment,
});
record!(Source { 0 => repository, 1 => branch, 2 => revision });
record!(Step {
    0 => command,
    1 => parameters,
    2 => timeout,
    3 => halt_on_failure,
    4 => warn_only,
    5 => always_run,
    6 => script,
});
record!(Experiment { 0 => id, 1 => role, 2 => baseline });
number!(ExperimentRole { 0 => Confirm, 1 => Blame, 2 => Bisect });
message!(Cancel {
    0 => farm,
    1 => slave,
    2 => builder,
    3 => target,
    4 => issued,
    5 => reason,
    6 => requester,
    7 => request,
});

message!(Report {
    0 => farm,
    1 => slave,
    2 => instance,
    3 => builder,
    4 => command,
    5 => number,
    6 => sequence,
    7 => previous,
    8 => keyring,
    9 => issued,
    10 => experiment,
    11 => body,
});
choice!(ReportBody {
    0 => Accepted { 0 => received },
    1 => Refused { 0 => code, 1 => detail },
    2 => Deferred { 0 => until },
    3 => StepStarted { 0 => step, 1 => name, 2 => started, 3 => script, 4 => mapped, 5 => isolation, 6 => network },
    4 => StepFinished { 0 => step, 1 => outcome },
    5 => Finished { 0 => verdict, 1 => log, 2 => isolation, 3 => detail, 4 => network },
    6 => Lost { 0 => detail },
});
record!(Outcome {
    0 => verdict,
    1 => exit,
    2 => signal,
    3 => duration,
    4 => cpu,
    5 => peak_memory,
    6 => log,
    7 => log_bytes,
    8 => log_cut,
    9 => tests,
    10 => limit,
    11 => peak_processes,
    12 => counted,
});
record!(TestResults {
    0 => passed,
    1 => failed,
    2 => skipped,
    3 => failing,
    4 => unlisted,
    5 => warnings,
});
record!(FailedTest { 0 => name, 1 => message });
number!(Limit {
    0 => WallTime,
    1 => SilentTime,
    2 => CpuTime,
    3 => Memory,
    4 => Processes,
    5 => Disk,
    6 => Log,
});
number!(Counted { 0 => Cgroup, 1 => Sampled, 2 => Waited });
number!(Network { 0 => Off, 1 => NoTcp, 2 => On });
number!(Isolation { 0 => Plain, 1 => Landlock, 2 => Namespaces });
number!(Verdict {
    0 => Passed,
    1 => Warned,
    2 => Failed,
    3 => Skipped,
    4 => Refused,
    5 => Cancelled,
    6 => TimedOut,
    7 => Errored,
    8 => Lost,
});

message!(LogChunk {
    0 => farm,
    1 => slave,
    2 => builder,
    3 => command,
    4 => step,
    5 => offset,
    6 => issued,
    7 => bytes,
});
message!(Presence {
    0 => farm,
    1 => slave,
    2 => instance,
    3 => issued,
    4 => sequence,
    5 => newest,
    6 => builders,
    7 => keyring,
    8 => load,
    9 => paused_until,
    10 => rejected,
    11 => clock,
});

message!(Release {
    0 => farm,
    1 => project,
    2 => version,
    3 => previous,
    4 => seen,
    5 => origin,
    6 => request,
});
number!(ReleaseOrigin { 0 => Tag, 1 => Index, 2 => Request });
message!(Request { 0 => farm, 1 => requester, 2 => nonce, 3 => issued, 4 => reason, 5 => wish });
choice!(Wish {
    0 => Force { 0 => builder, 1 => sources },
    1 => Cancel { 0 => builder, 1 => number },
    2 => Retry { 0 => builder, 1 => number },
    3 => Pause { 0 => builder, 1 => until },
    4 => Resume { 0 => builder },
    5 => Release { 0 => project, 1 => version },
});
message!(Answer { 0 => farm, 1 => request, 2 => requester, 3 => issued, 4 => denial });
record!(Denial { 0 => code, 1 => detail });
message!(Lease { 0 => farm, 1 => lease, 2 => instance, 3 => issued, 4 => lasts });
