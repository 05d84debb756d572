//! `pybots slave repin`: another farm in the place of one whose master keys are lost.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use super::application;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::{clock, files};
use crate::model::FarmId;
use crate::slave::{Move, OldKeys, Repin, RunError, SlaveConfig, with_farm};
use crate::trust::words;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The id of the new farm. Its eight words are asked for, and have to come from a second source.
    #[arg(value_name = "NEW-FARM-ID")]
    farm: FarmId,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
    /// Put the slave's two keys away, too, and make new ones.
    #[arg(long)]
    new_keys: bool,
}

const NOT_DONE: &str = "Nothing was changed.";

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        farm,
        config: path,
        new_keys,
    } = arguments;
    let (config, text) = files::configuration(&path, SlaveConfig::parse)?;
    let path = fs::canonicalize(&path)?;
    files::check_unshared(&config.state)?;
    let mut repin = Repin::begin(&config.state).map_err(not_begun)?;
    if config.farm == farm && repin.was_cut_off() {
        // It was asked and answered, and slave.toml was the last thing but one.
        return end(&config, repin);
    }
    if config.farm == farm {
        let message = format!("{} pins that farm already", path.display());
        return Err(Failure::message(Exit::Usage, message).advice(format!(
            "{NOT_DONE} If you wrote it there by hand, put the old id back first: the new one has to be compared with a second source."
        )));
    }
    if !new_keys && !repin.was_cut_off() {
        files::secret_key(&config.report_key())?;
        files::bus_seed(&config.bus_key())?;
    }
    let text = with_farm(&text, &config.farm, &farm).ok_or_else(|| {
        let message = format!(
            "the line farm = \"{}\" is not found in {}",
            config.farm,
            path.display()
        );
        Failure::message(Exit::Configuration, message)
            .advice(format!("{NOT_DONE} Write the line so, in one piece."))
    })?;
    // Whether it can be written shows before anything is moved.
    let draft = files::draft(&path, &text)?;
    tell(&config, &farm, new_keys);
    ask(&farm)?;

    let what = Move {
        slave: config.name.clone(),
        from: config.farm,
        to: farm,
        now: clock::now(),
    };
    let keys = if new_keys {
        OldKeys::PutAway
    } else {
        OldKeys::Stay
    };
    repin.put_away(&what, keys).await.map_err(cut_off)?;
    files::make_secret_key(&config.report_key())?;
    files::make_bus_seed(&config.bus_key())?;
    files::put(draft, &path)?;
    end(&SlaveConfig { farm, ..config }, repin)
}

fn not_begun(error: RunError) -> Failure {
    let running = matches!(error, RunError::AlreadyRunning(_));
    let failure = Failure::error(error);
    if running {
        failure.advice(format!("{NOT_DONE} Stop the slave first."))
    } else {
        failure.advice(NOT_DONE)
    }
}

fn cut_off(error: RunError) -> Failure {
    Failure::error(error).advice(
        "slave.toml is as it was, and no slave starts. Mend that and give the same command again.",
    )
}

fn tell(config: &SlaveConfig, farm: &FarmId, new_keys: bool) {
    say!("Slave {} leaves its farm for another.", config.name);
    say!("  old farm  {}", config.farm);
    say!("  words     {}", words(&config.farm));
    say!("  new farm  {farm}");
    say!("  words     you tell them: this slave only compares");
    say!(
        "This is the one step that nobody can verify for you: nothing signed leads from one farm to the other."
    );
    say!(
        "Whoever holds the new farm may ask for your scripts from now on. So do not take its words from the mail, chat"
    );
    say!(
        "or page that asked you to do this; take them from a second source: a call to an operator whom you know, or"
    );
    say!("the pages where the farm has always published its id.");
    say!("What will happen:");
    say!(
        "  - the journal, jobs, workspaces and caches go to an archive in {}",
        config.state.display()
    );
    if new_keys {
        say!("  - the two keys go there, too, and new ones are made");
    } else {
        say!("  - the two keys stay, so that the operator can approve the same line");
    }
    say!("  - of slave.toml only the farm changes: builders, commands and limits stay");
    say!("  - every message of the old farm is dead here, whoever holds its keys");
}

/// Waits for somebody to type the words of `farm`. They are not shown before, so that they cannot be copied from here,
/// and no argument gives them: whoever sends somebody a command to paste could send the answer along.
fn ask(farm: &FarmId) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut stderr = anstream::stderr();
        write!(stderr, "Type the eight words of the new farm: ")?;
        stderr.flush()?;
    } else {
        say!("Waiting for the eight words of the new farm on standard input.");
    }
    let mut line = Vec::new();
    stdin.lock().take(1024).read_until(b'\n', &mut line)?;
    let typed = String::from_utf8_lossy(&line).to_lowercase();
    let typed: Vec<&str> = typed.split_whitespace().collect();
    let expected = words(farm);
    if typed.iter().copied().eq(expected.split(' ')) {
        return Ok(());
    }
    let message = if typed.is_empty() {
        "no answer came, where the eight words of the new farm were wanted".to_owned()
    } else {
        format!("those are not the words of {farm}")
    };
    Err(Failure::message(Exit::Error, message).advice(format!(
        "{NOT_DONE} If they are what your second source says, then the id is another farm's: do not go on, and ask the operator."
    )))
}

fn end(config: &SlaveConfig, repin: Repin) -> Result<Exit, Failure> {
    let key = files::secret_key(&config.report_key())?;
    let (_, nkey) = files::bus_seed(&config.bus_key())?;
    let archive = repin.finish().map_err(cut_off)?;
    if let Some(archive) = archive {
        say!(
            "  ok  what slave {} remembered is in {}; delete it when you like",
            config.name,
            archive.display()
        );
    }
    say!("  ok  slave.toml pins {}", config.farm);
    say!("      words {}", words(&config.farm));
    say!("  If the new farm's bus is elsewhere, change the line bus in slave.toml.");
    say!("  Send this line to the new farm's operator, and start the slave again. It is public:");
    let application = application(config, key.public(), nkey);
    writeln!(anstream::stdout(), "{application}")?;
    Ok(Exit::Ok)
}
