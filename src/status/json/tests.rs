//! The documents, word for word.

mod signed;

use super::*;
use crate::model::Verdict;
use crate::status::sample::{Sample, at, ended, finished, started, text};
use crate::trust::seal;

fn board(sample: &Sample) -> Board {
    let mut board = sample.board();
    board.apply(sample.changed(1, 'a'));
    board.apply(sample.present("maple", at(290)));
    let (first, second) = (
        sample.order("foo-maple", 1, 'a'),
        sample.order("foo-maple", 2, 'b'),
    );
    board.apply(sample.ordered(1, &first));
    board.apply(sample.ordered(2, &second));
    for event in sample.run(&first, 1, Verdict::Failed) {
        board.apply(event);
    }
    board.apply(sample.reported(&second, 7, 1, started(1, at(204))));
    board
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is the document, word for word")]
fn a_board_is_one_document() {
    let sample = Sample::new();
    let mut board = board(&sample);
    let mut roster = sample.roster(2);
    roster.lines.truncate(1);
    roster.lines[0].builders.truncate(1);
    board.set_roster(roster);
    let unknown = sample.order("foo-maple", 9, 'f');
    board.apply(sample.reported(&unknown, 8, 1, finished(Verdict::Passed)));
    board.apply(sample.delivered(99, b"junk".to_vec()).into());
    let mut out = Vec::new();
    let bus = BusState::Away { since: at(290) };
    write_board(&sample.farm(), &board, bus, at(300), &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    {
      "schema": "pybots.board.v1",
      "farm": {
        "name": "sample",
        "id": "SHA256:bdPKORQHvICH01ndg4gqODqcPcbri0zEHVLi3BsanyA",
        "words": "horse oxygen mixture chimney knock doctor butter hen"
      },
      "now": "2026-11-22T18:05:00.000Z",
      "bus": "away",
      "bus_away_since": "2026-11-22T18:04:50.000Z",
      "keys_fault": null,
      "sentence": "foo has been failing for 3 min on its only builder.",
      "rows": [
        {
          "builder": "foo-maple",
          "project": "foo",
          "branches": [
            {
              "repository": "cpython",
              "branch": "main"
            }
          ],
          "status": "failed",
          "verdict": "failed",
          "build": 1,
          "sources": [
            {
              "repository": "cpython",
              "branch": "main",
              "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            }
          ],
          "ended": "2026-11-22T18:02:00.000Z",
          "age_s": 180,
          "since": "2026-11-22T18:02:00.000Z",
          "since_build": 1,
          "since_or_longer": false,
          "disputed": false,
          "behind": 0,
          "newest": null,
          "running": {
            "build": 2,
            "state": "running",
            "step": 2,
            "steps": 2,
            "name": "test-project",
            "since": "2026-11-22T18:03:24.000Z"
          },
          "waiting": 0,
          "recent": [
            {
              "build": 1,
              "state": "failed",
              "verdict": "failed"
            },
            {
              "build": 2,
              "state": "running",
              "verdict": null
            }
          ],
          "slave": "maple",
          "slave_state": "active",
          "last_seen": "2026-11-22T18:04:50.000Z",
          "silent": false,
          "paused_until": null,
          "clock_offset": null,
          "missing_reports": 0,
          "chain": {
            "missing": 0,
            "broken": 0,
            "forked": 0,
            "forked_from": null,
            "cloned": false
          }
        }
      ],
      "strays": [
        {
          "why": "no-such-command",
          "sequence": 8,
          "stored": "2026-11-22T18:15:01.001Z",
          "issued": "2026-11-22T18:15:01.000Z",
          "report": "SHA256:y0mDg5uGxlFtwLOfDXzo/dTaUTh6UonpSHdRxzMvI14",
          "signer": "SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk",
          "build": "foo-maple/9",
          "slave": "maple",
          "command": "SHA256:J5LXEMHxuN9lc3uI85jVC/xQyGkPvISip4AQ8AYShOU",
          "slave_sequence": 8,
          "keyring": "0.0",
          "event": "finished",
          "verdict": "passed",
          "log": "SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA",
          "isolation": "plain",
          "network": "on",
          "detail": null
        }
      ],
      "unproven": [
        {
          "stream": "RESULTS",
          "sequence": 99,
          "stored": "2026-11-22T18:08:20.000Z",
          "subject": "pybots.nxj4uoiua6.result.maple.foo-maple",
          "code": "E-ENVELOPE",
          "why": "message is not a signed envelope: unexpected type string at position 0: expected tag"
        }
      ]
    }
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is the document, word for word")]
fn a_build_is_one_document() {
    let sample = Sample::new();
    let board = board(&sample);
    let build = board.build(&"foo-maple/1".parse().unwrap()).unwrap();
    let mut out = Vec::new();
    write_build(&board, build, at(300), &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    {
      "schema": "pybots.build.v1",
      "build": "foo-maple/1",
      "command": "SHA256:y0zJe6+F7L09szxprBXKA3taVApfcpR29vHGB0+kxso",
      "signer": "SHA256:ctFvr8flSXYYJGF4Yx1lD+8BpKyncMll3YtVF2C61tw",
      "proven": true,
      "project": "foo",
      "slave": "maple",
      "state": "failed",
      "verdict": "failed",
      "detail": null,
      "code": null,
      "disputed": false,
      "contradictions": [],
      "chain": {
        "missing": 0,
        "broken": 0,
        "forked": 0,
        "forked_from": null,
        "cloned": false
      },
      "cancelled": null,
      "reason": "check-in on cpython main",
      "requester": null,
      "retry_of": null,
      "attempt": 1,
      "sources": [
        {
          "repository": "cpython",
          "branch": "main",
          "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        }
      ],
      "covers": [
        {
          "change": "SHA256:RwWhWBiTAF57cZF5JV9UIJTuwR2oX6BmMurq/uqFWvA",
          "repository": "cpython",
          "branch": "main",
          "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "commits": [
            {
              "revision": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
              "author": "Eve",
              "subject": "Remove frobnicate"
            }
          ],
          "more_commits": 0
        }
      ],
      "since_last_pass": null,
      "steps": [
        {
          "name": "build-python",
          "started": "2026-11-22T18:01:40.006Z",
          "script": "SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw",
          "mapped": null,
          "isolation": "namespaces",
          "network": "off",
          "outcome": {
            "verdict": "passed",
            "exit": 0,
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
        },
        {
          "name": "test-project",
          "started": "2026-11-22T18:01:50.000Z",
          "script": "SHA256:dchNIKCqkMWen0O760wOS9QuTFGES7y+zE80em6wToo",
          "mapped": null,
          "isolation": "namespaces",
          "network": "off",
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
            "tests": {
              "passed": 41,
              "failed": 1,
              "skipped": 2,
              "failing": [],
              "unlisted": 0,
              "warnings": []
            },
            "limit": null,
            "peak_processes": 7,
            "counted": "sampled"
          }
        }
      ],
      "ordered": "2026-11-22T18:01:40.000Z",
      "finish_by": "2026-11-22T18:03:00.000Z",
      "received": "2026-11-22T18:01:40.002Z",
      "ordered_to_received_us": 2300,
      "received_to_started_us": 4100,
      "ended": "2026-11-22T18:02:00.000Z",
      "stored": "2026-11-22T18:02:00.001Z",
      "report": "SHA256:VtOc33fJVVWeNWfumm+Y5hYbP28t2uDKl66QexT5G3g",
      "report_signer": "SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk",
      "log": "SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA",
      "isolation": "plain",
      "network": "on"
    }
    "#);
}

#[test]
fn an_entry_is_one_line() {
    let sample = Sample::new();
    let order = sample.order("foo-maple", 42, 'a');
    let bodies = [
        ReportBody::Accepted { received: at(0) },
        ReportBody::Refused {
            code: text("E-EXPIRED"),
            detail: text("nothing ran"),
        },
        ReportBody::Deferred { until: at(9_000) },
        started(0, at(1)),
        ended(1, 3),
        finished(Verdict::Passed),
        ReportBody::Lost {
            detail: text("the slave was restarted"),
        },
    ];
    let mut out = Vec::new();
    for (sequence, body) in (1..).zip(bodies) {
        let report = sample.said(&order, sequence, sequence, body);
        let bytes = seal(&sample.maple, &sample.farm, &report).bytes;
        write_entry(&sample.delivered(sequence, bytes), &mut out).unwrap();
    }
    write_entry(&sample.delivered(9, b"junk".to_vec()), &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    {"schema":"pybots.entry.v1","kind":"report","sequence":1,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:01.000Z","report":"SHA256:2falOMbZLp2ssBZrV6yU7vDJmSdPTfsr7zSSq77Cj3A","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":1,"keyring":"0.0","event":"accepted","received":"2026-11-22T18:00:00.000Z"}
    {"schema":"pybots.entry.v1","kind":"report","sequence":2,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:02.000Z","report":"SHA256:qN25iLsmSKw0gDKLYTfWmcxuTY1zaNCc/cZ1lwJIclU","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":2,"keyring":"0.0","event":"refused","code":"E-EXPIRED","detail":"nothing ran"}
    {"schema":"pybots.entry.v1","kind":"report","sequence":3,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:03.000Z","report":"SHA256:NqboaxwZt09yzeP3nlntAe8/WgaJau098ZSBciSpxDA","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":3,"keyring":"0.0","event":"deferred","until":"2026-11-22T20:30:00.000Z"}
    {"schema":"pybots.entry.v1","kind":"report","sequence":4,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:04.000Z","report":"SHA256:qCf21H/UNNg3iXpdRa6BK5xkU109GGWTNZXhobtr5Bs","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":4,"keyring":"0.0","event":"step-started","step":1,"name":"build-python","started":"2026-11-22T18:00:01.000Z","script":"SHA256:41xLCpDuDK89JKApC4lZAuDf9ylHZI0NywprI9xoOpw","mapped":null,"isolation":"namespaces","network":"off"}
    {"schema":"pybots.entry.v1","kind":"report","sequence":5,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:05.000Z","report":"SHA256:Nd0xrUVKJmcjEa47SKxzXICm0BGglljGqa7rXAFe6Uo","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":5,"keyring":"0.0","event":"step-finished","step":2,"outcome":{"verdict":"failed","exit":3,"signal":null,"duration_ms":9400,"cpu_ms":7250,"peak_memory":94371840,"log":"SHA256:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM","log_bytes":6,"log_cut":0,"tests":{"passed":41,"failed":3,"skipped":2,"failing":[],"unlisted":0,"warnings":[]},"limit":null,"peak_processes":7,"counted":"sampled"}}
    {"schema":"pybots.entry.v1","kind":"report","sequence":6,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:06.000Z","report":"SHA256:6e/GMLUIiNqnH+lY4C8fLCmgBn/89h335JJcjCgOskk","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":6,"keyring":"0.0","event":"finished","verdict":"passed","log":"SHA256:mPOPEtsiGoz4ynqt/c11mwHVLrTrs+7bstl+koBcaWA","isolation":"plain","network":"on","detail":null}
    {"schema":"pybots.entry.v1","kind":"report","sequence":7,"stored":"2026-11-22T18:08:20.000Z","issued":"2026-11-22T19:10:07.000Z","report":"SHA256:zn/cd2HnXxsO+nVw3ZHxpmB01/EaBAUBCSNFmx6GKvA","signer":"SHA256:JdisMM5essNk4PjlvU0AF5PwFli5wFUt8G9mZ4FpZdk","build":"foo-maple/42","slave":"maple","command":"SHA256:62/sQdGPpIubK5SWAwfrLPQE6dbAPyV/avfkQaeRCdk","slave_sequence":7,"keyring":"0.0","event":"lost","detail":"the slave was restarted"}
    {"schema":"pybots.entry.v1","kind":"unproven","stream":"RESULTS","sequence":9,"stored":"2026-11-22T18:08:20.000Z","subject":"pybots.nxj4uoiua6.result.maple.foo-maple","code":"E-ENVELOPE","why":"message is not a signed envelope: unexpected type string at position 0: expected tag"}
    "#);
}

#[test]
fn a_list_of_builds_is_one_document_with_each_build_in_full() {
    let sample = Sample::new();
    let board = board(&sample);
    let builds: Vec<&BuildStatus> = board.builds().collect();
    let written = |builds: &[&BuildStatus]| -> serde_json::Value {
        let mut out = Vec::new();
        write_builds(&board, builds, at(300), &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let list = written(&builds);
    assert_eq!(list["schema"], "pybots.builds.v1");
    assert_eq!(list["now"], "2026-11-22T18:05:00.000Z");
    assert_eq!(list["builds"][0]["build"], "foo-maple/1");
    let mut one = Vec::new();
    write_build(&board, builds[1], at(300), &mut one).unwrap();
    let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
    assert_eq!(list["builds"][1], one);
    assert_eq!(written(&[])["builds"], serde_json::json!([]));
}

#[test]
fn what_changed_since_the_last_pass_is_part_of_a_build() {
    let sample = Sample::new();
    let mut board = sample.board();
    for (number, digit, verdict) in [(1, 'a', Verdict::Passed), (2, 'b', Verdict::Failed)] {
        let order = sample.order("foo-maple", number, digit);
        board.apply(sample.changed(number, digit));
        board.apply(sample.ordered(number, &order));
        for event in sample.run(&order, number * 10, verdict) {
            board.apply(event);
        }
    }
    let since = |id: &str| {
        let mut out = Vec::new();
        write_build(
            &board,
            board.build(&id.parse().unwrap()).unwrap(),
            at(300),
            &mut out,
        )
        .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        document["since_last_pass"].clone()
    };
    let told = since("foo-maple/2");
    assert_eq!(told["build"], 1);
    assert_eq!(told["sources"][0]["from"], "a".repeat(40));
    assert_eq!(told["sources"][0]["to"], "b".repeat(40));
    assert_eq!(told["sources"][0]["way"], "unknown");
    assert_eq!(told["changes"][0]["commits"][0]["author"], "Eve");
    assert_eq!(
        (&told["more_commits"], &told["incomplete"]),
        (&0.into(), &true.into())
    );
    assert!(since("foo-maple/1").is_null());
}
