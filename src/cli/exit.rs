//! How the program ends.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::bus::BusError;

/// The program's exit codes. Stable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something went wrong that has no code of its own.
    Error = 1,
    /// The command line was not understood.
    Usage = 2,
    /// A build, or a rehearsal of one, did not go well.
    NotWell = 3,
    /// Something signed does not verify.
    Unverified = 4,
    /// The bus refuses this login.
    NotAuthorised = 5,
    /// The bus cannot be reached, or no server to run was found.
    Unreachable = 6,
    /// It took too long.
    TimedOut = 7,
    /// A configuration or key file cannot be acted on.
    Configuration = 8,
    /// `doctor` found failures.
    Unhealthy = 9,
    /// Interrupted (128 + SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// The exit code of another pybots process.
    pub(super) fn of_code(code: i32) -> Self {
        let known = [
            Self::Ok,
            Self::Usage,
            Self::NotWell,
            Self::Unverified,
            Self::NotAuthorised,
            Self::Unreachable,
            Self::TimedOut,
            Self::Configuration,
            Self::Unhealthy,
            Self::Interrupted,
        ];
        known
            .into_iter()
            .find(|exit| *exit as i32 == code)
            .unwrap_or(Self::Error)
    }
}

pub(super) const HELP: &str = "Exit codes: 0 done, 1 error, 2 usage, 3 not well, 4 something does not verify, 5 not authorised, \
6 bus unreachable or no server to run, 7 timed out, 8 configuration, 9 doctor found failures, 130 interrupted.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    /// What was not done, and what to do about it.
    advice: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
            advice: None,
        }
    }

    pub(super) fn error(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Error, error)
    }

    pub(super) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::Configuration, error)
    }

    pub(super) fn message(
        exit: Exit,
        message: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
    ) -> Self {
        Self::new(exit, anyhow::Error::msg(message))
    }

    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same, before the advice that there is.
    pub(super) fn advice_after(self, first: &str) -> Self {
        let advice = match &self.advice {
            Some(advice) => format!("{first} {advice}"),
            None => first.to_owned(),
        };
        self.advice(advice)
    }

    /// How the program is to end.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong, with its causes.
    pub(super) fn sentence(&self) -> String {
        chain(&self.error)
    }

    /// Says what went wrong, once, with its causes. A reader that has gone away is a normal end.
    pub(super) fn report(&self) -> ExitCode {
        let closed_pipe = self
            .error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if closed_pipe {
            return Exit::Ok.into();
        }
        let mut stderr = anstream::stderr();
        let _ = writeln!(stderr, "error: {}", self.sentence());
        if let Some(advice) = &self.advice {
            let _ = writeln!(stderr, "       {advice}");
        }
        self.exit.into()
    }
}

/// An error with its causes, leaving out a cause that the words before it have said already.
fn chain(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::error(error)
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        match &error {
            BusError::Unreachable { .. } => Self::new(Exit::Unreachable, error)
                .advice("Nothing was done. Is the nats-server of the farm running there, and the address right?"),
            BusError::Login { .. } => Self::new(Exit::NotAuthorised, error)
                .advice("Nothing was done. Ask the operator whether this key stands in the server's list of users."),
            BusError::Request { .. } => Self::new(Exit::Unreachable, error),
            BusError::Ended => Self::new(Exit::Unreachable, error).advice("Start it again."),
            BusError::Overtaken => Self::error(error).advice("Somebody else was faster; try again."),
        }
    }
}

/// Talk goes to standard error, so that standard output holds data only.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        // Whoever cannot hear it does not need it.
        let _ = writeln!(anstream::stderr(), $($argument)*);
    }};
}

pub(super) use say;
