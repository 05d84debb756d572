//! What a master says besides its orders: heads, answers and releases; and what it tells whoever reads the log.

use std::sync::Arc;

use super::{Done, Running};
use crate::bus::{Delivery, Stream};
use crate::master::scheduler::Fact;
use crate::model::{Answer, Head, PayloadId, Release};
use crate::trust::{OpenError, seal};

/// So many different rejections are told; whoever floods the bus does not fill the log.
const MAX_TOLD: usize = 1_000;

impl Running<'_> {
    /// Signs and publishes a head. One that could not be sent yet gives way to the newer one.
    pub(super) fn announce_head(&mut self) {
        let head = Head {
            farm: self.herald.farm,
            keyring: self.reader.keyring().position,
            roster: self.reader.roster().map_or(0, |roster| roster.version),
            time: (self.herald.clock)(),
        };
        let sealed = seal(&self.herald.key, &self.herald.farm, &head);
        let herald = Arc::clone(&self.herald);
        let publish = async move {
            let subject = herald.bus.subjects().head();
            herald
                .bus
                .publish_until_stored(subject, &sealed.id.to_hex(), sealed.bytes)
                .await;
            Done::Nothing
        };
        if let Some(earlier) = self.announcing.take() {
            earlier.abort();
        }
        self.announcing = Some(self.errands.spawn(publish));
    }

    /// Publishes an answer, unless that is being done. It counts once it is stored.
    pub(super) fn say_answer(&mut self, answer: Answer) {
        let request = answer.request;
        if !self.saying.insert(request) {
            return;
        }
        let sealed = seal(&self.herald.key, &self.herald.farm, &answer);
        let herald = Arc::clone(&self.herald);
        self.errands.spawn(async move {
            let subject = herald.bus.subjects().answer(&answer.requester);
            let id = sealed.id.to_hex();
            let stored = herald
                .bus
                .publish_until_held(Stream::Requests, subject, &id, sealed.bytes)
                .await;
            let code = answer.denial.as_ref().map(|denial| denial.code.to_string());
            tracing::info!(
                requester = %answer.requester, request = %request.short(), granted = code.is_none(),
                code = code.unwrap_or_default(), "request answered"
            );
            let fact = Fact::Answered {
                sequence: stored.sequence,
                request,
                denial: answer.denial,
            };
            Done::Said(request, Box::new(fact))
        });
    }

    /// Publishes a release that a request speaks of, unless that is being done. It counts once it is stored.
    pub(super) fn say_release(&mut self, release: Release) {
        let sealed = seal(&self.herald.key, &self.herald.farm, &release);
        let id = sealed.id;
        let about = release.request.unwrap_or(id);
        if !self.announced.insert(about) {
            return;
        }
        let herald = Arc::clone(&self.herald);
        self.errands.spawn(async move {
            let subject = herald.bus.subjects().release(&release.project);
            let stored = herald
                .bus
                .publish_until_held(Stream::Changes, subject, &id.to_hex(), sealed.bytes)
                .await;
            tracing::info!(project = %release.project, version = %release.version, "release announced");
            let fact = Fact::Released {
                sequence: stored.sequence,
                id,
                release: Box::new(release),
            };
            Done::Said(about, Box::new(fact))
        });
    }

    pub(super) fn end_saying(&mut self, about: &PayloadId, fact: Fact) {
        if matches!(fact, Fact::Answered { .. }) {
            self.saying.remove(about);
        } else {
            self.announced.remove(about);
        }
        self.scheduler.apply(fact);
    }

    /// Tells of a message that was not believed: each kind of mistake on each subject once.
    pub(super) fn reject(&mut self, stream: Stream, delivery: &Delivery, error: &OpenError) {
        let code = error.code();
        self.master.telemetry.rejected(code);
        let what = format!("{code} {}", delivery.subject);
        // Whoever can read can also make the server store junk, in any stream and by the thousand.
        if self.told.len() >= MAX_TOLD || !self.told.insert(what) {
            return;
        }
        let stream = stream.name();
        tracing::warn!(stream, sequence = delivery.sequence, code, %error, "message rejected");
    }
}
