//! Approving a slave: a new version of the roster, and its consumer.

use std::fmt;
use std::str::FromStr;

use crate::bus::{Bus, BusError, Expected, Stream, bus_public_key};
use crate::model::{
    BuilderName, NameError, PublicKey, Roster, RosterLine, SlaveName, SlaveState, Text, Timestamp,
};
use crate::trust::{Purpose, Reader, RosterError, SecretKey, Standing, seal};

/// The logins that are no slave's, by the names in their inboxes: the master's, the viewers' unless a farm file says
/// otherwise, and that of the listener for webhooks.
const LOGINS: [&str; 3] = ["master", "viewer", "hooks"];

/// What `pybots slave init` prints for the operator: one line, all public.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Application {
    /// The slave.
    pub slave: SlaveName,
    /// The key that signs its reports.
    pub report_key: PublicKey,
    /// The key of its login, as an nkey (`U…`).
    pub nkey: String,
    /// The builders that it serves.
    pub builders: Vec<BuilderName>,
    /// The machine, in one word.
    pub platform: Text,
}

/// Text that is no application.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ApplicationError {
    /// Not five words.
    #[error(
        "an application is one line of five words: SLAVE REPORT-KEY BUS-KEY BUILDER,… PLATFORM, as `pybots slave init` prints it"
    )]
    Form,
    /// A name outside its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The report key is none.
    #[error("the second word is no report key: {0}")]
    ReportKey(String),
    /// The bus key is none.
    #[error("the third word is no nkey of a user (U…)")]
    BusKey,
}

impl FromStr for Application {
    type Err = ApplicationError;

    fn from_str(line: &str) -> Result<Self, ApplicationError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [slave, report_key, nkey, builders, platform] = words[..] else {
            return Err(ApplicationError::Form);
        };
        if bus_public_key(nkey).is_none() {
            return Err(ApplicationError::BusKey);
        }
        Ok(Self {
            slave: slave.parse()?,
            report_key: report_key
                .parse()
                .map_err(|error: crate::model::DigestError| {
                    ApplicationError::ReportKey(error.to_string())
                })?,
            nkey: nkey.to_owned(),
            builders: builders
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()?,
            platform: Text::tidy(platform),
        })
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let builders: Vec<&str> = self.builders.iter().map(BuilderName::as_str).collect();
        let platform = self.platform.as_str().replace(' ', "-");
        write!(
            f,
            "{} {} {} {} {platform}",
            self.slave,
            self.report_key,
            self.nkey,
            builders.join(",")
        )
    }
}

/// Why a slave was not approved. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The bus did not do its part.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// What the bus holds as roster, or what would become it, is not acceptable.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The master's or the viewers' login has that name, and an inbox that bears it.
    #[error("the name {0} is that of another login; a slave needs one of its own")]
    NameReserved(SlaveName),
    /// Somebody else has that name.
    #[error("slave {0} is on the roster with other keys")]
    NameTaken(SlaveName),
    /// Somebody else has that builder.
    #[error("builder {builder} belongs to slave {slave}; builders' names are unique in the farm")]
    BuilderTaken {
        /// Which builder.
        builder: BuilderName,
        /// Whose.
        slave: SlaveName,
    },
    /// The signing key here is not one in force.
    #[error("the signing key {0} is not in force by the farm's keyring")]
    NotInForce(PublicKey),
}

/// Takes in every version of the roster that the bus holds.
///
/// # Errors
///
/// [`BusError`] if it cannot be read. What does not verify is told and left out.
pub async fn learn_rosters(bus: &Bus, reader: &mut Reader) -> Result<(), BusError> {
    for delivery in bus.read_all(Stream::Roster, ">", 1).await? {
        if let Err(error) = reader.learn_roster(&delivery.bytes) {
            tracing::warn!(sequence = delivery.sequence, %error, "roster rejected");
        }
    }
    Ok(())
}

