//! Well-formed messages that were not signed by whom, for whom, or when they should have been.

use pybots::model::{
    Change, Command, Head, Lead, LogChunk, Presence, Report, ReportBody, Request, Roster,
};
use pybots::trust::seal;
use pybots::wire::{Kind, Payload, encode};

use crate::bad::Bad;
use crate::farm::{self, Key, NOW, days};
use crate::values;

pub(crate) fn all() -> Vec<Bad> {
    [signers(), farms(), names(), windows()]
        .into_iter()
        .flatten()
        .collect()
}

/// Keys that the reader does not know, or knows for something else.
fn signers() -> Vec<Bad> {
    let cancel = encode(&values::command_to_cancel());
    let report = encode(&values::report(accepted()));
    let roster = encode(&next_roster());
    let request = encode(&values::request(values::wishes().remove(0).1));
    [
        (
            "signer-unknown",
            Kind::Command,
            Key::Stranger,
            &cancel,
            "nobody knows the key that signed this command",
        ),
        (
            "signer-of-another-farm",
            Kind::Command,
            Key::OtherSigning,
            &cancel,
            "the signing key of another farm signed this command",
        ),
        (
            "signer-master-of-command",
            Kind::Command,
            Key::FirstMaster,
            &cancel,
            "a master key signs keyrings, never a command",
        ),
        (
            "signer-slave-of-command",
            Kind::Command,
            Key::OakReport,
            &cancel,
            "a slave signs reports, never a command",
        ),
        (
            "signer-slave-of-roster",
            Kind::Roster,
            Key::OakReport,
            &roster,
            "a slave signs reports, never a roster",
        ),
        (
            "signer-master-of-roster",
            Kind::Roster,
            Key::FirstMaster,
            &roster,
            "a master key signs keyrings, never a roster",
        ),
        (
            "signer-signing-key-of-report",
            Kind::Report,
            Key::Signing,
            &report,
            "the signing key never signs a report",
        ),
        (
            "signer-bus-key-of-report",
            Kind::Report,
            Key::OakBus,
            &report,
            "the key of a slave's login never signs a report",
        ),
        (
            "signer-unknown-of-report",
            Kind::Report,
            Key::Stranger,
            &report,
            "the roster gives this key to nobody",
        ),
        (
            "signer-requester-of-command",
            Kind::Command,
            Key::AdaRequester,
            &cancel,
            "who may ask signs requests, never a command",
        ),
        (
            "signer-signing-key-of-request",
            Kind::Request,
            Key::Signing,
            &request,
            "the signing key never asks",
        ),
        (
            "signer-slave-of-request",
            Kind::Request,
            Key::OakReport,
            &request,
            "a slave may not ask",
        ),
        (
            "signer-requester-of-answer",
            Kind::Answer,
            Key::AdaRequester,
            &encode(&values::answer()),
            "nobody answers a request but the master",
        ),
    ]
    .into_iter()
    .map(|(name, kind, key, payload, why)| {
        let refused = if kind == Kind::Roster {
            "Open(UnknownKey("
        } else {
            "UnknownKey("
        };
        Bad::payload(name, kind, key, payload).refused("E-KEY", refused, why)
    })
    .chain([
        // The very bytes of a good head, where a command must stand.
        Bad {
            bytes: seal(&Key::Signing.secret(), &farm::golden().0, &values::head()).bytes,
            ..Bad::payload(
                "signer-of-another-kind",
                Kind::Command,
                Key::Signing,
                &encode(&values::head()),
            )
        }
        .refused(
            "E-KIND",
            "OtherKind {",
            "it is a genuine head, where a command must stand",
        ),
    ])
    .collect()
}

/// Signed for this farm, and saying another's name.
fn farms() -> Vec<Bad> {
    let farm = farm::other_farm();
    let mut build = values::build();
    build.farm = farm;
    let mut cancel = values::cancel();
    cancel.farm = farm;
    let rows = [
        misdirected(
            "farm-of-head",
            Key::Signing,
            &Head {
                farm,
                ..values::head()
            },
        ),
        misdirected(
            "farm-of-lead",
            Key::Signing,
            &Lead {
                farm,
                ..values::lead()
            },
        ),
        misdirected(
            "farm-of-change",
            Key::Signing,
            &Change {
                farm,
                ..values::change()
            },
        ),
        misdirected("farm-of-build", Key::Signing, &Command::Build(build)),
        misdirected("farm-of-cancel", Key::Signing, &Command::Cancel(cancel)),
        misdirected(
            "farm-of-report",
            Key::OakReport,
            &Report {
                farm,
                ..values::report(accepted())
            },
        ),
        misdirected(
            "farm-of-log",
            Key::OakReport,
            &LogChunk {
                farm,
                ..values::log()
            },
        ),
        misdirected(
            "farm-of-presence",
            Key::OakReport,
            &Presence {
                farm,
                ..values::presence()
            },
        ),
        misdirected(
            "farm-of-roster",
            Key::Signing,
            &Roster {
                farm,
                ..next_roster()
            },
        ),
    ];
    rows.into_iter()
        .map(|bad| {
            let refused = if bad.kind == Kind::Roster {
                "Open(OtherFarm("
            } else {
                "OtherFarm("
            };
            bad.refused(
                "E-FARM",
                refused,
                "signed for this farm, it names another in what it says",
            )
        })
        .collect()
}

