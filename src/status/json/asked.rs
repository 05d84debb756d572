//! What comes of a request, event by event.

use std::io;

use serde::Serialize;

use crate::model::{Denial, PayloadId, Timestamp, Verdict};
use crate::status::build::BuildStatus;
use crate::status::progress::News;

/// Something that happened to a request, or to the build that it asked for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// The bus holds it.
    Stored,
    /// The master does it.
    Granted,
    /// The master does not do it.
    Denied(&'a Denial),
    /// The master has not answered in time.
    NotAnswered,
    /// The build gets on.
    Build(&'a BuildStatus, &'a News),
    /// It was no longer waited for, though the build is not over.
    NotAwaited,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct AskedDocument<'a> {
    /// `pybots.request.v1`.
    pub schema: &'static str,
    /// `stored`, `granted`, `denied`, `not-answered`, `ordered`, `accepted`, `step-started`, `step-finished`, `over` or
    /// `not-awaited`.
    pub event: &'static str,
    /// When it was heard, by the clock here.
    pub heard: Timestamp,
    /// The request's id.
    pub request: PayloadId,
    /// The stable code, if it was denied.
    pub code: Option<&'a str>,
    /// A sentence, if it was denied.
    pub detail: Option<&'a str>,
    /// The build, once there is one.
    pub build: Option<String>,
    /// The step, from 1.
    pub step: Option<usize>,
    /// How many steps the build has.
    pub steps: Option<usize>,
    /// The step's name.
    pub name: Option<&'a str>,
    /// Of the step, or of the build.
    pub verdict: Option<Verdict>,
    /// How long the step, or the build's scripts, took.
    pub took_ms: Option<u64>,
}

/// Writes an event as one line.
///
/// # Errors
///
/// Whatever `out` returns; a closed pipe is the usual one.
pub fn write_asked(
    request: PayloadId,
    asked: Asked<'_>,
    now: Timestamp,
    out: &mut impl io::Write,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &document(request, asked, now))?;
    writeln!(out)
}

fn document(request: PayloadId, asked: Asked<'_>, now: Timestamp) -> AskedDocument<'_> {
    let plain = |event| AskedDocument {
        schema: "pybots.request.v1",
        event,
        heard: now,
        request,
        code: None,
        detail: None,
        build: None,
        step: None,
        steps: None,
        name: None,
        verdict: None,
        took_ms: None,
    };
    let (build, news) = match asked {
        Asked::Stored => return plain("stored"),
        Asked::Granted => return plain("granted"),
        Asked::NotAnswered => return plain("not-answered"),
        Asked::NotAwaited => return plain("not-awaited"),
        Asked::Denied(denial) => {
            return AskedDocument {
                code: Some(denial.code.as_str()),
                detail: Some(denial.detail.as_str()),
                ..plain("denied")
            };
        }
        Asked::Build(build, news) => (build, news),
    };
    let of_build = |event| AskedDocument {
        build: Some(build.id().to_string()),
        steps: Some(build.steps.len()),
        ..plain(event)
    };
    let of_step = |event, step: usize| AskedDocument {
        step: Some(step + 1),
        name: build.steps.get(step).map(|step| step.name.as_str()),
        ..of_build(event)
    };
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match news {
        News::Ordered => of_build("ordered"),
        News::Accepted => of_build("accepted"),
        News::StepStarted { step } => of_step("step-started", *step),
        News::StepFinished {
            step,
            verdict,
            took,
        } => AskedDocument {
            verdict: Some(*verdict),
            took_ms: Some(millis(*took)),
            ..of_step("step-finished", *step)
        },
        News::Over { verdict, took } => AskedDocument {
            verdict: Some(*verdict),
            took_ms: took.map(millis),
            ..of_build("over")
        },
    }
}
