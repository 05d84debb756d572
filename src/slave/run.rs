//! The slave's loop: wait for a command or an end, decide, remember, run.

mod decide;
mod folder;
mod newest;
mod owner;
mod recover;
mod reload;
mod restored;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub use folder::Occupant;
pub(super) use folder::lock;
use newest::{Occasion, Rereads};
pub(super) use recover::abandon;
pub use reload::ConfigFile;
use reload::Reload;

use super::audit::Audit;
use super::config::SlaveConfig;
use super::execute::{Executor, Stop};
use super::gate::{Admitted, Gate};
use super::isolation::Abilities;
use super::journal::{Journal, JournalError};
use super::outbox::Voice;
use super::owner::Hold;
use super::standstill::Standstill;
use super::telemetry::{Glance, Telemetry};
use crate::bus::{Bus, BusError, KeyringCursor};
use crate::model::{
    BuildId, BuilderName, Clock, ClockOffset, Head, InstanceId, KeyId, PayloadId, Presence,
    Timestamp,
};
use crate::trust::{KeyringError, Reader, SecretKey, Verified, seal};
use crate::wire::Subjects;

/// Why a slave cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its folder cannot be used.
    #[error("cannot use the state folder {folder}")]
    State {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another slave works in that folder.
    #[error("another slave is running on the state folder {0}")]
    AlreadyRunning(PathBuf),
    /// Its memory fails; without it nothing may run.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nothing more can come over the bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A part of the slave ended that never should; the next start finds everything on record.
    #[error("a part of the slave ended; that is a fault in pybots itself")]
    TaskEnded,
    /// What the state folder remembers is another farm's.
    #[error("the state folder {folder} belongs to a slave of another farm; nothing was run")]
    OtherFarm {
        /// Which folder.
        folder: PathBuf,
        /// What its keyring says.
        #[source]
        source: KeyringError,
    },
    /// Its owner ended everything at once and has not resumed since.
    #[error(
        "everything here was ended by pybots slave panic at {0}; nothing is started before its owner resumes"
    )]
    Panic(Timestamp),
    /// Its farm was being changed, and that was cut off.
    #[error("a change of farm in the state folder {0} was cut off; nothing was run")]
    HalfRepinned(PathBuf),
}

/// How a slave is to leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leaving {
    /// Its builds are stopped, and said to be lost.
    BuildsEnd,
    /// Their keepers bring them to their end; the next start reports it. For upgrades and restarts.
    BuildsGoOn,
}

/// A slave, ready to run.
pub struct Slave {
    /// What its owner allows.
    pub config: SlaveConfig,
    /// Where that stands, to be read again when it changes.
    pub file: ConfigFile,
    /// The key that signs its reports.
    pub key: SecretKey,
    /// Its connection.
    pub bus: Bus,
    /// Which start of its process this is.
    pub instance: InstanceId,
    /// Our own binary, to be executed again as the keeper.
    pub program: PathBuf,
    /// What this machine can do to keep scripts apart.
    pub abilities: Abilities,
    /// The clock.
    pub clock: Clock,
    /// What it counts of itself.
    pub telemetry: Arc<Telemetry>,
}

/// A build that was accepted and has not ended.
struct UnderWay {
    build: BuildId,
    /// By whose order.
    signer: KeyId,
    /// How to stop it.
    stop: watch::Sender<Option<Stop>>,
}

impl UnderWay {
    fn of(job: &Admitted, stop: watch::Sender<Option<Stop>>) -> Self {
        Self {
            build: job.build().id(),
            signer: job.signer(),
            stop,
        }
    }
}

struct Queued {
    job: Admitted,
    stop: watch::Receiver<Option<Stop>>,
}

struct Running {
    executor: Arc<Executor>,
    voice: Arc<Voice>,
    gate: Gate,
    reader: Reader,
    /// How far the keyrings on the bus have been read, if not to the end.
    keyrings: Option<KeyringCursor>,
    rereads: Rereads,
    head: Option<Verified<Head>>,
    /// The clock here against the master's.
    clock: Option<ClockOffset>,
    reload: Reload,
    /// What the owner says that holds everything back.
    hold: Option<Hold>,
    queue: VecDeque<Queued>,
    builds: JoinSet<(PayloadId, Result<(), JournalError>)>,
    /// The builders at work, and on what.
    busy: BTreeMap<PayloadId, BuilderName>,
    /// What was accepted and has not ended.
    cancels: BTreeMap<PayloadId, UnderWay>,
    rejected: u64,
    /// Held for as long as the slave runs.
    _lock: File,
}

