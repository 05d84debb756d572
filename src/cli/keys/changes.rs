//! What a keyring changes, told to the one who is about to sign it.

use crate::cli::exit::say;
use crate::model::{Keyring, RevocationReason, SlaveState};
use crate::trust::{Difference, Reader, differences, words};

/// Names the farm as its members know it.
pub(super) fn tell_farm(reader: &Reader) {
    say!("farm      {}", reader.keyring().name);
    say!("farm id   {}", reader.farm());
    say!("words     {}", words(reader.farm()));
}

/// Tells what `after` changes.
pub(super) fn tell(before: &Keyring, after: &Keyring) {
    say!(
        "keyring   {} takes the place of {}:",
        after.position,
        before.position
    );
    for difference in differences(before, after) {
        say!("  {}", sentence(&difference));
    }
}

pub(super) fn reason(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::Retired => "retired",
        RevocationReason::Compromised => "compromised",
    }
}

pub(super) fn standing_of(state: SlaveState) -> &'static str {
    match state {
        SlaveState::Probation => "on probation",
        SlaveState::Active => "active",
        SlaveState::Paused => "paused",
        SlaveState::Revoked => "revoked",
    }
}

fn sentence(difference: &Difference) -> String {
    match difference {
        Difference::Added(window) => format!(
            "new      signing key {}, good until {}",
            window.key, window.not_after
        ),
        Difference::Moved { from, to } if from.not_before == to.not_before => format!(
            "ends     signing key {}, at {} in place of {}",
            to.key, to.not_after, from.not_after
        ),
        Difference::Moved { from, to } => format!(
            "moved    signing key {}, from {} to {} in place of from {} to {}",
            to.key, to.not_before, to.not_after, from.not_before, from.not_after
        ),
        Difference::Revoked(revoked) => match revoked.reason {
            RevocationReason::Retired => format!(
                "retired  signing key {}: signs no more; what it signed before stays believed",
                revoked.window.key
            ),
            RevocationReason::Compromised => format!(
                "stolen   signing key {}: nothing that it signed is acted on, whatever date it bears",
                revoked.window.key
            ),
        },
        Difference::Restored(key) => {
            format!("back     signing key {key}, which was revoked, counts again")
        }
        Difference::Dropped(key) => {
            format!("dropped  key {key}: nothing that it signed is believed any more")
        }
        Difference::Masters(masters) => {
            let keys: Vec<String> = masters.keys.iter().map(ToString::to_string).collect();
            format!(
                "masters  {} of {}: {}",
                masters.threshold,
                keys.len(),
                keys.join(", ")
            )
        }
        Difference::Announced(commitment) => {
            format!("next     the master keys after these are announced as {commitment}")
        }
        Difference::Expires(expires) => format!("expires  {expires}"),
    }
}
