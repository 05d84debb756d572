//! `pybots keys show`: the keys of a farm, checked, and who holds which keyring.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::changes::reason;
use super::desk::{Desk, Where};
use super::holdings::{Holdings, forked, reader_from_bus};
use crate::bus::Patience;
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::{FarmFile, Which};
use crate::cli::keyrings::Keyrings;
use crate::cli::series::Series;
use crate::model::{FarmId, Keyring, KeyringsHeld, Roster, SigningKeyWindow, Timestamp};
use crate::trust::{KeysFault, Reader, key_id, words};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The farm's first keyring; the later ones beside it are taken in. Or a later one: things as they stood with it.
    keyring: Option<PathBuf>,
    /// The farm id that you expect; nothing else is shown as good.
    #[arg(long, value_name = "FARM-ID")]
    farm: Option<FarmId>,
    /// In place of a file: the keyrings that this master.toml names, and who holds what by the bus.
    #[arg(long, value_name = "FILE", conflicts_with = "keyring")]
    config: Option<PathBuf>,
    /// In place of a file: what the bus of this farm.toml holds.
    #[arg(long, value_name = "FARM.TOML", conflicts_with_all = ["keyring", "config"])]
    farm_file: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What is shown.
struct Shown {
    reader: Reader,
    /// By the bus: the roster, and what its slaves hold.
    slaves: Option<(Roster, KeyringsHeld)>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let shown = match (&arguments.keyring, arguments.config) {
        (Some(path), _) => {
            let (series, position) = Series::of_keyring(path);
            let mut keyrings = Keyrings::load(series, arguments.farm.as_ref(), position)?;
            if position.is_some() {
                keyrings.learn(path, position)?;
            }
            Shown {
                reader: keyrings.reader,
                slaves: None,
            }
        }
        (None, Some(config)) => {
            let desk = Desk::open(&Where::of_master(config))?;
            let holdings = Holdings::look(desk.connect().await?, &desk.keyrings.reader).await?;
            of_bus(holdings).await?
        }
        (None, None) => {
            let which = arguments.farm_file.map_or_else(Which::default, Which::of);
            of_bus(look_as_viewer(&which.read()?).await?).await?
        }
    };
    if let Some(expected) = arguments.farm
        && expected != *shown.reader.farm()
    {
        let message = format!("that is farm {}, not {expected}", shown.reader.farm());
        return Err(Failure::message(Exit::Unverified, message).advice("Nothing of it is shown."));
    }
    let mut out = anstream::stdout();
    if arguments.json {
        writeln!(out, "{:#}", shown.in_json())?;
    } else {
        shown.write(clock::now(), &mut out)?;
        if arguments.farm.is_none() && arguments.keyring.is_some() {
            say!("Compare the farm id, or its words, with a second source before you rely on it.");
        }
    }
    match shown.reader.chain().fork() {
        Some(fork) => Err(forked(&fork)),
        None => Ok(Exit::Ok),
    }
}

async fn of_bus(mut holdings: Holdings) -> Result<Shown, Failure> {
    let held = holdings.held().await?;
    Ok(Shown {
        slaves: Some((holdings.slaves(), held)),
        reader: holdings.reader,
    })
}

/// What the bus shows to somebody who knows the farm's id only.
async fn look_as_viewer(file: &FarmFile) -> Result<Holdings, Failure> {
    let bus = file.connect(Patience::Brief).await?;
    let Some(reader) = reader_from_bus(&bus, file.farm).await? else {
        let message = format!("the bus holds no keyring of farm {}", file.farm);
        return Err(Failure::message(Exit::Unverified, message).advice(
            "Either the farm's master has never run (it publishes the keyring), or that id is another farm's.",
        ));
    };
    Holdings::look(bus, &reader).await
}

