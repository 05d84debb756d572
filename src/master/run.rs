//! The master's loop: replay, take the lead, then facts in and effects out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::approve::learn_rosters;
use super::config::{MasterConfig, Repository};
use super::dispatch::{DispatchError, Dispatcher};
use super::herald::{Herald, Watcher};
use super::scheduler::{Circumstances, Effect, Fact, Scheduler};
use super::watch::{Git, Mirror};
use crate::bus::{Bus, BusError, Delivery, Next, Stream};
use crate::model::{
    Change, Clock, Command, Digest, Head, InstanceId, Lead, PayloadId, Position, Presence,
    PublicKey, Report, RepositoryName, Roster, Timestamp,
};
use crate::trust::{KeyringError, OpenError, Purpose, Reader, SecretKey, seal, sha256};

/// Why a master cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The bus did not do its part at the start.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Another master leads.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The keyring file is not that of the configured farm.
    #[error("the keyring file is not acceptable")]
    Keyring(#[from] KeyringError),
    /// The streams are empty where they were not.
    #[error("the bus has lost what it held; start the master again, and approve the slaves again")]
    StoreLost,
    /// A part of the master ended that never should; going on without it would look like a quiet farm.
    #[error("a follower or watcher of the master ended; that is a fault in pybots itself")]
    TaskEnded,
    /// The signing key here is not one in force.
    #[error("the signing key {0} is not in force by the farm's keyring")]
    NotInForce(PublicKey),
}

/// A master, ready to run.
pub struct Master {
    /// What it leads.
    pub config: MasterConfig,
    /// The farm's first keyring, as its file holds it.
    pub keyring: Vec<u8>,
    /// The key that signs what it says.
    pub key: SecretKey,
    /// Its connection.
    pub bus: Bus,
    /// Which start of its process this is.
    pub instance: InstanceId,
    /// SHA-256 of its configuration.
    pub digest: Digest,
    /// The git program.
    pub git: Git,
    /// The clock.
    pub clock: Clock,
}

/// What the followers hand to the loop.
enum Input {
    Message(Stream, Delivery),
    CaughtUp,
}

struct Leading {
    config: MasterConfig,
    herald: Arc<Herald>,
    reader: Reader,
    scheduler: Scheduler,
    inputs: mpsc::Receiver<Input>,
    /// Followers and watchers: none of them ever ends.
    tasks: JoinSet<()>,
    /// What is done beside the loop, and does end.
    errands: JoinSet<()>,
    /// Newest sequence of COMMANDS, and the highest lease in it.
    last_command: u64,
    lease: u64,
    /// What this master has ordered itself, once it leads.
    ours: Option<BTreeSet<PayloadId>>,
    announcing: Option<AbortHandle>,
}

/// The streams that decide what is built.
const FOLLOWED: [Stream; 4] = [
    Stream::Roster,
    Stream::Changes,
    Stream::Commands,
    Stream::Results,
];

impl Master {
    /// Replays the streams, takes the lead, and leads until `stop` completes.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it may not begin, or leads no longer.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            result = self.lead() => result,
            () = stop => Ok(()),
        }
    }

    async fn lead(self) -> Result<(), RunError> {
        let mut reader = Reader::new(self.config.farm, &self.keyring)?;
        if !reader.may_sign(&self.key.public(), (self.clock)()) {
            return Err(RunError::NotInForce(self.key.public()));
        }
        self.bus.ensure_streams().await?;
        self.publish_keyring().await?;
        learn_rosters(&self.bus, &mut reader).await?;

        let (sender, inputs) = mpsc::channel(256);
        let mut tasks = JoinSet::new();
        for stream in FOLLOWED {
            let mut follower = self.bus.follow(stream, 1).await?;
            let sender = sender.clone();
            tasks.spawn(async move {
                loop {
                    let input = match follower.next().await {
                        Next::Message(delivery) => Input::Message(stream, delivery),
                        Next::CaughtUp => Input::CaughtUp,
                    };
                    if sender.send(input).await.is_err() {
                        return;
                    }
                }
            });
        }
        let herald = Herald {
            farm: self.config.farm,
            key: self.key,
            bus: self.bus,
            clock: self.clock,
        };
        let leading = Leading {
            config: self.config,
            herald: Arc::new(herald),
            reader,
            scheduler: Scheduler::default(),
            inputs,
            tasks,
            errands: JoinSet::new(),
            last_command: 0,
            lease: 0,
            ours: None,
            announcing: None,
        };
        leading.run(self.instance, self.digest, self.git).await
    }

    /// Puts keyring 0.0 on the bus, where every reader looks for it, unless it is there among whatever else is.
    async fn publish_keyring(&self) -> Result<(), RunError> {
        let subject = self.bus.subjects().keyring(Position::default());
        let held = self.bus.read_all(Stream::Keyring, &subject, 1).await?;
        if held.iter().all(|delivery| delivery.bytes != self.keyring) {
            let id = PayloadId(sha256(&self.keyring)).to_hex();
            self.bus
                .publish_until_held(Stream::Keyring, subject, &id, self.keyring.clone())
                .await;
        }
        Ok(())
    }
}

