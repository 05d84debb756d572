//! A new keyring on its way: its files made, the draft signed, the result sent to the bus.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::changes;
use super::consent::Answers;
use super::desk::Desk;
use super::holdings::Holdings;
use super::init::store;
use super::signing::{self, MasterKey, Signed};
use super::vouch::Vouch;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::passphrase::PassphraseSource;
use crate::cli::{clock, files};
use crate::model::{Keyring, Position};
use crate::trust::{DraftError, Passphrase, SecretKey};
use crate::wire::encode;

/// What becomes of a keyring that is signed.
#[derive(Debug, clap::Args)]
pub(super) struct Publishing {
    /// Leave the bus as it is; `pybots keys publish` does the rest later.
    #[arg(long)]
    pub(super) no_publish: bool,
    #[command(flatten)]
    pub(super) patience: Patience,
}

impl Publishing {
    /// How much a ceremony needs the bus.
    pub(super) fn reach(&self, signers: &Signers, answers: &Answers) -> Reach {
        if self.no_publish || signers.draft || answers.dry_run {
            Reach::Wanted
        } else {
            Reach::Needed
        }
    }
}

/// Who signs.
#[derive(Debug, clap::Args)]
pub(super) struct Signers {
    /// A master key, from its stick; several where several must sign.
    #[arg(long = "master-key", value_name = "FILE", conflicts_with = "draft")]
    master_keys: Vec<PathBuf>,
    /// Make the draft, and the new signing key, only: for a master key that stays on a machine without network.
    #[arg(long)]
    pub(super) draft: bool,
    /// The serial of the new keyring, to pass over one that was signed and lost.
    #[arg(long, value_name = "SERIAL")]
    pub(super) serial: Option<u32>,
    #[command(flatten)]
    pub(super) passphrases: PassphraseSource,
}

impl Signers {
    /// Reads the keys that were given.
    pub(super) fn load(&self) -> Result<Vec<MasterKey>, Failure> {
        MasterKey::load(&self.master_keys, &self.passphrases)
    }

    /// Says no if nobody signs, and nobody said that this comes later.
    pub(super) fn check_given(&self, keys: &[MasterKey]) -> Result<(), Failure> {
        if self.draft || !keys.is_empty() {
            return Ok(());
        }
        Err(Failure::message(Exit::Usage, "who signs? Give --master-key FILE").advice(
            "Nothing was made. With --draft the master key can sign later, on a machine without network.",
        ))
    }
}

/// Whether to wait for the slaves.
#[derive(Debug, clap::Args)]
pub(super) struct Patience {
    /// Wait until each slave holds the new keyring.
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after so many minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, requires = "wait")]
    deadline: u64,
}

/// How much the bus is needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Nothing goes on without it.
    Needed,
    /// It knows more than the files, if it answers.
    Wanted,
}

/// Looks at what the bus holds, if there is one.
pub(super) async fn look(desk: &Desk, reach: Reach) -> Result<Option<Holdings>, Failure> {
    if !desk.knows_a_bus() {
        return Ok(None);
    }
    match desk.connect().await {
        Ok(bus) => Holdings::look(bus, &desk.keyrings.reader).await.map(Some),
        Err(failure) => match reach {
            Reach::Needed => Err(failure.advice(
                "Nothing was made or signed. Without the bus: --no-publish now, and pybots keys publish later.",
            )),
            Reach::Wanted => {
                say!(
                    "  --  {}; so it was not asked which keyrings it holds, nor for whom this is",
                    failure.sentence()
                );
                Ok(None)
            }
        },
    }
}