impl Shown {
    fn write(&self, now: Timestamp, out: &mut dyn Write) -> std::io::Result<()> {
        let farm = self.reader.farm();
        let keyring = self.reader.keyring();
        writeln!(out, "farm        {}", keyring.name)?;
        writeln!(out, "farm id     {farm}")?;
        writeln!(out, "words       {}", words(farm))?;
        writeln!(out, "subjects    pybots.{}.>", farm.token())?;
        writeln!(
            out,
            "keyring     {}, issued {}, expires {}{}",
            keyring.position,
            keyring.issued,
            keyring.expires,
            match self.reader.keys_fault(now) {
                Some(KeysFault::Expired { .. }) => ", EXPIRED",
                Some(KeysFault::Forked(_)) => ", FORKED",
                None => "",
            }
        )?;
        for key in &keyring.master_keys {
            writeln!(out, "master key  {key}")?;
        }
        if keyring.master_keys.len() > 1 {
            let (all, needed) = (keyring.master_keys.len(), keyring.threshold);
            writeln!(
                out,
                "threshold   {needed} of {all} master keys sign together"
            )?;
        }
        writeln!(
            out,
            "commitment  {} to the next master keys",
            keyring.commitment
        )?;
        for window in &keyring.signing_keys {
            writeln!(
                out,
                "signing key {}, {} until {}, {}",
                window.key,
                window.not_before,
                window.not_after,
                standing(window, now)
            )?;
            writeln!(out, "            id {}", key_id(&window.key))?;
        }
        for revoked in &keyring.revoked {
            writeln!(
                out,
                "revoked key {}, {} since {}",
                revoked.window.key,
                reason(revoked.reason),
                revoked.revoked
            )?;
            writeln!(out, "            id {}", key_id(&revoked.window.key))?;
        }
        let Some((roster, held)) = &self.slaves else {
            return Ok(());
        };
        let coverage = held.coverage(roster, keyring.position);
        for slave in &coverage.holding {
            let position = held.of(slave).unwrap_or_default();
            writeln!(out, "slave       {slave} holds {position}")?;
        }
        for (slave, position) in &coverage.waiting {
            match position {
                Some(position) => writeln!(out, "slave       {slave} holds {position} still")?,
                None => writeln!(out, "slave       {slave} has not said what it holds")?,
            }
        }
        writeln!(out, "coverage    {coverage}")
    }

    fn in_json(&self) -> Value {
        let farm = self.reader.farm();
        let Keyring {
            name,
            position,
            previous,
            issued,
            expires,
            master_keys,
            threshold,
            commitment,
            signing_keys,
            revoked,
        } = self.reader.keyring();
        let revoked: Vec<_> = revoked
            .iter()
            .map(|revoked| {
                let mut line = window_in_json(&revoked.window);
                line["reason"] = reason(revoked.reason).into();
                line["revoked"] = json!(revoked.revoked);
                line
            })
            .collect();
        let mut document = json!({
            "schema": "pybots.keyring.v1",
            "name": name,
            "farm": farm,
            "words": words(farm),
            "subjects": format!("pybots.{}.>", farm.token()),
            "position": position.to_string(),
            "previous": previous,
            "issued": issued,
            "expires": expires,
            "master_keys": master_keys,
            "threshold": threshold,
            "commitment": commitment,
            "signing_keys": signing_keys.iter().map(window_in_json).collect::<Vec<_>>(),
            "revoked": revoked,
            "forked": self.reader.chain().fork().map(|fork| fork.position.to_string()),
        });
        if let Some((roster, held)) = &self.slaves {
            let coverage = held.coverage(roster, *position);
            let waiting = coverage.waiting.iter().map(|(slave, _)| slave);
            let slaves: Vec<_> = coverage
                .holding
                .iter()
                .chain(waiting)
                .map(|slave| {
                    let held = held.of(slave).map(|position| position.to_string());
                    json!({ "slave": slave, "keyring": held })
                })
                .collect();
            document["slaves"] = slaves.into();
        }
        document
    }
}

fn window_in_json(window: &SigningKeyWindow) -> Value {
    json!({
        "key": window.key,
        "id": key_id(&window.key),
        "not_before": window.not_before,
        "not_after": window.not_after,
    })
}

fn standing(window: &SigningKeyWindow, now: Timestamp) -> &'static str {
    if window.contains(now) {
        "in force"
    } else {
        "NOT in force now"
    }
}