impl Leading {
    async fn run(mut self, instance: InstanceId, digest: Digest, git: Git) -> Result<(), RunError> {
        let mut behind = FOLLOWED.len();
        while behind > 0 {
            match self.inputs.recv().await {
                Some(Input::Message(stream, delivery)) => self.take(stream, &delivery),
                Some(Input::CaughtUp) => behind -= 1,
                None => return Ok(()),
            }
        }
        self.learn_numbers().await?;

        let lead = Lead {
            farm: self.herald.farm,
            lease: self.lease + 1,
            instance,
            config: digest,
            issued: (self.herald.clock)(),
        };
        let herald = Arc::clone(&self.herald);
        let mut dispatcher = Dispatcher::take_lead(
            &herald.bus,
            &self.reader,
            &herald.key,
            &lead,
            self.last_command,
        )
        .await?;
        self.ours = Some(BTreeSet::new());
        tracing::info!(lease = lead.lease, farm = %lead.farm, "master leads");

        self.announce_head();
        self.name_the_unserved();
        let repositories = self.config.repositories.clone();
        for (name, repository) in repositories {
            self.watch(name, &repository, git.clone());
        }
        let bus = self.herald.bus.clone();
        let mut returns = bus.returns();
        let mut head = tokio::time::interval(self.config.head_period);
        head.reset();
        loop {
            let wake = self.act(&mut dispatcher).await?;
            let now = (self.herald.clock)();
            let sleep = wake.map_or(Duration::from_secs(3600), |wake| {
                wake.since(now) + Duration::from_millis(1)
            });
            tokio::select! {
                input = self.inputs.recv() => {
                    let Some(input) = input else { return Ok(()) };
                    self.take_input(input);
                    // All that is there belongs into one decision.
                    while let Ok(input) = self.inputs.try_recv() {
                        self.take_input(input);
                    }
                }
                _ = head.tick() => self.announce_head(),
                // A server that was started anew has forgotten what it kept in memory only.
                () = returns.next() => self.restore_streams().await?,
                Some(_) = self.errands.join_next() => {}
                () = bus.ended() => return Err(BusError::Ended.into()),
                Some(_) = self.tasks.join_next() => return Err(RunError::TaskEnded),
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Sends whatever is to be sent now. Returns when to decide again at the latest.
    async fn act(&mut self, dispatcher: &mut Dispatcher) -> Result<Option<Timestamp>, RunError> {
        let nobody = Roster {
            farm: self.herald.farm,
            version: 0,
            keyring: Position::default(),
            issued: Timestamp(0),
            lines: Vec::new(),
        };
        let circumstances = Circumstances {
            farm: self.herald.farm,
            keyring: self.reader.keyring().position,
            roster: self.reader.roster().unwrap_or(&nobody),
            config: &self.config,
        };
        let now = (self.herald.clock)();
        let mut wake = None;
        for effect in self.scheduler.decide(&circumstances, now) {
            match effect {
                Effect::Send(build) => {
                    let command = Command::Build((*build).clone());
                    let id = dispatcher
                        .send(&self.reader, &self.herald.key, &command)
                        .await?;
                    tracing::info!(build = %build.id(), command = %id.short(), "build ordered");
                    if let Some(ours) = &mut self.ours {
                        ours.insert(id);
                    }
                    self.scheduler.apply(Fact::Ordered { id, build });
                }
                Effect::WakeAt(time) => wake = Some(time),
            }
        }
        Ok(wake)
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Message(stream, delivery) => self.take(stream, &delivery),
            Input::CaughtUp => {}
        }
    }

    fn take(&mut self, stream: Stream, delivery: &Delivery) {
        match stream {
            Stream::Roster => self.take_roster(delivery),
            Stream::Changes => self.take_change(delivery),
            Stream::Commands => self.take_command(delivery),
            Stream::Results => self.take_report(delivery),
            Stream::Keyring | Stream::Head | Stream::Logs | Stream::Presence => {}
        }
    }

    fn take_roster(&mut self, delivery: &Delivery) {
        let before = self.reader.roster().map(|roster| roster.version);
        if let Err(error) = self.reader.learn_roster(&delivery.bytes) {
            tracing::warn!(sequence = delivery.sequence, %error, "roster rejected");
        }
        if self.ours.is_some() && self.reader.roster().map(|roster| roster.version) != before {
            self.announce_head();
            self.name_the_unserved();
        }
    }

    /// Says which builders nobody on the roster serves: nothing is ever built there.
    fn name_the_unserved(&self) {
        for (name, builder) in &self.config.builders {
            let line = self
                .reader
                .roster()
                .and_then(|roster| roster.line(&builder.slave));
            if !line.is_some_and(|line| line.builders.contains(name)) {
                tracing::warn!(builder = %name, slave = %builder.slave, "builder not served: approve its slave for it");
            }
        }
    }

    fn take_change(&mut self, delivery: &Delivery) {
        match self
            .reader
            .open::<Change>(&delivery.bytes, Purpose::History)
        {
            Ok(change) => {
                let id = change.id();
                let change = Box::new(change.into_body());
                self.scheduler.apply(Fact::Changed {
                    sequence: delivery.sequence,
                    id,
                    change,
                });
            }
            Err(error) => rejected(Stream::Changes, delivery, &error),
        }
    }

    fn take_command(&mut self, delivery: &Delivery) {
        self.last_command = self.last_command.max(delivery.sequence);
        if delivery.subject == self.herald.bus.subjects().lead() {
            match self.reader.open::<Lead>(&delivery.bytes, Purpose::History) {
                Ok(lead) => self.lease = self.lease.max(lead.body().lease),
                Err(error) => rejected(Stream::Commands, delivery, &error),
            }
            return;
        }
        match self
            .reader
            .open::<Command>(&delivery.bytes, Purpose::History)
        {
            Ok(command) => {
                let (id, signer) = (command.id(), command.signer());
                if self.ours.as_ref().is_some_and(|ours| !ours.contains(&id)) {
                    // A stolen signing key shows itself here.
                    tracing::error!(command = %id.short(), %signer, "a command that this master did not order is on the bus");
                }
                if let Command::Build(build) = command.into_body() {
                    self.scheduler.apply(Fact::Ordered {
                        id,
                        build: Box::new(build),
                    });
                }
            }
            Err(error) => rejected(Stream::Commands, delivery, &error),
        }
    }

    fn take_report(&mut self, delivery: &Delivery) {
        // A slave reports on what it was sent, and it was sent nothing before the roster named it: every roster that
        // matters has been taken in.
        match self
            .reader
            .open::<Report>(&delivery.bytes, Purpose::History)
        {
            Ok(report) => {
                let Report {
                    command,
                    slave,
                    builder,
                    body,
                    issued,
                    ..
                } = report.into_body();
                self.scheduler.apply(Fact::Reported {
                    command,
                    slave,
                    builder,
                    body,
                    issued,
                });
            }
            Err(error) => rejected(Stream::Results, delivery, &error),
        }
    }

    /// Takes in the build numbers that slaves have seen: greater than any command's only if the bus lost its store.
    async fn learn_numbers(&mut self) -> Result<(), RunError> {
        for delivery in self.herald.bus.read_all(Stream::Presence, ">", 1).await? {
            match self
                .reader
                .open::<Presence>(&delivery.bytes, Purpose::History)
            {
                Ok(presence) => {
                    for (builder, number) in presence.into_body().builders {
                        self.scheduler.apply(Fact::Numbered { builder, number });
                    }
                }
                Err(error) => rejected(Stream::Presence, &delivery, &error),
            }
        }
        Ok(())
    }

    /// Signs and publishes a head. One that could not be sent yet gives way to the newer one.
    fn announce_head(&mut self) {
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
        };
        if let Some(earlier) = self.announcing.take() {
            earlier.abort();
        }
        self.announcing = Some(self.errands.spawn(publish));
    }

    /// Makes the streams that are missing, however long the bus takes to answer, and checks that the server still holds
    /// what it held.
    async fn restore_streams(&mut self) -> Result<(), RunError> {
        let bus = &self.herald.bus;
        let lead = bus.subjects().lead();
        loop {
            let newest = match bus.ensure_streams().await {
                Ok(()) => bus.read_newest(Stream::Commands, &lead).await,
                Err(error) => Err(error),
            };
            match newest {
                Ok(Some(_)) => return Ok(()),
                // The followers would wait for ever for what comes after what is no more.
                Ok(None) => return Err(RunError::StoreLost),
                Err(error) => {
                    tracing::warn!(%error, "streams not restored yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    fn watch(&mut self, name: RepositoryName, repository: &Repository, git: Git) {
        let known = repository
            .branches
            .iter()
            .filter_map(|branch| Some((branch.clone(), self.scheduler.tip(&name, branch)?.clone())))
            .collect();
        let mirror = Mirror::new(
            git,
            name.clone(),
            repository.url.clone(),
            self.config.state.join("mirrors").join(name.as_str()),
            repository.branches.clone(),
            repository.patience,
        );
        let watcher = Watcher {
            herald: Arc::clone(&self.herald),
            name,
            mirror,
            known,
            absent: BTreeSet::new(),
            failing: false,
        };
        self.tasks.spawn(watcher.watch(repository.poll_period));
    }
}

fn rejected(stream: Stream, delivery: &Delivery, error: &OpenError) {
    let (stream, code) = (stream.name(), error.code());
    tracing::warn!(stream, sequence = delivery.sequence, code, %error, "message rejected");
}
