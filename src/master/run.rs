//! The master's loop: replay, follow, and lead if nobody else does: then facts in and effects out.

mod answer;
mod clock;
mod intake;
mod lead;
mod order;
mod place;
mod presence;
mod reload;
mod say;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior};

use super::approve::learn_rosters;
use super::attendance::Attendance;
use super::audit::Audit;
use super::config::MasterConfig;
use super::control::{self, Asked};
use super::dispatch::Outcome;
use super::herald::Herald;
use super::keyrings::{learn_keyrings, publish_keyring};
use super::lease::Vigil;
use super::scheduler::{Fact, Scheduler};
use super::telemetry::Telemetry;
use super::watch::Git;
use crate::bus::{Bus, BusError, Delivery, Next, Sign, Stream};
use crate::model::{
    BuilderName, Clock, Digest, InstanceId, PayloadId, Position, Pulse, Timestamp, Verdict,
};
use crate::trust::{KeyringError, Reader, SecretKey, UnsoundKey};

use clock::ClockWatch;
use lead::Role;
use order::Orders;
use place::Place;
pub(super) use place::places;
pub use reload::Reread;

/// Why a master cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The bus did not do its part at the start.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The state folder cannot be used.
    #[error("the state folder {} cannot be used", path.display())]
    State {
        /// Which folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The keyring file is not that of the configured farm.
    #[error("the keyring file is not acceptable")]
    Keyring(#[from] KeyringError),
    /// A requester's key is none.
    #[error("the key of a requester cannot be used")]
    Requester(#[from] UnsoundKey),
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
    /// What has gone by since the process began; never set back or forward.
    pub uptime: fn() -> Duration,
    /// Reads the configuration again.
    pub reread: Box<Reread>,
    /// Each time that somebody wants it to be read again.
    pub hangups: mpsc::Receiver<()>,
    /// What it counts of itself.
    pub telemetry: Arc<Telemetry>,
}

/// What the followers hand to the loop.
enum Input {
    Message(Stream, Delivery),
    CaughtUp,
    Heard(Sign),
    Lease(Sign),
}

/// What was done beside the loop.
enum Done {
    Nothing,
    /// A try to take the lead.
    Claimed(Outcome),
    /// Orders, published in the name of this lease.
    Ordered(u64, Outcome),
    /// COMMANDS as far as it goes.
    Settled(Result<Vec<Delivery>, BusError>),
    /// What was said of a request or release is stored now.
    Said(PayloadId, Box<Fact>),
    /// Whether the server still holds who took the lead.
    Restored(bool),
    /// What was asked before the requesters changed.
    Requests(Vec<Delivery>),
    /// The server's time.
    Time(Timestamp),
}

/// What is done beside the loop only once at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Errand {
    /// To read COMMANDS for the audit.
    Settle,
    /// To make the streams that are missing.
    Restore,
}

/// What lasts as long as the process.
struct Life {
    config: Arc<MasterConfig>,
    digest: Digest,
    place: Place,
    hangups: mpsc::Receiver<()>,
    asked: mpsc::Receiver<Asked>,
    /// Serves the socket.
    _control: JoinSet<()>,
}

/// A master that follows the streams, whether it leads or stands by.
struct Running<'a> {
    master: &'a Master,
    life: &'a mut Life,
    herald: Arc<Herald>,
    reader: Reader,
    scheduler: Scheduler,
    inputs: mpsc::Receiver<Input>,
    /// Followers: none of them ever ends.
    tasks: JoinSet<()>,
    /// What is done beside the loop, and does end.
    errands: JoinSet<Done>,
    /// Newest sequence of COMMANDS that was taken in, and the highest lease in it.
    last_command: u64,
    lease: u64,
    role: Role,
    /// Since when the role is what it is.
    since: Timestamp,
    vigil: Vigil,
    told_standing_by: bool,
    clock_watch: ClockWatch,
    orders: Orders,
    audit: Audit,
    attendance: Attendance,
    announcing: Option<AbortHandle>,
    /// Whether everything that the streams held at the start was taken in.
    caught_up: bool,
    /// What is being done beside the loop, and only once at a time.
    under_way: BTreeSet<Errand>,
    /// Whether the stream of keyrings has brought a newer one since this master follows.
    newer_keyring: bool,
    /// How far each stream was taken in.
    positions: BTreeMap<&'static str, u64>,
    /// Requests that are being answered.
    saying: BTreeSet<PayloadId>,
    /// Requests whose releases are being announced.
    announced: BTreeSet<PayloadId>,
    /// Rejections that were told and are not told again.
    told: BTreeSet<String>,
    /// The newest build of each builder that is over.
    ends: BTreeMap<BuilderName, (u64, Verdict)>,
}

