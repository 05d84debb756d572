//! `pybots keys requester`: the keys of somebody who may ask the master.

use std::io::Write as _;
use std::path::PathBuf;

use super::init::store;
use super::making::check_absent;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::cli::passphrase::PassphraseSource;
use crate::cli::requester_file::{self, RequesterFile};
use crate::model::{PublicKey, RequesterName, Verb};
use crate::trust::SecretKey;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// By which name the master knows them, such as alice.
    name: RequesterName,
    /// Where to put the files: best where farm.toml lies.
    #[arg(long, alias = "folder", value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// Encrypt the key with a passphrase, which each request then asks for.
    #[arg(long)]
    passphrase: bool,
    #[command(flatten)]
    source: PassphraseSource,
}

/// What the inboxes of other logins bear as their names.
const TAKEN: [&str; 3] = ["master", "viewer", "hooks"];

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments {
        name,
        dir,
        passphrase,
        source,
    } = arguments;
    if TAKEN.contains(&name.as_str()) {
        let message =
            format!("the name {name} is that of another login; a requester needs one of its own");
        return Err(Failure::message(Exit::Usage, message).advice("No key was made."));
    }
    let place = |name: &str| dir.join(name);
    let names = [format!("{name}.key"), format!("{name}.nk")];
    let [key_file, bus_key_file] = names.each_ref().map(|name| place(name));
    let file = place(requester_file::NAME);
    for path in [&key_file, &bus_key_file, &file] {
        check_absent(path)?;
    }
    let passphrase = (*passphrase || source.is_given())
        .then(|| source.of_new_files())
        .transpose()?;
    let [key_name, bus_key_name] = names.map(PathBuf::from);
    let text = RequesterFile {
        name: name.clone(),
        farm_file: "farm.toml".into(),
        key: key_name,
        bus_key: bus_key_name,
    }
    .to_text()?;
    files::make_folder(dir)?;
    let key = SecretKey::generate()?;
    store(&key, &key_file, passphrase.as_ref())?;
    let nkey = files::make_bus_seed(&bus_key_file)?;
    files::write_new(&file, text.as_bytes()).map_err(Failure::configuration)?;
    for (what, path, remark) in [
        (
            "requester key",
            &key_file,
            "signs what is asked; keep it to yourself",
        ),
        (
            "bus key",
            &bus_key_file,
            "logs in at the bus; keep it to yourself",
        ),
        (
            "requester file",
            &file,
            "names both; farm.toml belongs beside it",
        ),
    ] {
        say!("  ok  {what:<15} {}   {remark}", path.display());
    }
    say!(
        "  The operator puts this into master.toml, with what may be asked of which builders, then:"
    );
    say!("  pybots master reload     pybots master logins USERS.CONF, and reloads the server");
    write!(
        anstream::stdout(),
        "{}",
        stanza(
            name,
            &key.public(),
            &nkey,
            &[Verb::Force, Verb::Cancel, Verb::Retry]
        )
    )?;
    Ok(Exit::Ok)
}

/// What lets a requester ask for `verbs` of every builder, in `master.toml`.
pub(in crate::cli) fn stanza(
    name: &RequesterName,
    key: &PublicKey,
    nkey: &str,
    verbs: &[Verb],
) -> String {
    let may: Vec<String> = verbs
        .iter()
        .map(|verb| format!("\"{}\"", verb.word()))
        .collect();
    format!(
        r#"[requesters.{name}]
key = "{key}"
login = "{nkey}"
may = [{}]
builders = ["*"]
"#,
        may.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn arguments(name: &str, dir: &Path) -> Arguments {
        Arguments {
            name: name.parse().unwrap(),
            dir: dir.to_owned(),
            passphrase: false,
            source: PassphraseSource::default(),
        }
    }

    #[test]
    fn a_requesters_keys_are_private_and_take_the_place_of_none() {
        let folder = tempfile::tempdir().unwrap();
        run(&arguments("alice", folder.path())).unwrap();
        let secret = |name: &str| {
            let path = folder.path().join(name);
            assert_eq!(
                path.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{name}"
            );
            std::fs::read(path).unwrap()
        };
        let before = ["alice.key", "alice.nk"].map(secret);
        for name in ["alice", "bob"] {
            let failure = run(&arguments(name, folder.path())).unwrap_err();
            let sentence = failure.sentence();
            assert!(
                sentence.ends_with("is there already; nothing was made"),
                "{sentence}"
            );
        }
        assert_eq!(["alice.key", "alice.nk"].map(secret), before);
        assert!(!folder.path().join("bob.key").exists());
    }

    #[test]
    fn a_requester_takes_no_other_logins_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in TAKEN {
            let failure = run(&arguments(name, folder.path())).unwrap_err();
            assert!(
                failure.sentence().contains("is that of another login"),
                "{name}"
            );
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
