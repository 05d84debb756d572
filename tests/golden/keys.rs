//! The folder `keys` holds what may be published, and nothing else.

use std::fs;
use std::path::Path;

/// Why a file must not be there.
fn objection(name: &str, bytes: &[u8]) -> Option<&'static str> {
    let ending = Path::new(name).extension().and_then(|it| it.to_str());
    if !matches!(ending, Some("md" | "keyring")) {
        return Some("neither a text about keys (.md) nor a public keyring (.keyring)");
    }
    if bytes.windows(11).any(|part| part == b"PRIVATE KEY") {
        return Some("a private key in PEM form");
    }
    bytes
        .windows(58)
        .any(is_nkey_seed)
        .then_some("the seed of an nkey")
}

/// `S`, what the key is for, and 56 characters of base32.
fn is_nkey_seed(part: &[u8]) -> bool {
    let [b'S', b'U' | b'A' | b'O' | b'C', rest @ ..] = part else {
        return false;
    };
    rest.iter().all(|c| matches!(c, b'A'..=b'Z' | b'2'..=b'7'))
}

#[test]
fn a_private_key_is_objected_to_in_any_form() {
    let seed = format!("a login: SU{}\n", "A7".repeat(28));
    let pem = format!("-----BEGIN {} KEY-----", "PRIVATE");
    for (name, bytes, fine) in [
        ("README.md", &b"SUCH A TEXT IS FINE"[..], true),
        ("golden.keyring", &[0x82, 0xd2], true),
        ("README.md", seed.as_bytes(), false),
        ("farm.keyring", pem.as_bytes(), false),
        ("signing.key", b"", false),
        ("keyring", b"", false),
    ] {
        assert_eq!(objection(name, bytes).is_none(), fine, "{name}");
    }
}

#[test]
fn the_keys_folder_holds_no_private_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys");
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        // A folder inside it cannot be read as a file, and so is refused as well.
        let bytes = fs::read(&path).expect("a file that can be read");
        let name = path.file_name().expect("a name").to_string_lossy();
        assert_eq!(objection(&name, &bytes), None, "{}", path.display());
        files += 1;
    }
    assert!(files > 0, "there is something to look at");
}