/// Why there is no draft, in the user's words.
pub(super) fn no_draft(error: DraftError) -> Failure {
    let (exit, advice) = match &error {
        DraftError::Forked(_) => (Exit::Unverified, super::holdings::AFTER_A_FORK),
        DraftError::ClockBehind { .. } => (
            Exit::Error,
            "Nothing was made. Set the clock of this machine first: windows that are wrong lock slaves out.",
        ),
        DraftError::NotNewer { .. } => (Exit::Usage, "Nothing was made."),
        DraftError::Refused(_) => (
            Exit::Unverified,
            "Nothing was made: every slave would refuse that keyring.",
        ),
        DraftError::NoNext(_)
        | DraftError::UnknownKey { .. }
        | DraftError::AlreadyRevoked(_)
        | DraftError::NoneInForce
        | DraftError::TooLong { .. } => (Exit::Error, "Nothing was made."),
    };
    Failure::new(exit, error).advice(advice)
}

/// A private key that is new.
pub(super) struct NewKey {
    what: &'static str,
    path: PathBuf,
    key: SecretKey,
    passphrase: Option<Passphrase>,
}

impl NewKey {
    /// One that the master signs with.
    pub(super) fn signing(path: PathBuf, key: SecretKey) -> Self {
        Self {
            what: "signing key",
            path,
            key,
            passphrase: None,
        }
    }

    /// One that is kept for the day when the master key must go.
    pub(super) fn successor(path: PathBuf, key: SecretKey) -> Self {
        Self {
            what: SUCCESSOR,
            ..Self::signing(path, key)
        }
    }
}

const SUCCESSOR: &str = "successor key";

/// A draft, and the new private keys that it names.
pub(super) struct Making {
    pub(super) draft: Keyring,
    pub(super) keys: Vec<NewKey>,
}

/// Checks that a file that is to be made is not there.
pub(super) fn check_absent(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    let message = format!("{} is there already; nothing was made", path.display());
    Err(Failure::message(Exit::Configuration, message)
        .advice("Keys and keyrings are never overwritten. Move it away if nobody needs it."))
}

impl Making {
    fn position(&self) -> Position {
        self.draft.position
    }

    fn draft_file(&self, desk: &Desk) -> PathBuf {
        desk.keyrings.series.at_as(self.position(), "draft")
    }

    /// Checks that none of the files is there.
    pub(super) fn check_free(&self, desk: &Desk) -> Result<(), Failure> {
        let (whole, partial) = signing::paths(&desk.keyrings, self.position());
        let draft = self.draft_file(desk);
        if draft.exists() {
            let message = format!("{} is there already; nothing was made", draft.display());
            return Err(Failure::message(Exit::Configuration, message).advice(format!(
                "Go on with it: pybots keys sign {}. Or, if nobody has signed it, delete it and the new key beside it.",
                draft.display()
            )));
        }
        let keys = self.keys.iter().map(|key| key.path.as_path());
        for path in keys.chain([whole.as_path(), partial.as_path()]) {
            check_absent(path)?;
        }
        Ok(())
    }

    /// Has the successor keys encrypted.
    pub(super) fn encrypt_successors(&mut self, passphrase: Option<&Passphrase>) {
        for key in &mut self.keys {
            if key.what == SUCCESSOR {
                key.passphrase = passphrase.cloned();
            }
        }
    }

    /// Tells what would change, and for whom.
    pub(super) fn tell(&self, desk: &Desk, holdings: Option<&Holdings>) {
        changes::tell_farm(&desk.keyrings.reader);
        changes::tell(desk.keyrings.newest(), &self.draft);
        let roster = holdings.and_then(|holdings| holdings.reader.roster());
        let slaves = roster.map_or_else(
            || "every slave of the farm".to_owned(),
            |roster| {
                let open = roster.lines.iter().filter(|line| line.closed.is_none());
                counted(open.count())
            },
        );
        say!("For {slaves}, the master and every viewer; each takes it in by itself.");
    }

    /// Stores the new keys and the draft.
    pub(super) fn store(&self, desk: &Desk) -> Result<PathBuf, Failure> {
        for new in &self.keys {
            store(&new.key, &new.path, new.passphrase.as_ref())?;
            say!("  ok  {:<15} {}", new.what, new.path.display());
        }
        let draft = self.draft_file(desk);
        files::write_new(&draft, &encode(&self.draft)).map_err(Failure::configuration)?;
        Ok(draft)
    }

