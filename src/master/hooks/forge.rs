//! How a delivery proves that the forge sent it, and which delivery it is.
//!
//! By what the forges document: GitHub signs the raw body with HMAC-SHA256; so do Gitea and Forgejo, under names of their
//! own and GitHub's; GitLab sends the secret itself. None of them signs the delivery's id or its time. So whoever has
//! caught a delivery can send it again under another id, and gains one more look at the repository.

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::HeaderMap;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The software that sends deliveries.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Forge {
    /// GitHub.
    Github,
    /// Forgejo.
    Forgejo,
    /// Gitea.
    Gitea,
    /// GitLab.
    Gitlab,
}

/// What a webhook and its forge share.
pub struct HookSecret(Zeroizing<String>);

/// A secret that anybody could guess.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a webhook's secret is one line of at least {min} characters; make one with: openssl rand -hex 32", min = HookSecret::MIN_LEN)]
pub struct HookSecretError;

impl HookSecret {
    /// Shortest secret, in bytes.
    pub const MIN_LEN: usize = 16;

    /// The secret in the text of a file; a line's end there is none of it.
    ///
    /// # Errors
    ///
    /// [`HookSecretError`] if it is short, or more than a line.
    pub fn new(text: &str) -> Result<Self, HookSecretError> {
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.len() < Self::MIN_LEN || secret.contains(['\r', '\n', '\0']) {
            return Err(HookSecretError);
        }
        Ok(Self(Zeroizing::new(secret.to_owned())))
    }

    /// Whether `tag` is the HMAC-SHA256 of `body`; takes as long for a wrong one, whatever is wrong with it.
    fn signed(&self, body: &[u8], tag: &[u8]) -> bool {
        Hmac::<Sha256>::new_from_slice(self.0.as_bytes())
            .is_ok_and(|mac| mac.chain_update(body).verify_slice(tag).is_ok())
    }

    /// Whether `token` is the secret; by their hashes, so that not even its length shows.
    fn is(&self, token: &[u8]) -> bool {
        let hash = |bytes: &[u8]| Sha256::digest(bytes);
        hash(self.0.as_bytes()).ct_eq(&hash(token)).into()
    }
}

impl Forge {
    /// The word for it in a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
            Self::Gitlab => "gitlab",
        }
    }

    /// Where signatures stand, the one that counts first.
    fn signatures(self) -> &'static [&'static str] {
        match self {
            Self::Github => &["x-hub-signature-256"],
            Self::Forgejo => &[
                "x-forgejo-signature",
                "x-gitea-signature",
                "x-hub-signature-256",
            ],
            Self::Gitea => &["x-gitea-signature", "x-hub-signature-256"],
            Self::Gitlab => &["x-gitlab-token"],
        }
    }

    /// Where the delivery's id stands, the one that counts first.
    fn deliveries(self) -> &'static [&'static str] {
        match self {
            Self::Github => &["x-github-delivery"],
            Self::Forgejo => &["x-forgejo-delivery", "x-gitea-delivery"],
            Self::Gitea => &["x-gitea-delivery"],
            // The event's id is the same for webhooks that set each other off.
            Self::Gitlab => &["idempotency-key", "x-gitlab-event-uuid"],
        }
    }

    /// Whether the forge, or somebody else who knows `secret`, sent `body`.
    #[must_use]
    pub fn proves(self, secret: &HookSecret, headers: &HeaderMap, body: &[u8]) -> bool {
        let Some(proof) = first(headers, self.signatures()) else {
            return false;
        };
        match self {
            Self::Gitlab => secret.is(proof),
            Self::Github | Self::Forgejo | Self::Gitea => {
                let digits = proof.strip_prefix(b"sha256=").unwrap_or(proof);
                data_encoding::HEXLOWER
                    .decode(digits)
                    .is_ok_and(|tag| secret.signed(body, &tag))
            }
        }
    }

    /// The id of a delivery, where it has one.
    #[must_use]
    pub fn delivery(self, headers: &HeaderMap) -> Option<&[u8]> {
        first(headers, self.deliveries())
    }
}

/// The value of the first of `names` that is there. A wrong one is not rescued by a right one of another name, and one
/// that stands there twice is none.
fn first<'a>(headers: &'a HeaderMap, names: &[&str]) -> Option<&'a [u8]> {
    let name = names.iter().find(|name| headers.contains_key(**name))?;
    let mut values = headers.get_all(*name).iter();
    let value = values.next()?.as_bytes();
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    /// From GitHub's documentation, for this secret and body.
    const TAG: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn proves(forge: Forge, pairs: &[(&'static str, &str)], body: &[u8]) -> bool {
        forge.proves(&HookSecret::new(SECRET).unwrap(), &headers(pairs), body)
    }

    #[test]
    fn each_forge_proves_itself_as_it_documents() {
        let prefixed = format!("sha256={TAG}");
        for (forge, name, proof) in [
            (Forge::Github, "x-hub-signature-256", prefixed.as_str()),
            (Forge::Forgejo, "x-forgejo-signature", TAG),
            (Forge::Forgejo, "x-gitea-signature", TAG),
            (Forge::Forgejo, "x-hub-signature-256", &prefixed),
            (Forge::Gitea, "x-gitea-signature", TAG),
            (Forge::Gitea, "x-hub-signature-256", &prefixed),
            (Forge::Gitlab, "x-gitlab-token", SECRET),
        ] {
            assert!(proves(forge, &[(name, proof)], BODY), "{forge:?} {name}");
            let wrong = format!("{}0", &proof[..proof.len() - 1]);
            assert!(!proves(forge, &[(name, &wrong)], BODY), "{forge:?} {name}");
            let shorter = &proof[..proof.len() - 2];
            assert!(!proves(forge, &[(name, shorter)], BODY), "{forge:?}");
            assert!(!proves(forge, &[], BODY), "{forge:?}");
            if forge != Forge::Gitlab {
                assert!(!proves(forge, &[(name, proof)], b"Hello, World?"));
            }
        }
    }

    #[test]
    fn what_another_forge_would_send_proves_nothing() {
        let sha1 = "sha1=0000000000000000000000000000000000000000";
        assert!(!proves(Forge::Github, &[("x-hub-signature", sha1)], BODY));
        assert!(!proves(Forge::Github, &[("x-gitea-signature", TAG)], BODY));
        assert!(!proves(Forge::Github, &[("x-gitlab-token", SECRET)], BODY));
        assert!(!proves(Forge::Gitlab, &[("x-gitea-signature", TAG)], BODY));
        // A good one does not make up for a bad one, nor for another beside it.
        let both = [("x-forgejo-signature", "00"), ("x-gitea-signature", TAG)];
        assert!(!proves(Forge::Forgejo, &both, BODY));
        let twice = [("x-gitea-signature", TAG), ("x-gitea-signature", TAG)];
        assert!(!proves(Forge::Gitea, &twice, BODY));
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_none() {
        for bad in [
            "",
            "\n",
            "short",
            "123456789012345\n",
            "two lines of\nwhich none counts",
        ] {
            assert!(HookSecret::new(bad).is_err(), "{bad:?}");
        }
        let written = HookSecret::new(&format!("{SECRET}\n")).unwrap();
        assert!(written.is(SECRET.as_bytes()));
    }

    proptest! {
        #[test]
        fn no_signature_but_the_right_one_proves_anything(proof in "(sha256=)?[0-9a-f]{0,64}", body in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!proves(Forge::Github, &[("x-hub-signature-256", &proof)], &body));
            prop_assert!(!proves(Forge::Gitlab, &[("x-gitlab-token", &proof)], &body));
        }
    }
}