/// The next version of `roster` with `application` on it.
///
/// # Errors
///
/// [`ApprovalError::NameReserved`], [`ApprovalError::NameTaken`] or [`ApprovalError::BuilderTaken`].
pub fn approved(
    reader: &Reader,
    application: &Application,
    owner: Text,
    now: Timestamp,
) -> Result<Roster, ApprovalError> {
    if LOGINS.contains(&application.slave.as_str()) {
        return Err(ApprovalError::NameReserved(application.slave.clone()));
    }
    let mut lines = reader
        .roster()
        .map_or_else(Vec::new, |roster| roster.lines.clone());
    for line in lines
        .iter()
        .filter(|line| line.closed.is_none() && line.slave != application.slave)
    {
        if let Some(builder) = application
            .builders
            .iter()
            .find(|builder| line.builders.contains(builder))
        {
            return Err(ApprovalError::BuilderTaken {
                builder: builder.clone(),
                slave: line.slave.clone(),
            });
        }
    }
    let Some(bus_key) = bus_public_key(&application.nkey) else {
        unreachable!("an application holds a sound nkey")
    };
    let open = lines
        .iter_mut()
        .find(|line| line.closed.is_none() && line.slave == application.slave);
    if let Some(line) = open {
        if line.report_key != application.report_key || line.bus_key != bus_key {
            return Err(ApprovalError::NameTaken(application.slave.clone()));
        }
        line.builders.clone_from(&application.builders);
        line.platform = application.platform.clone();
        line.owner = owner;
    } else {
        lines.push(RosterLine {
            slave: application.slave.clone(),
            report_key: application.report_key,
            bus_key,
            owner,
            platform: application.platform.clone(),
            builders: application.builders.clone(),
            state: SlaveState::Active,
            approved: now,
            closed: None,
        });
    }
    let version = reader.roster().map_or(0, |roster| roster.version) + 1;
    Ok(Roster {
        farm: *reader.farm(),
        version,
        keyring: reader.keyring().position,
        issued: now,
        lines,
    })
}

/// Behind which message a roster of that version may be published; none if one stands there that counts. Whatever else
/// stands there, a stolen key's among it, keeps nobody away.
///
/// # Errors
///
/// [`BusError`] if the stream cannot be read.
pub async fn place_for_roster(
    bus: &Bus,
    reader: &Reader,
    version: u64,
) -> Result<Option<u64>, BusError> {
    let subject = bus.subjects().roster(version);
    let Some(held) = bus.read_newest(Stream::Roster, &subject).await? else {
        return Ok(Some(0));
    };
    let counts = reader
        .open::<Roster>(&held.bytes, Purpose::History)
        .is_ok_and(|held| held.standing() == Standing::Good && held.body().version >= version);
    Ok((!counts).then_some(held.sequence))
}

/// Approves a slave: signs and publishes the next version of the roster and makes the slave's consumer. Returns the
/// version.
///
/// # Errors
///
/// [`ApprovalError`]; then the roster is as it was.
pub async fn approve(
    bus: &Bus,
    reader: &mut Reader,
    key: &SecretKey,
    application: &Application,
    owner: Text,
    now: Timestamp,
) -> Result<u64, ApprovalError> {
    if !reader.may_sign(&key.public(), now) {
        return Err(ApprovalError::NotInForce(key.public()));
    }
    bus.ensure_streams().await?;
    learn_rosters(bus, reader).await?;
    let roster = approved(reader, application, owner, now)?;
    bus.ensure_consumer(&application.slave).await?;
    if let Some(held) = reader.roster()
        && held.lines == roster.lines
    {
        return Ok(held.version);
    }
    let sealed = seal(key, reader.farm(), &roster);
    // Every reader will judge it by these rules, so it is judged by them before anybody sees it.
    reader.learn_roster(&sealed.bytes)?;
    let subject = bus.subjects().roster(roster.version);
    // Two operators who approve at once cannot both make it.
    let last = place_for_roster(bus, reader, roster.version)
        .await?
        .ok_or(BusError::Overtaken)?;
    bus.publish_expecting(
        Stream::Roster,
        subject,
        sealed.bytes,
        Expected::Subject(last),
    )
    .await?;
    Ok(roster.version)
}
