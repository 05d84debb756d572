//! Ceremonies by files alone, as on a machine without network: nothing runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::{answer, said, shown, split};
use crate::bad_input::fails_with;
use crate::process::{pybots, succeed};

/// The keys of a farm in a folder of their own: nothing runs.
pub(super) struct Folder(TempDir);

impl Folder {
    fn new(more: &[&str]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let keys = folder.text("");
        succeed(&[&["keys", "init", "test-farm", "--dir", &keys][..], more].concat());
        folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The farm's public files, with drafts, as somebody carries them to another machine.
    fn carry_to(&self, other: &Folder) {
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(".keyring")
                || Path::new(name).extension().is_some_and(|e| e == "draft")
            {
                fs::copy(&path, other.path(name)).unwrap();
            }
        }
    }

    pub(super) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn show(&self) -> Value {
        shown(&["keys", "show", &self.text("test-farm.keyring"), "--json"])
    }

    /// A rotation by files alone.
    fn rotate(&self, more: &[&str]) -> Output {
        let first = self.text("test-farm.keyring");
        pybots(&[&["keys", "rotate", "--keyring", &first, "--yes"][..], more].concat())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_master_key_never_signs_two_keyrings_for_one_place() {
    let (here, there, stick) = (Folder::new(&[]), Folder::empty(), Folder::empty());
    here.carry_to(&there);
    let key = here.text("master.key");
    // Two operators draft at once.
    for folder in [&here, &there] {
        assert!(folder.rotate(&["--draft"]).status.success());
    }
    let draft = |folder: &Folder| folder.text("test-farm.0.1.draft");
    succeed(&[
        "keys",
        "sign",
        &draft(&here),
        "--key",
        &key,
        "--confirm",
        "0.1",
    ]);
    let second = [
        "keys",
        "sign",
        &draft(&there),
        "--key",
        &key,
        "--confirm",
        "0.1",
    ];
    fails_with(&second, 4, "this key has signed another keyring 0.1");
    assert!(!there.path("test-farm.0.1.keyring").exists());
    // The same once more is not another one.
    fs::remove_file(here.path("test-farm.0.1.keyring")).unwrap();
    succeed(&[
        "keys",
        "sign",
        &draft(&here),
        "--key",
        &key,
        "--confirm",
        "0.1",
    ]);

    // Where nothing can be written down, nothing is signed. A folder stands in for a stick that is write-protected.
    fs::copy(&key, stick.path("master.key")).unwrap();
    fs::create_dir(stick.path("master.key.signed")).unwrap();
    let key = stick.text("master.key");
    fails_with(
        &[
            "keys",
            "sign",
            &draft(&there),
            "--key",
            &key,
            "--confirm",
            "0.1",
        ],
        8,
        "master.key.signed",
    );
    assert!(!there.path("test-farm.0.1.keyring").exists());

    // One that was signed and lost is passed over on purpose.
    fs::remove_file(draft(&there)).unwrap();
    fs::remove_file(there.path("signing.0.1.key")).unwrap();
    let key = here.text("master.key");
    assert_eq!(there.rotate(&["--master-key", &key]).status.code(), Some(4));
    let passed = there.rotate(&["--master-key", &key, "--serial", "2"]);
    assert!(passed.status.success(), "{}", said(&passed));
    assert_eq!(there.show()["position"], "0.2");
}

#[test]
fn k_of_n_master_keys_sign_together_or_one_machine_after_the_other() {
    let folder = Folder::new(&["--masters", "3", "--threshold", "2"]);
    let keys: Vec<String> = (1..=3)
        .map(|n| folder.text(&format!("master-{n}.key")))
        .collect();
    let both = folder.rotate(&["--master-key", &keys[0], "--master-key", &keys[2]]);
    assert!(both.status.success(), "{}", said(&both));
    assert_eq!(folder.show()["position"], "0.1");

    let one = folder.rotate(&["--master-key", &keys[1]]);
    assert!(said(&one).contains("signed by 1 of 2"), "{}", said(&one));
    assert_eq!(folder.show()["position"], "0.1", "one is not enough");
    let draft = folder.text("test-farm.0.2.draft");
    let sign = |key: &str| answer(&["keys", "sign", &draft, "--key", key], "0.2");
    assert!(
        said(&sign(&keys[1])).contains("signed by 1 of 2"),
        "twice by one is once"
    );
    assert!(sign(&keys[2]).status.success());
    assert_eq!(folder.show()["position"], "0.2");
    assert!(!folder.path("test-farm.0.2.keyring.partial").exists());
    // The third may add its signature.
    assert!(sign(&keys[0]).status.success());
    let verify = ["keys", "verify", &folder.text("test-farm.0.2.keyring")];
    succeed(&verify);

    // Two of the three successors are enough as well: each knows the set that it belongs to.
    let first = folder.text("test-farm.keyring");
    let successors = [1, 3].map(|n| folder.text(&format!("successor-{n}.key")));
    let succession = format!("keys rotate --master --keyring {first} --confirm 1.0");
    let succession = split(&succession);
    let one = ["--successor-key", &successors[0]];
    let two = ["--successor-key", &successors[1]];
    succeed(&[&succession[..], &one, &two].concat());
    let after = folder.show();
    assert_eq!(
        (&after["position"], &after["threshold"]),
        (&"1.0".into(), &2.into())
    );
    assert!(folder.path("successor.1-3.key.set").exists());
}

#[test]
fn a_successor_takes_the_master_keys_place_with_nothing_else_in_hand() {
    let folder = Folder::new(&[]);
    let before = folder.show();
    let key = folder.text("master.key");
    assert!(folder.rotate(&["--master-key", &key]).status.success());
    // The master key is gone, and all that runs.
    let drawer = Folder::empty();
    folder.carry_to(&drawer);
    fs::rename(folder.path("successor.key"), drawer.path("successor.key")).unwrap();
    let first = drawer.text("test-farm.keyring");
    let successor = drawer.text("successor.key");
    let succession = format!("keys rotate --master --keyring {first} --successor-key {successor}");
    let succession = split(&succession);
    fails_with(
        &[&succession[..], &["--yes"]].concat(),
        2,
        "cannot be used with",
    );
    let names = drawer.names();
    let dry = pybots(&[&succession[..], &["--dry-run"]].concat());
    assert!(
        said(&dry).contains("keyring   1.0 takes the place of 0.1"),
        "{}",
        said(&dry)
    );
    assert_eq!(answer(&succession, "yes").status.code(), Some(1));
    assert_eq!(drawer.names(), names, "nothing was made");

    let stolen = before["signing_keys"][0]["id"].as_str().unwrap();
    let done = answer(
        &[&succession[..], &["--compromised", &stolen[..16]]].concat(),
        "1.0",
    );
    assert!(done.status.success(), "{}", said(&done));
    let after = drawer.show();
    assert_eq!(after["farm"], before["farm"], "the farm stays what it was");
    assert_eq!(after["position"], "1.0");
    assert_ne!(after["master_keys"], before["master_keys"]);
    assert_ne!(after["commitment"], before["commitment"]);
    assert_eq!(after["revoked"][0]["id"], stolen);
    assert_eq!(after["revoked"][0]["reason"], "compromised");
    assert_eq!(after["signing_keys"].as_array().unwrap().len(), 2);
    for name in [
        "signing.1.0.key",
        "successor.1.key",
        "test-farm.1.0.keyring",
        "successor.key.signed",
    ] {
        assert!(drawer.path(name).exists(), "{name}");
    }

    // The old master key is worth nothing; the successor signs, and its own successor follows.
    drawer.carry_to(&folder);
    let old = folder.rotate(&["--master-key", &key]);
    assert_eq!(old.status.code(), Some(8));
    assert!(
        said(&old).contains("is no master key of keyring 1.1"),
        "{}",
        said(&old)
    );
    assert!(
        drawer
            .rotate(&["--master-key", &successor])
            .status
            .success()
    );
    let next = drawer.text("successor.1.key");
    let again =
        format!("keys rotate --master --keyring {first} --successor-key {next} --confirm 2.0");
    let again = split(&again);
    succeed(&again);
    assert_eq!(drawer.show()["position"], "2.0");
}

/// Runs each; it must end with that code and sentence, and the folder be as it was.
fn each_fails(folder: &Folder, cases: &[(String, i32, &str)]) {
    let names = folder.names();
    for (line, exit, sentence) in cases {
        fails_with(&split(line), *exit, sentence);
        assert_eq!(folder.names(), names, "{line}");
    }
}

#[test]
fn a_draft_is_signed_only_with_the_right_key_for_the_right_farm_on_its_own_chain() {
    let (ours, theirs) = (Folder::new(&[]), Folder::new(&[]));
    assert!(ours.rotate(&["--draft"]).status.success());
    let draft = ours.text("test-farm.0.1.draft");
    let (key, keyring) = (ours.text("master.key"), ours.text("test-farm.keyring"));
    let their_farm = theirs.show()["farm"].as_str().unwrap().to_owned();
    // A draft that every slave would refuse: it builds on another farm's first keyring.
    let refused = theirs.text("test-farm.0.1.draft");
    fs::copy(&draft, &refused).unwrap();
    // A name that lies.
    let misnamed = ours.text("test-farm.0.2.draft");
    fs::copy(&draft, &misnamed).unwrap();
    let sign = |draft: &str, key: &str| format!("keys sign {draft} --confirm 0.1 --key {key}");
    let no_master = "is no master key of keyring 0.1";
    let cases = [
        (sign(&draft, &theirs.text("master.key")), 8, no_master),
        (sign(&draft, &ours.text("signing.key")), 8, no_master),
        (
            sign(&draft, &ours.text("no.key")),
            8,
            "cannot read the key file",
        ),
        (sign(&draft, &keyring), 8, "so others can read it"),
        (sign(&keyring, &key), 4, "is not the draft of a keyring"),
        (sign(&misnamed, &key), 4, "which its name does not say"),
        (sign(&refused, &key), 4, "E-PREDECESSOR"),
        (
            sign(&draft, &format!("{key} --farm {their_farm}")),
            4,
            "not of the pinned farm",
        ),
        (format!("keys verify {draft}"), 4, "E-ENVELOPE"),
        (
            format!("keys verify {keyring} --farm {their_farm}"),
            4,
            "E-FARM",
        ),
        (
            format!("keys show {draft}"),
            4,
            "is not a keyring that verifies",
        ),
    ];
    each_fails(&ours, &cases);
    // A sibling that does not belong to the chain.
    fs::remove_file(&refused).unwrap();
    let rotated = theirs.rotate(&["--master-key", &theirs.text("master.key")]);
    assert!(rotated.status.success());
    let sibling = ours.text("test-farm.0.1.keyring");
    fs::copy(theirs.path("test-farm.0.1.keyring"), &sibling).unwrap();
    let not_ours = "test-farm.0.1.keyring is not a keyring that verifies";
    fails_with(&["keys", "show", &keyring], 4, not_ours);
    fails_with(&["keys", "verify", &sibling], 4, "E-PREDECESSOR");
}

#[test]
fn each_wrong_thing_in_hand_is_named_and_nothing_is_made() {
    let (ours, theirs) = (Folder::new(&[]), Folder::new(&[]));
    assert!(ours.rotate(&["--draft"]).status.success());
    let draft = ours.text("test-farm.0.1.draft");
    let (key, keyring) = (ours.text("master.key"), ours.text("test-farm.keyring"));
    let other_farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    let rotate = |more: &str| format!("keys rotate --yes --keyring {keyring} {more}");
    let succeed_with = |key: &str, more: &str| {
        format!(
            "keys rotate --master --confirm 1.0 --keyring {keyring} --successor-key {key} {more}"
        )
    };
    let successor = ours.text("successor.key");
    let others = "announces other successor keys";
    let cases = [
        (rotate(""), 8, "test-farm.0.1.draft is there already"),
        (rotate("--serial 0"), 2, "would change nothing"),
        (rotate("--serial 3"), 2, "who signs?"),
        (
            rotate(&format!("--farm {other_farm}")),
            4,
            "not of the pinned farm",
        ),
        (
            format!("keys rotate --master --keyring {keyring}"),
            2,
            "--successor-key",
        ),
        (succeed_with(&theirs.text("successor.key"), ""), 8, others),
        (succeed_with(&key, ""), 8, others),
        (
            succeed_with(&successor, &format!("--from {draft}")),
            8,
            "is none of the keyrings",
        ),
        (
            succeed_with(&successor, "--compromised AAAA"),
            2,
            "lists no signing key AAAA",
        ),
        (succeed_with(&successor, "--yes"), 2, "cannot be used with"),
        (
            format!("keys revoke AAAA --retired --keyring {keyring}"),
            2,
            "lists no signing key AAAA",
        ),
        (
            format!("keys revoke AAAA --keyring {keyring}"),
            2,
            "--compromised",
        ),
        (format!("keys publish --keyring {keyring}"), 2, "which bus?"),
        (
            "keys init x --masters 2 --threshold 3 --dir /nonexistent".to_owned(),
            2,
            "cannot sign",
        ),
    ];
    each_fails(&ours, &cases);
}