fn misdirected<T: Payload>(name: &'static str, key: Key, body: &T) -> Bad {
    Bad::payload(name, T::KIND, key, &encode(body))
}

/// What a slave says in another slave's name.
fn names() -> Vec<Bad> {
    let why = "elm signed it, and it speaks in the name of oak";
    [
        misdirected(
            "reporter-of-report",
            Key::ElmReport,
            &values::report(accepted()),
        ),
        misdirected("reporter-of-log", Key::ElmReport, &values::log()),
        misdirected("reporter-of-presence", Key::ElmReport, &values::presence()),
    ]
    .into_iter()
    .map(|bad| bad.refused("E-REPORTER", "NotTheReporter {", why))
    .chain([another_requester()])
    .collect()
}

fn another_requester() -> Bad {
    let request = Request {
        requester: values::name("eve"),
        ..values::request(values::wishes().remove(0).1)
    };
    Bad::payload(
        "requester-of-request",
        Kind::Request,
        Key::AdaRequester,
        &encode(&request),
    )
    .refused(
        "E-REQUESTER",
        "NotTheRequester {",
        "ada signed it, and it asks in the name of eve",
    )
}

/// Keys that were in force at another time than now, or than the message says.
fn windows() -> Vec<Bad> {
    let head = encode(&values::head());
    let now = |name, key| Bad::payload(name, Kind::Head, key, &head);
    let then = NOW.before(days(300));
    let mut build = values::build();
    build.issued = then;
    let mut cancel = values::cancel();
    cancel.issued = then;
    let past = [
        retired(
            "window-of-head",
            &Head {
                time: then,
                ..values::head()
            },
        ),
        retired(
            "window-of-lead",
            &Lead {
                issued: then,
                ..values::lead()
            },
        ),
        retired(
            "window-of-change",
            &Change {
                seen: then,
                ..values::change()
            },
        ),
        retired("window-of-build", &Command::Build(build)),
        retired("window-of-cancel", &Command::Cancel(cancel)),
    ];
    let outside = "a retired key signed it, and it is dated before that key's window";
    [
        now("window-now-retired", Key::Retired).refused(
            "E-REVOKED",
            "Revoked(",
            "a retired key signed it, and someone is about to act on it",
        ),
        now("window-now-compromised", Key::Compromised).refused(
            "E-REVOKED",
            "Revoked(",
            "a key that others may hold signed it, and someone is about to act on it",
        ),
        now("window-now-expired", Key::Expired).refused(
            "E-KEY-WINDOW",
            "OutsideWindow(",
            "the key's window is over, and someone is about to act on it",
        ),
        now("window-now-future", Key::Future).refused(
            "E-KEY-WINDOW",
            "OutsideWindow(",
            "the key's window has not begun, and someone is about to act on it",
        ),
        backdated().refused(
            "E-KEY-WINDOW",
            "OutsideWindow(",
            "the key's window is over; a date inside it, which whoever signs may choose, proves nothing to someone about to act",
        ),
        retired("window-of-roster", &Roster { issued: then, ..next_roster() })
            .in_the_past()
            .refused("E-KEY-WINDOW", "Open(OutsideWindow(", outside),
        Bad::payload(
            "roster-by-a-compromised-key",
            Kind::Roster,
            Key::Compromised,
            &encode(&next_roster()),
        )
        .in_the_past()
        .refused(
            "E-REVOKED",
            "Open(Revoked(",
            "a key that others may hold signed it, and would say who reports",
        ),
    ]
    .into_iter()
    .chain(past.map(|bad| {
        bad.in_the_past()
            .refused("E-KEY-WINDOW", "OutsideWindow(", outside)
    }))
    .collect()
}

fn retired<T: Payload>(name: &'static str, body: &T) -> Bad {
    misdirected(name, Key::Retired, body)
}

fn backdated() -> Bad {
    let head = Head {
        time: NOW.before(days(60)),
        ..values::head()
    };
    misdirected("window-now-backdated", Key::Expired, &head)
}

fn accepted() -> ReportBody {
    ReportBody::Accepted { received: NOW }
}

/// A roster that would be taken in, were it signed by the signing key and for this farm.
pub(crate) fn next_roster() -> Roster {
    Roster {
        version: 8,
        issued: NOW,
        ..farm::roster(farm::golden().0)
    }
}
