//! Private keys under a passphrase: PKCS #8 `EncryptedPrivateKeyInfo` (RFC 5958) with PBES2 (RFC 8018), which OpenSSL
//! reads and writes too.

use std::fmt;

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::scrypt::Params as Scrypt;
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, SecretDocument};
use zeroize::Zeroizing;

/// What the PEM form of an encrypted key is labelled.
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What we write: 16 MiB, five times over, some 0.3 s for each guess. OpenSSL reads nothing that takes 32 MiB.
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 5;

/// Most memory that a file's own parameters may make scrypt take, in bytes.
const MAX_MEMORY: u64 = 256 << 20;
/// Most of it that scrypt may go through, in bytes: memory times parallelism.
const MAX_WORK: u64 = 1 << 30;
/// Most rounds of PBKDF2.
const MAX_ROUNDS: u32 = 10_000_000;

/// A passphrase. It has no `Display`, its `Debug` shows nothing of it, and it is wiped from memory after use.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Fewest bytes of a passphrase for a new file.
    pub const MIN_LEN: usize = 8;
    /// Most bytes; OpenSSL takes no more than 1,023.
    pub const MAX_LEN: usize = 1023;

    /// Whatever was typed, to read a file with.
    #[must_use]
    pub fn new(typed: Zeroizing<String>) -> Self {
        Self(typed)
    }

    /// Whether it is long enough, and not too long, to write a file with.
    #[must_use]
    pub fn is_fit_for_a_new_file(&self) -> bool {
        (Self::MIN_LEN..=Self::MAX_LEN).contains(&self.0.len())
    }
}

impl PartialEq for Passphrase {
    /// For two that one person has typed just now: it takes no care to take always the same time.
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why an encrypted key was not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unread {
    /// It is not an encrypted key, or one in a scheme that is not PBES2.
    Form,
    /// To try a passphrase takes more memory or time than is given to it.
    Cost,
    /// The passphrase does not fit.
    Passphrase,
}

/// Encrypts the DER form of a private key; the answer is PEM.
pub(super) fn encrypt(
    der: &SecretDocument,
    passphrase: &Passphrase,
) -> Result<Zeroizing<String>, pkcs8::Error> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|_| pkcs8::Error::from(pkcs8::pkcs5::Error::Rng))
    };
    random(&mut salt)?;
    random(&mut iv)?;
    let cost = Scrypt::new(LOG_N, R, P).map_err(|_| pkcs8::Error::ParametersMalformed)?;
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv)?;
    let encrypted = parameters.encrypt(passphrase.0.as_bytes(), der.as_bytes())?;
    let document = SecretDocument::encode_msg(&EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&encrypted)?,
    })?;
    Ok(document.to_pem(LABEL, LineEnding::LF)?)
}

/// Decrypts a PEM file; the answer is the DER form of a private key.
pub(super) fn decrypt(pem: &str, passphrase: &Passphrase) -> Result<SecretDocument, Unread> {
    let (label, document) = SecretDocument::from_pem(pem).map_err(|_| Unread::Form)?;
    if label != LABEL {
        return Err(Unread::Form);
    }
    let encrypted: EncryptedPrivateKeyInfoRef<'_> =
        document.decode_msg().map_err(|_| Unread::Form)?;
    check_cost(&encrypted.encryption_algorithm)?;
    encrypted
        .decrypt(passphrase.0.as_bytes())
        .map_err(|_| Unread::Passphrase)
}

