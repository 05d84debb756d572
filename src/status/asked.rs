//! What comes of a request: the master's answer, and the build that carries the request's id.

use std::time::Duration;

use crate::bus::{BusError, Delivery, Follower, Next, Stream};
use crate::model::{Answer, Command, PayloadId, RequesterName};
use crate::trust::{Standing, Verified};

use super::build::BuildStatus;
use super::tail::Entry;
use super::view::Viewer;

/// How long to wait before a bus that did not let us listen is asked again.
const RETRY: Duration = Duration::from_millis(250);

/// Follows what the master answers to one requester.
pub struct Answers<'a> {
    viewer: &'a mut Viewer,
    follower: Follower,
    /// Kept here while it is opened, so that a cancelled call loses nothing.
    opening: Option<Delivery>,
}

/// Follows the build that carries the id of a request.
pub struct Awaited<'a> {
    viewer: &'a mut Viewer,
    request: PayloadId,
    commands: Follower,
    reports: Option<Follower>,
    /// Kept here while it is opened, so that a cancelled call loses nothing.
    opening: Option<Delivery>,
    build: Option<BuildStatus>,
}

impl Viewer {
    /// Follows the answers to a requester, from sequence `from` of the stream of requests on.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not let this login subscribe.
    pub async fn answers(
        &mut self,
        requester: &RequesterName,
        from: u64,
    ) -> Result<Answers<'_>, BusError> {
        let subject = self.bus().subjects().answer(requester);
        let follower = self.bus().follow_subject(Stream::Requests, subject, from);
        let follower = follower.await?;
        Ok(Answers {
            viewer: self,
            follower,
            opening: None,
        })
    }

    /// Follows the build that carries the id of `request`, which is ordered at sequence `from` of the stream of commands or
    /// later.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the bus does not let this login subscribe.
    pub async fn await_build(
        &mut self,
        request: PayloadId,
        from: u64,
    ) -> Result<Awaited<'_>, BusError> {
        let subject = self.bus().subjects().commands();
        let commands = self.bus().follow_subject(Stream::Commands, subject, from);
        let commands = commands.await?;
        Ok(Awaited {
            viewer: self,
            request,
            commands,
            reports: None,
            opening: None,
            build: None,
        })
    }
}

impl Answers<'_> {
    /// Waits for the answer to `request`. Whatever the farm's master has not signed is passed over. Cancel-safe.
    pub async fn to(&mut self, request: PayloadId) -> Answer {
        loop {
            if let Some(delivery) = &self.opening {
                let opened = self.viewer.open_as::<Answer>(Stream::Requests, delivery);
                let opened = opened.await;
                self.opening = None;
                match opened {
                    Ok(answer)
                        if answer.body().request == request
                            && answer.standing() == Standing::Good =>
                    {
                        return answer.into_body();
                    }
                    Ok(_) => {}
                    Err(unproven) => {
                        tracing::warn!(code = unproven.code, why = %unproven.why, "answer rejected");
                    }
                }
                continue;
            }
            if let Next::Message(delivery) = self.follower.next().await {
                self.opening = Some(delivery);
            }
        }
    }
}

impl Awaited<'_> {
    /// Waits until more is known of the build. Does not fail: while the bus is away it waits, and then goes on where it was.
    /// Cancel-safe.
    pub async fn next(&mut self) {
        loop {
            if let Some(delivery) = &self.opening {
                let learnt = if let Some(build) = &mut self.build {
                    match self.viewer.open(delivery).await {
                        Entry::Report(reported) => {
                            build.take(&reported);
                            reported.report.body().command == build.command
                        }
                        Entry::Unproven(_) => false,
                    }
                } else {
                    let opened = self.viewer.open_as(Stream::Commands, delivery).await;
                    let command = opened.ok();
                    self.build = command.and_then(|it| asked_by(self.request, delivery, it));
                    self.build.is_some()
                };
                self.opening = None;
                if learnt {
                    return;
                }
                continue;
            }
            let next = match (&self.build, &mut self.reports) {
                (None, _) => self.commands.next().await,
                (Some(_), Some(reports)) => reports.next().await,
                (Some(build), None) => {
                    let order = &build.order;
                    let bus = self.viewer.bus();
                    let subject = bus.subjects().report(&order.slave, &order.builder);
                    match bus.follow_subject(Stream::Results, subject, 1).await {
                        Ok(reports) => self.reports = Some(reports),
                        Err(error) => {
                            tracing::debug!(%error, "reports not followed now");
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                    continue;
                }
            };
            if let Next::Message(delivery) = next {
                self.opening = Some(delivery);
            }
        }
    }

    /// The build, as far as its reports have come; none before it was ordered.
    #[must_use]
    pub fn build(&self) -> Option<&BuildStatus> {
        self.build.as_ref()
    }
}

/// The build that `command` orders, if the farm's master is known to have ordered it for `request`.
fn asked_by(
    request: PayloadId,
    delivery: &Delivery,
    command: Verified<Command>,
) -> Option<BuildStatus> {
    let (id, signer, standing) = (command.id(), command.signer(), command.standing());
    match command.into_body() {
        Command::Build(order) if order.request == Some(request) && standing == Standing::Good => {
            let place = delivery.sequence;
            Some(BuildStatus::new(id, place, signer, standing, order))
        }
        Command::Build(_) | Command::Cancel(_) => None,
    }
}
