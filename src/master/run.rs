//! The master's loop: replay, take the lead, then facts in and effects out.

mod intake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::approve::learn_rosters;
use super::attendance::{self, Attendance};
use super::audit::Audit;
use super::config::{MasterConfig, Repository};
use super::dispatch::{DispatchError, Dispatcher};
use super::herald::{Herald, Watcher};
use super::keyrings::{learn_keyrings, publish_keyring};
use super::scheduler::{Circumstances, Effect, Fact, Scheduler};
use super::telemetry::Telemetry;
use super::watch::{Git, Mirror};
use crate::bus::{Bus, BusError, Delivery, Next, Sign, Stream};
use crate::model::{
    Clock, Command, Digest, Head, InstanceId, Lead, Position, Pulse, RepositoryName, Roster,
    RosterLine, SlaveName, Timestamp,
};
use crate::trust::{KeyringError, Reader, SecretKey, Standing, seal};

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
    /// There is a newer keyring: what counts of all that was read before has to be asked anew.
    #[error("there is a newer keyring")]
    NewKeyring,
    /// The streams are empty where they were not.
    #[error("the bus has lost what it held; start the master again, and approve the slaves again")]
    StoreLost,
    /// A part of the master ended that never should; going on without it would look like a quiet farm.
    #[error("a follower or watcher of the master ended; that is a fault in pybots itself")]
    TaskEnded,
    /// No signing key here is one in force.
    #[error("no signing key here is in force by keyring {0}, the newest of the farm")]
    NotInForce(Position),
}

/// Finds, of the signing keys at hand, the newest one in force.
pub type FindKey = dyn Fn(&Reader, Timestamp) -> Option<SecretKey>;

/// A master, ready to run.
pub struct Master {
    /// What it leads.
    pub config: MasterConfig,
    /// The farm's keyrings, as their files hold them; the first one first.
    pub keyrings: Vec<Vec<u8>>,
    /// Finds the key that signs what it says.
    pub find_key: Box<FindKey>,
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
    /// What it counts of itself.
    pub telemetry: Arc<Telemetry>,
}

/// What the followers hand to the loop.
enum Input {
    Message(Stream, Delivery),
    CaughtUp,
    Heard(Sign),
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
    audit: Audit,
    attendance: Attendance,
    announcing: Option<AbortHandle>,
    telemetry: Arc<Telemetry>,
    /// Whether the stream of keyrings has brought a newer one since this master leads.
    newer_keyring: bool,
}

/// The streams that decide what is built.
const FOLLOWED: [Stream; 5] = [
    Stream::Keyring,
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
        let lead = async {
            let mut reader = self.read_files()?;
            loop {
                match self.lead(&mut reader).await {
                    // Everything is folded again from the streams, with the keys that count now.
                    Err(RunError::NewKeyring) => {}
                    ended => return ended,
                }
            }
        };
        tokio::select! {
            result = lead => result,
            () = stop => Ok(()),
        }
    }

    fn read_files(&self) -> Result<Reader, RunError> {
        let (first, later) = self
            .keyrings
            .split_first()
            .ok_or(KeyringError::Rule("there is no first keyring"))?;
        let mut reader = Reader::new(self.config.farm, first)?;
        for keyring in later {
            reader.learn_keyring(keyring)?;
        }
        Ok(reader)
    }

    /// Leads until there is a newer keyring, which `known` holds then.
    async fn lead(&self, known: &mut Reader) -> Result<(), RunError> {
        self.bus.ensure_streams().await?;
        self.publish_keyrings().await?;
        learn_keyrings(&self.bus, known).await?;
        let key = (self.find_key)(known, (self.clock)())
            .ok_or(RunError::NotInForce(known.keyring().position))?;
        let mut reader = known.clone();
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
        let mut signs = self.bus.signs();
        tasks.spawn(
            async move { while sender.send(Input::Heard(signs.next().await)).await.is_ok() {} },
        );
        let herald = Herald {
            farm: self.config.farm,
            key,
            bus: self.bus.clone(),
            clock: self.clock,
        };
        let mut leading = Leading {
            config: self.config.clone(),
            herald: Arc::new(herald),
            reader,
            scheduler: Scheduler::default(),
            inputs,
            tasks,
            errands: JoinSet::new(),
            last_command: 0,
            lease: 0,
            audit: Audit::default(),
            attendance: Attendance::new(self.config.silence, (self.clock)()),
            announcing: None,
            telemetry: Arc::clone(&self.telemetry),
            newer_keyring: false,
        };
        let ended = leading
            .run(self.instance, self.digest, self.git.clone())
            .await;
        *known = leading.reader;
        ended
    }

    /// Puts the keyrings on the bus, where every reader looks for them, unless they are there among whatever else is.
    async fn publish_keyrings(&self) -> Result<(), RunError> {
        for keyring in &self.keyrings {
            publish_keyring(&self.bus, keyring).await?;
        }
        Ok(())
    }
}

