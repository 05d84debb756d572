//! What `pybots explain` says of every file is what its opener says.

use bytes::Bytes;
use pybots::model::FarmId;
use pybots::status::{Explanation, Known, Signature, explain, json, text};
use pybots::trust::Purpose;
use pybots::wire::{Kind, Shape};

use crate::{bad, farm, good, on_disk};

fn explained(name: &str, kind: Option<Kind>, farm: FarmId, purpose: Purpose) -> Explanation {
    let known = Known {
        farm: Some(farm),
        reader: (farm == farm::golden().0).then(farm::reader),
        kind,
        purpose,
    };
    explain(known, &Bytes::from(on_disk(name)))
}

/// Both ways to show it, which must hold nothing that could steer a terminal.
fn shown(found: &Explanation) -> String {
    let mut shown = Vec::new();
    text::write_explanation(found, text::Style::Plain, &mut shown).expect("memory takes it all");
    json::write_explanation(found, &mut shown).expect("memory takes it all");
    String::from_utf8(shown).expect("text")
}

#[test]
fn every_bad_file_is_said_to_break_the_rule_that_it_breaks() {
    let mut wrong = Vec::new();
    for bad in bad::all() {
        let name = format!("bad/{}.cbor", bad.name);
        // Told what it should be; and not told, where the file itself says so.
        let kinds = match bad.code {
            "E-KIND" => vec![Some(bad.kind)],
            _ => vec![Some(bad.kind), None],
        };
        for kind in kinds {
            let found = explained(&name, kind, bad.farm, bad.purpose);
            let code = found.broken.as_ref().map(|broken| broken.code);
            if code != Some(bad.code) {
                wrong.push(format!("{name} as {kind:?}: {code:?}, not {}", bad.code));
            }
            let shown = shown(&found);
            if !shown.contains(&format!("({})\n", bad.code)) {
                wrong.push(format!("{name}: the text does not end in the code"));
            }
            if shown.chars().any(|c| c.is_control() && c != '\n') {
                wrong.push(format!("{name}: a control character is shown"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_good_file_is_said_to_break_no_rule_and_shows_its_fields_and_its_id() {
    for good in good::all() {
        let name = format!("good/{}.cbor", good.name);
        let found = explained(&name, None, good.farm, good.purpose);
        assert_eq!(found.broken, None, "{name}");
        assert_eq!(found.signature, Some(Signature::Matches), "{name}");
        assert_eq!(
            found.shape == Shape::Keyring,
            good.kind == Kind::Keyring,
            "{name}"
        );
        let shown = shown(&found);
        assert!(shown.contains(&good.id.to_string()), "{name}\n{shown}");
        for envelope in &found.envelopes {
            assert_eq!(envelope.anatomy.kind(), Some(good.kind), "{name}");
            assert!(envelope.fields.is_some(), "{name}");
        }
        let mut signers: Vec<Vec<u8>> = good.signers.iter().map(|key| key.0.to_vec()).collect();
        signers.sort();
        let mut found: Vec<Vec<u8>> = found
            .envelopes
            .iter()
            .filter_map(|envelope| envelope.anatomy.key_id.clone())
            .collect();
        found.sort();
        assert_eq!(found, signers, "{name}");
    }
}

#[test]
fn without_keys_every_rule_is_checked_that_needs_none() {
    let known = |farm| Known {
        farm,
        reader: None,
        kind: None,
        purpose: Purpose::History,
    };
    let golden = Some(farm::golden().0);
    for (name, farm, expected) in [
        ("good/head.cbor", None, None),
        ("good/head.cbor", golden, None),
        ("good/head.cbor", Some(FarmId([9; 32])), Some("E-FARM")),
        ("good/report-finished.cbor", golden, None),
        ("good/roster.cbor", golden, None),
        ("bad/signature-zero.cbor", golden, None),
        ("bad/payload-float.cbor", golden, Some("E-PAYLOAD")),
        ("bad/envelope-no-tag.cbor", golden, Some("E-ENVELOPE")),
    ] {
        let found = explain(known(farm), &Bytes::from(on_disk(name)));
        let code = found.broken.map(|broken| broken.code);
        assert_eq!(code, expected, "{name}");
        assert!(
            matches!(found.signature, Some(Signature::NotChecked(_))),
            "{name}"
        );
    }
    // A first keyring is held against itself.
    let found = explain(known(None), &Bytes::from(on_disk("good/keyring.cbor")));
    assert_eq!((found.broken, found.notes.len()), (None, 1));
}

#[test]
fn a_head_is_explained_layer_by_layer() {
    let found = explained("good/head.cbor", None, farm::golden().0, good::ADMIT);
    let mut shown = Vec::new();
    text::write_explanation(&found, text::Style::Plain, &mut shown).expect("memory takes it all");
    let shown = String::from_utf8(shown).expect("text");
    insta::assert_snapshot!(shown, @r#"
    size        201 bytes
    framing     201 bytes: tag 18, an array of 4
    protected   {1: -19, 3: "application/vnd.pybots.head.v1+cbor", 4: h'df8534b253850532d848039d3ff84290439e14706b55db70007af45822fa1144'}
      algorithm -19 (Ed25519)
      kind      head
      key       SHA256:34U0slOFBTLYSAOdP/hCkEOeFHBrVdtwAHr0WCL6EUQ
    unprotected {}
    payload     52 bytes, id SHA256:dMXhgba+VNSRtASFOfwYHuGZaMpnGcFH+wVcSajeBCw
      content   {0: h'21219c4ae30808b07250660aa48eb239dd04af491d034759b8e97dfbc9038415', 1: [0, 0], 2: 7, 3: 1795370400000000}
      fields
        farm SHA256:ISGcSuMICLByUGYKpI6yOd0Er0kdA0dZuOl9+8kDhBU
        keyring 0.0
        roster 7
        time 2026-11-22T18:00:00.000Z
    signature   64 bytes: h'99e32b7de05958d2de94f9220189437389d199ffc9fb5817359e353a47ae2bd6c9afba99d0dcab86426abe51c8112a325fc7a16c890ee2028596596eacda790c'
    checked     the signature matches
    breaks no rule that was looked at
    "#);
}

#[test]
fn no_beginning_of_a_file_is_too_short_to_be_explained() {
    for name in ["good/report-finished.cbor", "good/keyring.cbor"] {
        let whole = on_disk(name);
        for len in 0..whole.len() {
            let known = Known {
                farm: None,
                reader: None,
                kind: None,
                purpose: Purpose::History,
            };
            let found = explain(known, &Bytes::copy_from_slice(&whole[..len]));
            assert!(found.broken.is_some(), "{name}, {len} bytes");
            shown(&found);
        }
    }
}