impl Slave {
    /// Runs until `stop` completes: takes commands, decides, runs, reports.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it may not begin or cannot go on.
    pub async fn run(self, stop: impl Future<Output = Leaving>) -> Result<(), RunError> {
        let lock = folder::enter(&self.config.state)?;
        let journal = Arc::new(Mutex::new(Journal::open(
            &self.config.state.join("journal.db"),
        )?));
        let state = self.config.state.clone();
        owner::check_panic(&state)?;
        tokio::pin!(stop);
        let reader = tokio::select! {
            reader = newest::learn_first_keyring(&self.config, &self.bus, &journal) => reader?,
            () = self.bus.ended() => return Err(BusError::Ended.into()),
            _ = &mut stop => return Ok(()),
            () = owner::drained_before_the_start(&state) => return Ok(()),
        };
        let mut slave = self.begin(journal, reader, lock);
        slave.record_start()?;
        slave.look_back().await?;
        let bus = slave.executor.bus.clone();
        tokio::select! {
            noticed = slave.notice_restoration() => noticed?,
            () = bus.ended() => return Err(BusError::Ended.into()),
            _ = &mut stop => return Ok(()),
            () = owner::drained_before_the_start(&state) => return Ok(()),
        }
        slave.recover().await?;
        slave.attend(&mut stop).await
    }

    fn begin(self, journal: Arc<Mutex<Journal>>, mut reader: Reader, lock: File) -> Running {
        // Of itself it need not ask the roster.
        reader.know_reporter(self.config.name.clone(), &self.key);
        let bubblewrap = self.abilities.namespaces.clone().ok();
        let gate = Gate::new(self.config.clone(), self.key.id(), self.abilities);
        let voice = Arc::new(Voice {
            key: self.key,
            farm: self.config.farm,
            slave: self.config.name.clone(),
            instance: self.instance,
            keyring: Mutex::new(reader.keyring().position),
            subjects: Subjects::new(&self.config.farm),
            clock: self.clock,
            journal,
            audit: Audit::of(&self.config.state),
            news: Notify::new(),
            telemetry: self.telemetry,
        });
        let executor = Arc::new(Executor {
            config: self.config,
            voice: Arc::clone(&voice),
            bus: self.bus,
            program: self.program,
            bubblewrap,
        });
        Running {
            executor,
            voice,
            gate,
            reader,
            keyrings: None,
            rereads: Rereads::new(),
            head: None,
            clock: None,
            reload: Reload::new(self.file),
            hold: None,
            queue: VecDeque::new(),
            builds: JoinSet::new(),
            busy: BTreeMap::new(),
            cancels: BTreeMap::new(),
            rejected: 0,
            _lock: lock,
        }
    }
}

impl Running {
    async fn attend(
        &mut self,
        stop: &mut (impl Future<Output = Leaving> + Unpin),
    ) -> Result<(), RunError> {
        let bus = self.executor.bus.clone();
        let config = self.executor.config.clone();
        let mut sending = tokio::spawn(Arc::clone(&self.voice).send_reports(bus.clone()));
        let attending = async {
            let mut announcements = bus.announcements().await;
            self.learn_keyrings().await?;
            let mut commands = bus.commands(&config.name);
            let period = config.presence_period;
            let mut presence = tokio::time::interval(period);
            presence.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut shown = (self.voice.clock)();
            let mut head = tokio::time::interval(config.head_period);
            let mut owner = tokio::time::interval(owner::PERIOD);
            tracing::info!(slave = %config.name, farm = %config.farm, "slave started");
            loop {
                self.voice.telemetry.turn(self.glance());
                tokio::select! {
                    parcel = commands.next() => self.receive(parcel).await?,
                    Some(ended) = self.builds.join_next() => {
                        let (id, result) = ended.map_err(|_| RunError::TaskEnded)?;
                        self.busy.remove(&id);
                        self.cancels.remove(&id);
                        result?;
                        self.start_queued();
                    }
                    due = presence.tick() => {
                        let last = std::mem::replace(&mut shown, (self.voice.clock)());
                        let overdue = due.elapsed();
                        if let Some(standstill) = Standstill::between(last, shown, period, overdue) {
                            standstill.tell(self.builds.len());
                        }
                        self.show_presence().await?;
                    }
                    _ = owner.tick() => {
                        self.listen_to_owner().await?;
                        if self.is_drained() {
                            return Ok(());
                        }
                    }
                    () = announcements.next() => {
                        self.learn_keyrings().await?;
                        self.look_at_head(Occasion::Announced).await?;
                    }
                    _ = head.tick() => {
                        self.learn_keyrings().await?;
                        self.look_at_head(Occasion::Routine).await?;
                    }
                    ended = &mut sending => return Err(match ended {
                        Ok(Err(error)) => error.into(),
                        Ok(Ok(())) | Err(_) => RunError::TaskEnded,
                    }),
                    // What runs comes to its end first; what it said is sent after the next start.
                    () = bus.ended(), if self.builds.is_empty() => return Err(BusError::Ended.into()),
                }
            }
        };
        // The owner is heard whatever is under way: a bus that answers slowly holds up no stop.
        tokio::select! {
            drained = attending => {
                drained?;
                owner::has_drained(&config.state);
                self.wind_down().await
            }
            leaving = stop => match leaving {
                Leaving::BuildsEnd => self.wind_down().await,
                Leaving::BuildsGoOn => {
                    tracing::info!(builds = self.builds.len(), "slave stopping; its builds go on, and the next start finds them");
                    Ok(())
                }
            },
        }
    }