/// What happens regularly, by one configuration.
struct Ticks {
    config: Arc<MasterConfig>,
    head: Interval,
    attendance: Interval,
    vigil: Interval,
}

impl Ticks {
    fn new(config: &Arc<MasterConfig>, attendance: &Attendance) -> Self {
        let every = |period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        Self {
            head: every(config.head_period),
            attendance: every(attendance.period()),
            vigil: every(Vigil::period(config.lease)),
            config: Arc::clone(config),
        }
    }
}

/// The streams that decide what is built.
const FOLLOWED: [Stream; 6] = [
    Stream::Keyring,
    Stream::Roster,
    Stream::Changes,
    Stream::Commands,
    Stream::Results,
    Stream::Requests,
];

impl Master {
    /// Replays the streams and follows them, leads while nobody else does, and ends when `stop` completes.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it may not begin, or cannot go on.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut stop = std::pin::pin!(stop);
        let state = &self.config.state;
        let place = Place::take(state).map_err(|source| RunError::State {
            path: state.clone(),
            source,
        })?;
        let (sender, asked) = mpsc::channel(8);
        let mut control = JoinSet::new();
        match control::listen(place.folder()) {
            Ok(listener) => {
                control.spawn(control::serve(listener, sender));
            }
            // It leads all the same.
            Err(error) => tracing::warn!(
                code = "E-CONTROL", %error, folder = %place.folder().display(),
                "nobody can ask this master anything: its socket cannot be made"
            ),
        }
        let mut life = Life {
            config: Arc::new(self.config.clone()),
            digest: self.digest,
            place,
            hangups: std::mem::replace(&mut self.hangups, mpsc::channel(1).1),
            asked,
            _control: control,
        };
        let mut reader = self.read_files()?;
        loop {
            match self.follow(&mut life, &mut reader, stop.as_mut()).await {
                // Everything is folded again from the streams, with the keys that count now.
                Err(RunError::NewKeyring) => {}
                ended => return ended,
            }
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

    /// Follows, and leads, until there is a newer keyring, which `known` holds then.
    async fn follow(
        &self,
        life: &mut Life,
        known: &mut Reader,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), RunError> {
        self.bus.ensure_streams().await?;
        self.publish_keyrings().await?;
        learn_keyrings(&self.bus, known).await?;
        let now = (self.clock)();
        let key =
            (self.find_key)(known, now).ok_or(RunError::NotInForce(known.keyring().position))?;
        let mut reader = known.clone();
        learn_rosters(&self.bus, &mut reader).await?;
        let requesters = life.config.requesters.iter();
        reader.let_ask(requesters.map(|(name, requester)| (name, requester.key)))?;

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
        let (mut leases, leases_to) = (self.bus.leases(), sender.clone());
        tasks.spawn(async move {
            while leases_to
                .send(Input::Lease(leases.next().await))
                .await
                .is_ok()
            {}
        });
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
        let uptime = (self.uptime)();
        let mut running = Running {
            master: self,
            attendance: Attendance::new(life.config.silence, now),
            life,
            herald: Arc::new(herald),
            reader,
            scheduler: Scheduler::default(),
            inputs,
            tasks,
            errands: JoinSet::new(),
            last_command: 0,
            lease: 0,
            role: Role::StandsBy,
            since: now,
            vigil: Vigil::new(self.instance, uptime),
            told_standing_by: false,
            clock_watch: ClockWatch::new(now, uptime),
            orders: Orders::default(),
            audit: Audit::default(),
            announcing: None,
            caught_up: false,
            under_way: BTreeSet::new(),
            newer_keyring: false,
            positions: BTreeMap::new(),
            saying: BTreeSet::new(),
            announced: BTreeSet::new(),
            told: BTreeSet::new(),
            ends: BTreeMap::new(),
        };
        let ended = running.run(stop).await;
        *known = running.reader;
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

impl Running<'_> {
    async fn run(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), RunError> {
        let mut behind = FOLLOWED.len();
        while behind > 0 {
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(Input::CaughtUp) => behind -= 1,
                    Some(input) => self.take_input(input),
                    None => return Err(RunError::TaskEnded),
                },
                Some(asked) = self.life.asked.recv() => self.answer(asked),
                Some(()) = self.life.hangups.recv() => drop(self.reload()),
                () = stop.as_mut() => return Ok(()),
            }
        }
        self.check_keys()?;
        self.scheduler.forget_strangers(self.reader.roster());
        self.learn_numbers().await?;
        self.caught_up = true;
        self.ask_the_time();
        let bus = self.herald.bus.clone();
        let mut returns = bus.returns();
        let mut hints = bus.hints();
        let mut ticks = Ticks::new(&self.life.config, &self.attendance);
        loop {
            if !Arc::ptr_eq(&ticks.config, &self.life.config) {
                ticks = Ticks::new(&self.life.config, &self.attendance);
            }
            self.check_keys()?;
            self.settle_audit();
            let telemetry = &self.master.telemetry;
            telemetry.turn(self.reader.keys_fault((self.herald.clock)()).as_ref());
            let wake = self.act();
            let sleep = wake.map_or(Pulse::PERIOD, |wake| {
                let sleep = wake.since((self.herald.clock)()) + Duration::from_millis(1);
                sleep.min(Pulse::PERIOD)
            });
            tokio::select! {
                input = self.inputs.recv() => {
                    let Some(input) = input else { return Err(RunError::TaskEnded) };
                    self.take_input(input);
                    self.take_what_is_there();
                }
                Some(done) = self.errands.join_next() => {
                    // Thousands may be done at once; they belong into one decision, too.
                    let mut next = Some(done);
                    while let Some(done) = next {
                        if let Ok(done) = done {
                            self.finish(done)?;
                        }
                        next = self.errands.try_join_next();
                    }
                }
                hinted = hints.next() => self.role.hint(&hinted),
                () = self.role.watchers_ended() => return Err(RunError::TaskEnded),
                _ = ticks.vigil.tick() => self.keep_vigil(),
                _ = ticks.head.tick() => if self.role.leads() { self.announce_head() },
                _ = ticks.attendance.tick() => self.look_who_is_there(),
                Some(asked) = self.life.asked.recv() => self.answer(asked),
                Some(()) = self.life.hangups.recv() => drop(self.reload()),
                // A server that was started anew has forgotten what it kept in memory only.
                () = returns.next() => self.restore_streams(),
                () = bus.ended() => return Err(BusError::Ended.into()),
                Some(_) = self.tasks.join_next() => return Err(RunError::TaskEnded),
                () = tokio::time::sleep(sleep) => {}
                () = stop.as_mut() => {
                    self.resign().await;
                    return Ok(());
                }
            }
        }
    }

    /// All that is there belongs into one decision.
    fn take_what_is_there(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.take_input(input);
        }
    }

    fn finish(&mut self, done: Done) -> Result<(), RunError> {
        match done {
            Done::Nothing => {}
            Done::Claimed(outcome) => self.end_claim(outcome),
            Done::Ordered(lease, outcome) => self.end_orders(lease, outcome),
            Done::Settled(held) => self.end_settling(held),
            Done::Said(about, fact) => self.end_saying(&about, *fact),
            Done::Restored(held) => {
                self.under_way.remove(&Errand::Restore);
                // The followers would wait for ever for what comes after what is no more.
                if !held && self.last_command > 0 {
                    return Err(RunError::StoreLost);
                }
            }
            Done::Requests(held) => self.end_reading_requests(&held),
            Done::Time(time) => self.judge_clock(time),
        }
        Ok(())
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
}
