use super::*;
use crate::model::Timestamp;
use crate::status::verify::sample::Case;
use crate::trust::{SecretKey, commitment, countersign};
use crate::wire::encode;

fn explained(farm: Option<FarmId>, bytes: &Bytes) -> Explanation {
    let known = Known {
        farm,
        reader: None,
        kind: None,
        purpose: Purpose::History,
    };
    explain(known, bytes)
}

#[test]
fn a_bundle_is_explained_by_its_parts_and_the_first_rule_that_it_breaks() {
    let case = Case::new();
    let farm = case.sample.farm;
    let file = case.bundle().to_bytes().unwrap();
    let found = explained(Some(farm), &file);
    assert_eq!((found.shape, found.broken), (Shape::Bundle, None));
    let parts: Vec<String> = found.parts.iter().map(|it| it.part.to_string()).collect();
    assert_eq!(parts[..3], ["keyring no. 1", "roster no. 1", "the command"]);
    assert!(found.parts.iter().all(|part| part.id.is_some()));
    assert_eq!(found.parts[2].id, Some(case.command_id()));

    for (farm, bytes, expected) in [
        (None, file.clone(), None),
        (Some(FarmId([9; 32])), file.clone(), Some("E-FARM")),
        (Some(farm), file.slice(..1000), Some("E-TRUNCATED")),
    ] {
        let broken = explained(farm, &bytes).broken;
        assert_eq!(broken.map(|broken| broken.code), expected);
    }
}

#[test]
fn a_later_keyring_is_explained_by_the_chain_that_is_held() {
    let [master, signing] = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let first = Keyring {
        name: "test".parse().unwrap(),
        position: Position::default(),
        previous: None,
        issued: Timestamp(0),
        expires: Timestamp(9),
        master_keys: vec![master.public()],
        threshold: 1,
        commitment: commitment(1, &[signing.public()]),
        signing_keys: vec![],
        revoked: vec![],
    };
    let signed = |keyring: &Keyring, by: &SecretKey| -> Bytes {
        countersign(&[by], keyring).unwrap().to_bytes().into()
    };
    let id = payload_id(&encode(&first));
    let later = |serial, expires| Keyring {
        position: Position {
            generation: 0,
            serial,
        },
        previous: Some(id),
        expires: Timestamp(expires),
        ..first.clone()
    };
    let farm = FarmId(id.0);
    let first_bytes = signed(&first, &master);
    let held = |keyrings: &[&Bytes]| {
        let mut reader = Reader::new(farm, &first_bytes).unwrap();
        for keyring in keyrings {
            reader.learn_keyring(keyring).unwrap();
        }
        Some(reader)
    };
    let second = signed(&later(1, 9), &master);
    let not_checked = |why| Signature::NotChecked(why);
    for (what, reader, bytes, signature, code) in [
        ("newer", held(&[]), second.clone(), Signature::Matches, None),
        (
            "held",
            held(&[&second]),
            second.clone(),
            not_checked(OLD),
            None,
        ),
        (
            "forked",
            held(&[&second]),
            signed(&later(1, 8), &master),
            Signature::Matches,
            Some("E-FORK"),
        ),
        (
            "forged",
            held(&[]),
            signed(&later(2, 9), &signing),
            Signature::DoesNotMatch,
            Some("E-SIGNATURE"),
        ),
        ("alone", None, second.clone(), not_checked(NO_KEYS), None),
    ] {
        let known = Known {
            farm: Some(farm),
            reader,
            kind: None,
            purpose: Purpose::History,
        };
        let found = explain(known, &bytes);
        assert_eq!(found.signature, Some(signature), "{what}");
        assert_eq!(found.broken.map(|broken| broken.code), code, "{what}");
    }
}

#[test]
fn what_is_no_message_at_all_is_explained_as_that() {
    for bytes in [&b""[..], b"hello\n", b"\x80", b"\xd2", b"\xff"] {
        let found = explained(None, &Bytes::from_static(bytes));
        assert_eq!(
            found.broken.map(|broken| broken.code),
            Some("E-ENVELOPE"),
            "{bytes:?}"
        );
    }
}