impl Leading {
    async fn run(
        &mut self,
        instance: InstanceId,
        digest: Digest,
        git: Git,
    ) -> Result<(), RunError> {
        let mut behind = FOLLOWED.len();
        while behind > 0 {
            match self.inputs.recv().await {
                Some(Input::Message(stream, delivery)) => self.take(stream, &delivery),
                Some(Input::CaughtUp) => behind -= 1,
                Some(Input::Heard(sign)) => self.take_sign(&sign),
                None => return Ok(()),
            }
        }
        self.check_keys()?;
        self.learn_numbers().await?;

        let lead = Lead {
            farm: self.herald.farm,
            lease: self.lease.saturating_add(1),
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
        self.audit.lead();
        self.telemetry.leads(lead.lease);
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
        let mut attendance = tokio::time::interval(self.attendance.period());
        attendance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.telemetry
                .turn(self.reader.keys_fault((self.herald.clock)()).as_ref());
            self.check_keys()?;
            self.settle_audit().await;
            let wake = self.act(&mut dispatcher).await?;
            let now = (self.herald.clock)();
            let sleep = wake.map_or(Pulse::PERIOD, |wake| {
                (wake.since(now) + Duration::from_millis(1)).min(Pulse::PERIOD)
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
                _ = attendance.tick() => self.look_who_is_there(),
                // A server that was started anew has forgotten what it kept in memory only.
                () = returns.next() => self.restore_streams().await?,
                Some(_) = self.errands.join_next() => {}
                () = bus.ended() => return Err(BusError::Ended.into()),
                Some(_) = self.tasks.join_next() => return Err(RunError::TaskEnded),
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Looks which of the slaves that are to build something are there.
    fn look_who_is_there(&mut self) {
        // What was said before this moment counts.
        while let Ok(input) = self.inputs.try_recv() {
            self.take_input(input);
        }
        let now = (self.herald.clock)();
        let roster = self.reader.roster();
        let slaves = self.config.builders.values().map(|builder| &builder.slave);
        let slaves: BTreeSet<&SlaveName> = slaves
            .filter(|slave| {
                let line = roster.and_then(|roster| roster.line(slave));
                line.is_some_and(RosterLine::takes_commands)
            })
            .collect();
        let events = self.attendance.look(slaves.iter().copied(), now);
        self.tell(&events, now);
        let slaves = slaves.into_iter();
        self.telemetry.slaves(self.attendance.count(slaves, now));
    }

    fn tell(&self, events: &[attendance::Event], now: Timestamp) {
        for event in events {
            event.tell(&self.scheduler.builds_on(event.slave(), now));
        }
    }

    /// Whether this master may go on signing with its key.
    fn check_keys(&self) -> Result<(), RunError> {
        let now = (self.herald.clock)();
        // If the key's time is up another one may be at hand; if not, that is said.
        if self.newer_keyring || !self.reader.may_sign(&self.herald.key.public(), now) {
            return Err(RunError::NewKeyring);
        }
        Ok(())
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
            silent: &BTreeMap::new(),
        };
        let now = (self.herald.clock)();
        let mut wake = None;
        // No slave would start anything.
        if self.reader.keys_fault(now).is_some() {
            return Ok(None);
        }
        for effect in self.scheduler.decide(&circumstances, now) {
            match effect {
                Effect::Send(build) => {
                    let command = Command::Build((*build).clone());
                    let id = dispatcher
                        .send(&self.reader, &self.herald.key, &command)
                        .await?;
                    tracing::info!(build = %build.id(), command = %id.short(), "build ordered");
                    self.audit.order(id);
                    self.telemetry.ordered(&build, (self.herald.clock)());
                    self.scheduler.apply(Fact::Ordered {
                        id,
                        build,
                        standing: Standing::Good,
                    });
                }
                Effect::Cancel(_) | Effect::Answer(_) | Effect::Announce(_) => {}
                Effect::WakeAt(time) => wake = Some(time),
            }
        }
        Ok(wake)
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