/// The file says itself what it takes to try a passphrase, and says it before anything of it could be checked.
fn check_cost(scheme: &EncryptionScheme) -> Result<(), Unread> {
    let EncryptionScheme::Pbes2(parameters) = scheme else {
        return Err(Unread::Form);
    };
    if let Some(pbkdf2) = parameters.kdf.pbkdf2() {
        return match pbkdf2.iteration_count {
            0 => Err(Unread::Form),
            1..=MAX_ROUNDS => Ok(()),
            _ => Err(Unread::Cost),
        };
    }
    let scrypt = parameters.kdf.scrypt().ok_or(Unread::Form)?;
    let (n, r, p) = (
        scrypt.cost_parameter,
        u64::from(scrypt.block_size),
        u64::from(scrypt.parallelization),
    );
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Err(Unread::Form);
    }
    let memory = n.saturating_mul(128 * r);
    if memory > MAX_MEMORY || memory.saturating_mul(p) > MAX_WORK {
        return Err(Unread::Cost);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pkcs8::der::Encode as _;
    use pkcs8::pkcs5::pbes2::{Kdf, Pbkdf2Params, Salt, ScryptParams};

    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned()))
    }

    fn some_der() -> SecretDocument {
        SecretDocument::try_from(&b"\x30\x03\x02\x01\x07"[..]).unwrap()
    }

    #[test]
    fn only_the_passphrase_that_it_was_encrypted_with_decrypts_a_key() {
        let right = passphrase("correct horse");
        let pem = encrypt(&some_der(), &right).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert_eq!(
            decrypt(&pem, &right).unwrap().as_bytes(),
            some_der().as_bytes()
        );
        for wrong in ["correct horsf", "correct horse ", ""] {
            let read = decrypt(&pem, &passphrase(wrong)).err();
            assert_eq!(read, Some(Unread::Passphrase), "{wrong:?}");
        }
        let again = encrypt(&some_der(), &right).unwrap();
        assert_ne!(pem, again, "salt and IV are new each time");
    }

    #[test]
    fn a_file_that_asks_for_gigabytes_or_hours_is_not_tried() {
        let scrypt = |n, r, p| {
            Kdf::from(ScryptParams {
                salt: Salt::new([0; 16]).unwrap(),
                cost_parameter: n,
                block_size: r,
                parallelization: p,
                key_length: None,
            })
        };
        let pbkdf2 = |rounds| Kdf::from(Pbkdf2Params::hmac_sha256(rounds, &[0; 16]).unwrap());
        let cases = [
            ("ours", scrypt(1 << LOG_N, 8, 5), Ok(())),
            ("128 MiB", scrypt(1 << 17, 8, 1), Ok(())),
            ("512 MiB", scrypt(1 << 19, 8, 1), Err(Unread::Cost)),
            ("1 GiB of work", scrypt(1 << 14, 8, 64), Ok(())),
            ("more", scrypt(1 << 14, 8, 65), Err(Unread::Cost)),
            ("overflow", scrypt(1 << 63, 65535, 65535), Err(Unread::Cost)),
            ("wide blocks", scrypt(2, 65535, 65535), Err(Unread::Cost)),
            ("no cost", scrypt(0, 8, 1), Err(Unread::Form)),
            ("no power of two", scrypt(16383, 8, 1), Err(Unread::Form)),
            ("no blocks", scrypt(1 << 14, 0, 1), Err(Unread::Form)),
            ("not even once", scrypt(1 << 14, 8, 0), Err(Unread::Form)),
            ("what OpenSSL writes", pbkdf2(2048), Ok(())),
            ("100 million rounds", pbkdf2(100_000_000), Err(Unread::Cost)),
        ];
        for (name, kdf, expected) in cases {
            let parameters = pbes2::Parameters {
                kdf,
                encryption: pbes2::EncryptionScheme::Aes256Cbc { iv: [0; 16] },
            };
            let scheme = EncryptionScheme::from(parameters);
            assert_eq!(check_cost(&scheme), expected, "{name}");
            let info = EncryptedPrivateKeyInfoRef {
                encryption_algorithm: scheme,
                encrypted_data: OctetStringRef::new(&[0; 48]).unwrap(),
            };
            let document = SecretDocument::try_from(info.to_der().unwrap()).unwrap();
            let pem = document.to_pem(LABEL, LineEnding::LF).unwrap();
            if let Err(unread) = expected {
                let read = decrypt(&pem, &passphrase("x")).err();
                assert_eq!(read, Some(unread), "{name}");
            }
        }
    }

    #[test]
    fn a_passphrase_never_shows_in_debug_output() {
        let shown = format!("{:?}", passphrase("correct horse"));
        assert_eq!(shown, "Passphrase(…)");
    }
}
