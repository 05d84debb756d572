//! What tells of keys and signatures.

use super::*;
use crate::status::verify::sample::Case;

#[test]
fn a_verification_is_one_document_with_whatever_was_signed() {
    let mut case = Case::small();
    case.bodies = vec![ended(0, 1)];
    let mut bundle = case.bundle();
    bundle.rosters.push(bundle.rosters[0].clone());
    let mut out = Vec::new();
    let found = crate::status::verify(case.sample.farm, &bundle, &[]);
    write_verification(&found, &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    {
      "schema": "pybots.verification.v1",
      "verified": false,
      "farm": "SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA",
      "farm_words": "horse oxygen mixture chimney knock doctor butter hen",
      "farm_name": "sample",
      "keyring": "0.0",
      "build": "foo-maple/2",
      "verdict": null,
      "slave": "maple",
      "command": "SHA256:Pg5+vDULGtLR1JbY3izJmH4G3bk1bskcvHa+WyPBCtA",
      "signed": [
        {
          "kind": "roster",
          "id": "SHA256:pKe9H2B/xCkQiFkOGUGJjadKFXGTaVJL+JiRQmObLmc",
          "signer": "SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw",
          "issued": "2026-11-22T18:00:00.000Z",
          "sequence": 3
        },
        {
          "kind": "command",
          "id": "SHA256:Pg5+vDULGtLR1JbY3izJmH4G3bk1bskcvHa+WyPBCtA",
          "signer": "SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw",
          "issued": "2026-11-22T18:03:20.000Z",
          "sequence": null
        },
        {
          "kind": "report",
          "id": "SHA256:aYW6rWN+XRt38BNIldPiyypSuLKN4q1E54faIgAKzNo",
          "signer": "SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk",
          "issued": "2026-11-22T18:03:20.000Z",
          "sequence": 1,
          "event": "step-finished",
          "step": 1,
          "outcome": {
            "verdict": "failed",
            "exit": 1,
            "signal": null,
            "duration_ms": 9400,
            "cpu_ms": 7250,
            "peak_memory": 94371840,
            "log": "SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM",
            "log_bytes": 6,
            "log_cut": 0,
            "tests": null,
            "limit": null,
            "peak_processes": 7,
            "counted": "sampled"
          }
        }
      ],
      "logs": [
        {
          "step": 1,
          "bytes": 6,
          "missing": 0,
          "cut": 0,
          "digest": "fits"
        }
      ],
      "notes": [
        "judged by keyring 0.0; a newer one, if there is one, may say otherwise"
      ],
      "findings": [
        {
          "code": "E-UNNECESSARY",
          "part": "roster no. 2",
          "why": "one roster is needed"
        }
      ]
    }
    "#);
}

#[test]
fn the_keys_are_one_document() {
    let sample = Sample::new();
    let mut out = Vec::new();
    write_keys(
        &sample.farm(),
        sample.reader.chain(),
        &sample.board(),
        at(100),
        &mut out,
    )
    .unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    {
      "schema": "pybots.keys.v1",
      "farm": {
        "name": "sample",
        "id": "SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA",
        "words": "horse oxygen mixture chimney knock doctor butter hen"
      },
      "keyring": "0.0",
      "issued": "2026-11-22T18:00:00.000Z",
      "expires": "2026-12-04T07:46:40.000Z",
      "threshold": 1,
      "master_keys": [
        {
          "key": "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
          "id": "SHA256:3S+04YteHOMMRjOqpfaB2nnDsymYzFqiGxFJw3Ixpqw"
        }
      ],
      "commitment": "SHA256:t6rYv7XfqRIRo+PxvhplvOUDp8Q2g38PSHW7TQd0Qxw",
      "signing_keys": [
        {
          "key": "ed25519:7UkoxijRwsbq6QM4kFmVYSlZJzpcY/k2NsFGFKyHN9E",
          "id": "SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw",
          "not_before": "1970-01-01T00:00:00.000Z",
          "not_after": "2026-12-04T07:46:40.000Z",
          "state": "in-force"
        }
      ],
      "revoked": [
        {
          "key": "ed25519:iodf/x6zhFFXes1a/uQFRWVo3XyJ4JCGOgVXvHr0nxc",
          "id": "SHA256:yOCsQ4TWFww0H8jKTbjNo80wcxOEIUTPogAVXaz+ThM",
          "not_before": "1970-01-01T00:00:00.000Z",
          "not_after": "2026-12-04T07:46:40.000Z",
          "state": "revoked",
          "reason": "compromised",
          "revoked": "2026-11-22T18:00:00.000Z"
        }
      ],
      "generations": [
        {
          "keyring": "0.0",
          "issued": "2026-11-22T18:00:00.000Z",
          "threshold": 1,
          "master_keys": [
            {
              "key": "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w",
              "id": "SHA256:3S+04YteHOMMRjOqpfaB2nnDsymYzFqiGxFJw3Ixpqw"
            }
          ],
          "commitment": "SHA256:t6rYv7XfqRIRo+PxvhplvOUDp8Q2g38PSHW7TQd0Qxw"
        }
      ],
      "fault": null,
      "held": {
        "sentence": "0 of 2 slaves hold 0.0; waiting for elm, maple",
        "holding": [],
        "waiting": [
          {
            "slave": "elm",
            "keyring": null
          },
          {
            "slave": "maple",
            "keyring": null
          }
        ]
      }
    }
    "#);
}
