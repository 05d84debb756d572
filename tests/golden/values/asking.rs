//! What is asked of the master, what it answers, and what else it says.

use std::time::Duration;

use pybots::model::{
    Answer, Denial, InstanceId, Lease, PayloadId, Release, ReleaseOrigin, Request, Wish,
};

use super::{name, seconds, source, text};
use crate::farm::{self, NOW};

pub(crate) fn release() -> Release {
    Release {
        farm: farm::golden().0,
        project: name("foo"),
        version: name("2.0rc1"),
        previous: Some(name("1!1.9.post1+deb_12-1")),
        seen: NOW,
        origin: ReleaseOrigin::Request,
        request: Some(PayloadId([0x66; 32])),
    }
}

pub(crate) fn first_release() -> Release {
    Release {
        previous: None,
        origin: ReleaseOrigin::Tag,
        request: None,
        ..release()
    }
}

pub(crate) fn request(wish: Wish) -> Request {
    Request {
        farm: farm::golden().0,
        requester: name("ada"),
        nonce: InstanceId([0x6b; 16]),
        issued: NOW,
        reason: text("retest after the fix"),
        wish,
    }
}

pub(crate) fn wishes() -> Vec<(&'static str, Wish)> {
    let builder = || name("foo-oak");
    vec![
        (
            "request-force",
            Wish::Force {
                builder: builder(),
                sources: vec![source("cpython", "main", 'a')],
            },
        ),
        (
            "request-cancel",
            Wish::Cancel {
                builder: builder(),
                number: 42,
            },
        ),
        (
            "request-retry",
            Wish::Retry {
                builder: builder(),
                number: 41,
            },
        ),
        (
            "request-pause",
            Wish::Pause {
                builder: builder(),
                until: seconds(86_400),
            },
        ),
        ("request-resume", Wish::Resume { builder: builder() }),
        (
            "request-release",
            Wish::Release {
                project: name("foo"),
                version: name("2.0"),
            },
        ),
    ]
}

pub(crate) fn answer() -> Answer {
    Answer {
        farm: farm::golden().0,
        request: PayloadId([0x66; 32]),
        requester: name("ada"),
        issued: NOW,
        denial: Some(Denial {
            code: text("E-NOT-ALLOWED"),
            detail: text("ada may not force builds of foo-oak"),
        }),
    }
}

pub(crate) fn grant() -> Answer {
    Answer {
        denial: None,
        ..answer()
    }
}

pub(crate) fn lease() -> Lease {
    Lease {
        farm: farm::golden().0,
        lease: 3,
        instance: InstanceId([0x61; 16]),
        issued: NOW,
        lasts: Duration::from_secs(3),
    }
}