    /// Stops what runs, says so, and gives the bus a moment to take it.
    async fn wind_down(&mut self) -> Result<(), RunError> {
        tracing::info!(builds = self.builds.len(), "slave stopping");
        for under_way in self.cancels.values() {
            under_way.stop.send_replace(Some(Stop::SlaveStops));
        }
        while self.builds.join_next().await.is_some() {}
        let patience = async {
            while !self.voice.all_sent()? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        // Whatever is not sent by then is sent after the next start.
        tokio::time::timeout(Duration::from_secs(2), patience)
            .await
            .unwrap_or(Ok(()))
    }

    /// Starts what has waited longest, as far as there is room. Builds of one builder share a workspace, so they run one
    /// after the other.
    fn start_queued(&mut self) {
        while self.builds.len() < self.executor.config.host.parallel_builds {
            let free = |queued: &Queued| {
                !self
                    .busy
                    .values()
                    .any(|builder| *builder == queued.job.build().builder)
            };
            let Some(next) = self.queue.iter().position(free) else {
                return;
            };
            let Some(Queued { job, stop }) = self.queue.remove(next) else {
                return;
            };
            let executor = Arc::clone(&self.executor);
            let id = job.id();
            self.busy.insert(id, job.build().builder.clone());
            self.builds
                .spawn(async move { (id, executor.execute(job, stop).await) });
        }
    }

    fn glance(&self) -> Glance {
        let now = (self.voice.clock)();
        Glance {
            running: self.builds.len(),
            queued: self.queue.len(),
            keyring: self.reader.keyring().issued,
            head: self.head.as_ref().map(|head| head.body().time),
            max_head_age: self.executor.config.max_head_age,
            keys_fault: self.reader.keys_fault(now).map(|fault| fault.to_string()),
        }
    }

    async fn show_presence(&self) -> Result<(), RunError> {
        let (sequence, newest) = self.voice.journal().newest_report()?;
        let numbers = self.voice.journal().numbers()?;
        let builders = numbers
            .into_iter()
            .filter_map(|(name, number)| Some((name.parse().ok()?, number)))
            .collect();
        let presence = Presence {
            farm: self.voice.farm,
            slave: self.voice.slave.clone(),
            instance: self.voice.instance,
            issued: (self.voice.clock)(),
            sequence,
            newest,
            builders,
            keyring: self.voice.keyring(),
            load: load_average(),
            paused_until: self.paused_until()?,
            rejected: self.rejected,
            clock: self.clock,
        };
        let sealed = seal(&self.voice.key, &self.voice.farm, &presence);
        let bus = &self.executor.bus;
        // While the bus is away the client's queue could fill and block; the next sign of life is soon enough.
        if bus.is_connected() {
            let subject = bus.subjects().presence(&self.voice.slave);
            if let Err(error) = bus.publish_unconfirmed(subject, sealed.bytes).await {
                tracing::debug!(%error, "presence not sent");
            }
        }
        Ok(())
    }
}

/// One-minute load average in hundredths, as Linux gives it; 0 where it does not.
fn load_average() -> u32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next().unwrap_or_default();
    first.replace('.', "").parse().unwrap_or(0)
}