    /// Stores everything and signs it; tells how it goes on if that is not enough. Returns whether the keyring is whole.
    pub(super) fn carry_out(
        &self,
        desk: &mut Desk,
        mut keys: Vec<MasterKey>,
    ) -> Result<bool, Failure> {
        let draft = self.store(desk)?;
        if keys.is_empty() {
            say!("  ok  draft           {}   not signed", draft.display());
            tell_how_to_sign(&draft);
            return Ok(false);
        }
        let signed =
            signing::sign(&mut desk.keyrings, &self.draft, &mut keys).inspect_err(|_| {
                say!(
                    "  --  draft           {}   is made: pybots keys sign goes on with it",
                    draft.display()
                );
            })?;
        match signed {
            Signed::Whole => {
                tell_whole(desk, self.position());
                // It lives on in the keyring.
                std::fs::remove_file(&draft)?;
                Ok(true)
            }
            Signed::Partly { have, need } => {
                say!(
                    "  ok  draft           {}   signed by {have} of {need}",
                    draft.display()
                );
                tell_how_to_sign(&draft);
                Ok(false)
            }
        }
    }
}

pub(super) fn tell_whole(desk: &Desk, position: Position) {
    let path = desk.keyrings.series.at(position);
    say!(
        "  ok  {:<15} {}   public",
        format!("keyring {position}"),
        path.display()
    );
}

fn tell_how_to_sign(draft: &Path) {
    say!(
        "  Carry the folder of the keyrings to the master key, there: pybots keys sign {} --key MASTER.KEY",
        draft.display()
    );
    say!("  Then bring the keyring back beside the others, here: pybots keys publish");
}

fn counted(slaves: usize) -> String {
    if slaves == 1 {
        "the one slave on the roster".to_owned()
    } else {
        format!("the {slaves} slaves on the roster")
    }
}

/// Sends what a ceremony has made, unless the bus is to be left alone.
pub(super) async fn send_unless_told_not_to(
    desk: &Desk,
    holdings: Option<&mut Holdings>,
    vouch: Option<Vouch>,
    publishing: &Publishing,
) -> Result<Exit, Failure> {
    match holdings {
        Some(holdings) if !publishing.no_publish => {
            send(desk, holdings, vouch, &publishing.patience).await
        }
        Some(_) | None => {
            say!(
                "  --  not published: until pybots keys publish, or until the master is started with it, it counts for nobody"
            );
            Ok(Exit::Ok)
        }
    }
}

/// Publishes what the bus lacks, and says who holds the newest: first the roster, if it needs another signature, and the
/// head, then the keyrings.
pub(super) async fn send(
    desk: &Desk,
    holdings: &mut Holdings,
    vouch: Option<Vouch>,
    patience: &Patience,
) -> Result<Exit, Failure> {
    if let Some(vouch) = vouch {
        let reader = &desk.keyrings.reader;
        let key = files::signing_key(desk.signing_keys.first(), reader, clock::now()).map_err(
            |failure| {
                failure.advice(
                    "The new keyring is made and signed, but NOT published: nothing here can sign the roster anew. \
                     Where the signing key lies: pybots keys publish",
                )
            },
        )?;
        vouch.publish(holdings, reader, &key).await?;
    }
    let published = holdings.publish(desk.keyrings.messages()).await?;
    for position in published {
        say!("  ok  published       keyring {position}");
    }
    let wanted = desk.keyrings.newest().position;
    let (coverage, exit) = if patience.wait {
        let patience = Duration::from_secs(patience.deadline.saturating_mul(60));
        holdings.wait_for(wanted, patience).await?
    } else {
        (holdings.coverage(wanted).await?, Exit::Ok)
    };
    writeln!(anstream::stdout(), "{coverage}")?;
    if exit == Exit::TimedOut {
        say!("  The keyring is published; who comes back later takes it in alone.");
    }
    Ok(exit)
}
