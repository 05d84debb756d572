//! Which key somebody means.

use crate::cli::exit::{Exit, Failure};
use crate::model::{Keyring, PublicKey};
use crate::trust::key_id;

/// Fewest characters that name a key, its prefix left out.
const SHORTEST: usize = 4;

/// The signing key, in force or revoked, whose id or public half begins with `text`, with or without `SHA256:` or
/// `ed25519:`.
pub(super) fn find(keyring: &Keyring, text: &str) -> Result<PublicKey, Failure> {
    let windows = keyring.signing_keys.iter();
    let revoked = keyring.revoked.iter().map(|revoked| &revoked.window);
    let keys: Vec<PublicKey> = windows.chain(revoked).map(|window| window.key).collect();
    let tail = |whole: String| whole.split_once(':').map(|(_, tail)| tail.to_owned());
    let (tag, wanted) = text.split_once(':').unwrap_or(("", text));
    let begins = |tagged: &str, whole: String| {
        (tag.is_empty() || tag == tagged)
            && tail(whole).is_some_and(|tail| tail.starts_with(wanted))
    };
    let found: Vec<PublicKey> = keys
        .into_iter()
        .filter(|key| {
            begins("ed25519", key.to_string()) || begins("SHA256", key_id(key).to_string())
        })
        .collect();
    let wrong = |message: String| {
        Failure::message(Exit::Usage, message)
            .advice("Nothing was made, signed or sent. pybots keys show names the keys.")
    };
    if wanted.len() < SHORTEST {
        return Err(wrong(format!("{text} is too short to name a key")));
    }
    match found[..] {
        [key] => Ok(key),
        [] => Err(wrong(format!(
            "keyring {} lists no signing key {text}",
            keyring.position
        ))),
        [_, ..] => Err(wrong(format!("{text} names {} keys", found.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Position, SigningKeyWindow, Timestamp};
    use crate::trust::SecretKey;

    #[test]
    fn a_key_is_named_by_the_beginning_of_its_id_or_of_itself() {
        let keys = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]).public());
        let window = |key| SigningKeyWindow {
            key,
            not_before: Timestamp(0),
            not_after: Timestamp(1),
        };
        let keyring = Keyring {
            name: "test".parse().unwrap(),
            position: Position::default(),
            previous: None,
            issued: Timestamp(0),
            expires: Timestamp(1),
            master_keys: vec![],
            threshold: 1,
            commitment: Digest([0; 32]),
            signing_keys: keys.map(window).to_vec(),
            revoked: vec![],
        };
        let whole = keys[1].to_string();
        let id = key_id(&keys[1]).to_string();
        let good = [
            &whole,
            &id,
            &whole[..14],
            &id[..12],
            &whole[8..14],
            &id[7..12],
        ];
        for text in good {
            assert_eq!(find(&keyring, text).ok(), Some(keys[1]), "{text}");
        }
        for text in [
            "",
            "ed25519:",
            &whole[8..11],
            "ed25519:AAAAAAAA",
            &format!("SHA256:{}", &whole[8..]),
        ] {
            assert!(find(&keyring, text).is_err(), "{text}");
        }
    }
}
