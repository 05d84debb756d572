//! Whom to trust.

use askama::Template;

use super::super::Scene;
use super::frame::{Badge, Frame, When};
use crate::model::{Keyring, RevocationReason, SigningKeyWindow, Timestamp};
use crate::status::text::Paint;
use crate::trust::{Chain, key_id};

#[derive(Template)]
#[template(path = "keys.html", config = "src/status/web/askama.toml")]
pub(super) struct KeysPage<'a> {
    frame: Frame<'a>,
    position: String,
    issued: When,
    expires: When,
    expired: bool,
    threshold: u8,
    masters: Vec<(String, String)>,
    commitment: String,
    signing: Vec<SigningKey>,
    revoked: Vec<Revoked>,
    /// The first keyring of each generation, the oldest first.
    generations: Vec<Generation>,
    /// Which slaves hold the keyring.
    held: Option<String>,
}

struct Generation {
    position: String,
    issued: When,
    threshold: u8,
    masters: Vec<(String, String)>,
    commitment: String,
}

struct SigningKey {
    id: String,
    key: String,
    from: When,
    to: When,
    state: Badge,
}

struct Revoked {
    id: String,
    key: String,
    reason: &'static str,
    badge: Badge,
    when: When,
}

impl<'a> KeysPage<'a> {
    pub(super) fn new(scene: &Scene<'a>, chain: &Chain) -> Self {
        let now = scene.now;
        let keyring = chain.newest();
        let held = scene.board.coverage(keyring.position);
        Self {
            frame: Frame::new(scene, "Keys", "/keys.json"),
            position: keyring.position.to_string(),
            issued: When::new(keyring.issued, now),
            expires: When::new(keyring.expires, now),
            expired: keyring.expires <= now,
            threshold: keyring.threshold,
            masters: masters(keyring),
            commitment: keyring.commitment.to_string(),
            signing: keyring
                .signing_keys
                .iter()
                .map(|window| signing_key(window, now))
                .collect(),
            revoked: keyring
                .revoked
                .iter()
                .map(|revoked| Revoked {
                    id: key_id(&revoked.window.key).to_string(),
                    key: revoked.window.key.to_string(),
                    badge: match revoked.reason {
                        RevocationReason::Retired => Badge::new("- retired", Paint::Faint),
                        RevocationReason::Compromised => Badge::new("✗ compromised", Paint::Bad),
                    },
                    reason: match revoked.reason {
                        RevocationReason::Retired => {
                            "its time was over; what it signed before stays believed"
                        }
                        RevocationReason::Compromised => {
                            "somebody else may hold it; what it signed proves nothing by itself"
                        }
                    },
                    when: When::new(revoked.revoked, now),
                })
                .collect(),
            generations: chain
                .generations()
                .map(|first| Generation {
                    position: first.position.to_string(),
                    issued: When::new(first.issued, now),
                    threshold: first.threshold,
                    masters: masters(first),
                    commitment: first.commitment.to_string(),
                })
                .collect(),
            held: held.map(|held| held.to_string()),
        }
    }
}

fn masters(keyring: &Keyring) -> Vec<(String, String)> {
    let keys = keyring.master_keys.iter();
    keys.map(|key| (key.to_string(), key_id(key).to_string()))
        .collect()
}

fn signing_key(window: &SigningKeyWindow, now: Timestamp) -> SigningKey {
    let state = if window.contains(now) {
        ("✓ in force", Paint::Good)
    } else if now < window.not_before {
        ("… not yet", Paint::Busy)
    } else {
        ("- over", Paint::Faint)
    };
    SigningKey {
        id: key_id(&window.key).to_string(),
        key: window.key.to_string(),
        from: When::new(window.not_before, now),
        to: When::new(window.not_after, now),
        state: state.into(),
    }
}
