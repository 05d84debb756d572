//! What a running master answers on its socket.

use std::collections::BTreeMap;

use super::Running;
use super::lead::Role;
use crate::master::config::Builder;
use crate::master::control::{
    Asked, BuilderRow, BuilderState, BuildersDocument, LastBuild, Question, QueueDocument,
    QueueRow, StatusDocument,
};
use crate::master::scheduler::{Reason, Waiting};
use crate::model::{BuilderName, Timestamp};

impl Running<'_> {
    pub(super) fn answer(&mut self, asked: Asked) {
        match asked.question {
            Question::Reload {} => {
                let done = self.reload();
                asked.answer(&done);
            }
            Question::Queue {} => asked.answer(&QueueDocument {
                master: self.status(),
                queue: self.queue().iter().map(queue_row).collect(),
            }),
            Question::Builders {} => asked.answer(&self.builders()),
            Question::Status {} => asked.answer(&self.status()),
        }
    }

    fn status(&self) -> StatusDocument {
        let (role, lease) = match &self.role {
            Role::Leads(leadership) => ("leads", leadership.lead.lease),
            Role::StandsBy | Role::Claims(_) if self.caught_up => ("stands-by", self.lease),
            Role::StandsBy | Role::Claims(_) => ("starting", self.lease),
        };
        let positions = self.positions.iter();
        StatusDocument {
            role: role.to_owned(),
            lease,
            instance: self.master.instance.to_string(),
            since: self.since.to_string(),
            keyring: self.reader.keyring().position.to_string(),
            config: self.life.digest.to_string(),
            streams: positions
                .map(|(stream, sequence)| ((*stream).to_owned(), *sequence))
                .collect(),
        }
    }

    fn queue(&self) -> Vec<Waiting> {
        let now = (self.herald.clock)();
        self.with_circumstances(now, |circumstances| {
            self.scheduler.queue(circumstances, now)
        })
    }

    fn builders(&self) -> BuildersDocument {
        let now = (self.herald.clock)();
        let mut waiting: BTreeMap<BuilderName, Waiting> = BTreeMap::new();
        for one in self.queue() {
            // The longest wait comes first.
            waiting.entry(one.builder.clone()).or_insert(one);
        }
        let builders = self.life.config.builders.iter();
        BuildersDocument {
            master: self.status(),
            builders: builders
                .map(|(name, builder)| self.builder_row(name, builder, waiting.get(name), now))
                .collect(),
        }
    }

    fn builder_row(
        &self,
        name: &BuilderName,
        builder: &Builder,
        waiting: Option<&Waiting>,
        now: Timestamp,
    ) -> BuilderRow {
        let in_flight = self.scheduler.builds_on(&builder.slave, now);
        let building = in_flight
            .iter()
            .find(|build| build.builder == *name)
            .map(|build| build.number);
        let state = match (building, waiting.map(|waiting| &waiting.reason)) {
            (_, Some(Reason::Paused { .. })) => BuilderState::Paused,
            (Some(_), _) => BuilderState::Building,
            (None, None) => BuilderState::Idle,
            (None, Some(Reason::SetAside { .. })) => BuilderState::SetAside,
            (None, Some(_)) => BuilderState::Waiting,
        };
        let last = self.ends.get(name);
        let sources = builder.sources.iter();
        let release = builder.release.iter();
        BuilderRow {
            builder: name.to_string(),
            slave: builder.slave.to_string(),
            state,
            why: waiting.map(|waiting| waiting.reason.to_string()),
            until: waiting
                .and_then(|waiting| waiting.reason.until())
                .map(|until| until.to_string()),
            building,
            last: last.map(|(number, verdict)| LastBuild {
                number: *number,
                verdict: verdict.to_string(),
            }),
            follows: sources
                .map(|(repository, branch)| format!("{repository} {branch}"))
                .chain(release.map(|project| format!("releases of {project}")))
                .collect(),
        }
    }
}

fn queue_row(waiting: &Waiting) -> QueueRow {
    QueueRow {
        builder: waiting.builder.to_string(),
        slave: waiting.slave.to_string(),
        since: waiting.since.to_string(),
        what: waiting.what.to_string(),
        request: waiting.request.map(|request| request.to_hex()),
        reason: waiting.reason.word().to_owned(),
        why: waiting.reason.to_string(),
        until: waiting.reason.until().map(|until| until.to_string()),
    }
}
