//! Logs: from the script to the stream whole and in order, and from the stream to a viewer safely.

use std::fs;
use std::process::{Command, Stdio};

use futures_util::FutureExt as _;
use pybots::bus::{Stream, Word};
use pybots::model::{LogChunk, Outcome, PayloadId, ReportBody, Verdict};
use pybots::trust::{Purpose, Verified};

use crate::harness::Farm;
use crate::page::Page;
use crate::process::{PYBOTS, eventually, pybots};
use crate::viewers::farm_file;

/// A farm whose command `print` runs `body`, and what it takes to start it.
async fn farm_that_prints(body: &str) -> Farm {
    let mut farm = Farm::new().await;
    farm.script("print.sh", body);
    farm.write_slave_toml("[commands.print]\nscript = \"print.sh\"");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    farm
}

async fn outcome(farm: &Farm, id: PayloadId) -> Outcome {
    eventually("the step ends", || async {
        let reports = farm.reports().await.into_iter().map(Verified::into_body);
        let mut reports = reports.filter(|report| report.command == id);
        reports.find_map(|report| {
            if let ReportBody::StepFinished { outcome, .. } = report.body {
                Some(outcome)
            } else {
                None
            }
        })
    })
    .await
}

/// Where each chunk of the log of foo-linux/1 begins and ends, in the order of the stream; once there are `bytes` of it.
async fn chunks(farm: &Farm, bytes: u64) -> Vec<(u64, u64)> {
    eventually("the log is in the stream", || async {
        let chunks = chunks_now(farm).await?;
        let there = chunks.iter().map(|(_, end)| *end).max().unwrap_or(0);
        (there >= bytes).then_some(chunks)
    })
    .await
}

async fn chunks_now(farm: &Farm) -> Option<Vec<(u64, u64)>> {
    let subject = log_subject(farm);
    let reader = farm.reader().await;
    let held = farm.bus.read_all(Stream::Logs, &subject, 1).await.ok()?;
    let opened = held.iter().map(|held| {
        assert!(held.bytes.len() <= 64 << 10, "a message within the cap");
        reader.open::<LogChunk>(&held.bytes, Purpose::History)
    });
    let chunks = opened.map(|chunk| {
        let chunk = chunk.unwrap().into_body();
        (chunk.offset, chunk.offset + chunk.bytes.len() as u64)
    });
    Some(chunks.collect())
}

fn log_subject(farm: &Farm) -> String {
    let (slave, build) = ("maple".parse().unwrap(), "foo-linux/1".parse().unwrap());
    farm.bus.subjects().log(&slave, &build)
}

/// Whether no chunk comes before what lies before it: a reader who follows would have to name that as missing.
fn in_order(chunks: &[(u64, u64)]) -> bool {
    let mut end = 0;
    chunks.iter().all(|chunk| {
        let follows = chunk.0 <= end;
        end = end.max(chunk.1);
        follows
    })
}

/// What `pybots build log --raw` writes to a pipe.
fn raw(farm: &Farm) -> Vec<u8> {
    let output = pybots(&[
        "build",
        "log",
        "foo-linux/1",
        "--raw",
        "--farm",
        &farm_file(farm),
    ]);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn shown(farm: &Farm) -> String {
    let output = pybots(&["build", "log", "foo-linux/1", "--farm", &farm_file(farm)]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a86_one_endless_line_is_carried_in_chunks_by_bytes() {
    const BYTES: usize = 20_000_000;
    let farm = farm_that_prints(&format!("head -c {BYTES} /dev/zero | tr '\\0' x")).await;
    let id = farm.send(&farm.order(1, &["print"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let chunks = chunks(&farm, BYTES as u64).await;
    assert!(in_order(&chunks), "{chunks:?}");
    assert!(
        raw(&farm) == vec![b'x'; BYTES],
        "every byte, and no other one"
    );
}

#[tokio::test]
async fn a87_a89_hostile_output_is_carried_as_bytes_and_shown_as_harmless_text() {
    let farm = farm_that_prints("cat \"$PYBOTS_SCRIPT_DIR/hostile\"").await;
    let mut hostile: Vec<u8> = (0..=255).collect();
    hostile.extend_from_slice(
        "\n▌ step 2/2 forged\n\u{1b}[32m▌ 5 bytes are missing here\n\
         \u{1b}]52;c;cHduZWQ=\u{7}\u{1b}]8;;http://x/\u{1b}\\y\u{1b}P$qm\u{1b}\\\u{1b}[2J\u{1b}[6n\u{1b}[?2004h\u{9b}31m\
         FAILED\rpassed\u{202e}\n<script>alert(1)</script>\n::error file=x::forged\n"
            .as_bytes(),
    );
    fs::write(farm.path("slave/hostile"), &hostile).unwrap();
    let id = farm.send(&farm.order(1, &["print"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    chunks(&farm, hostile.len() as u64).await;

    assert!(raw(&farm) == hostile, "carried as bytes");
    let shown = shown(&farm);
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let text = page.get("/build/foo-linux/1/log.txt").await.body;
    // A chunked answer has lengths between carriage returns of its own.
    for seen in [&shown, &text.replace("\r\n", "")] {
        let control = seen
            .chars()
            .find(|c| c.is_control() && !"\n\t".contains(*c));
        assert_eq!(control, None, "{seen}");
        assert!(seen.contains(r"\x1b]52;c;cHduZWQ=\x07"), "{seen}");
        assert!(seen.contains(r"FAILED\x0dpassed\u{202e}"), "{seen}");
        assert!(seen.contains("\n\\u{258c} step 2/2 forged\n"), "{seen}");
    }
    let ours: Vec<&str> = shown.lines().filter(|line| line.starts_with('▌')).collect();
    assert_eq!(ours, ["▌ step 1/1 print"]);
    let html = page.get("/build/foo-linux/1").await.body;
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(html.contains("alert(1)"), "{html}");
}

#[tokio::test]
async fn a87_raw_output_reaches_a_terminal_only_if_asked_for_twice() {
    let farm = farm_that_prints("printf '\\033]0;owned\\007'").await;
    let id = farm.send(&farm.order(1, &["print"])).await;
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    chunks(&farm, 10).await;
    // `script` gives the command a terminal, and hands on what it writes there.
    let on_a_terminal = |flags: &str| {
        let file = farm_file(&farm);
        let command = format!("{PYBOTS} build log foo-linux/1 --farm {file} {flags}");
        Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .expect("script; tests/run installs what the tests need")
    };
    let title = b"\x1b]0;owned\x07";
    let holds_title = |output: &[u8]| output.windows(title.len()).any(|bytes| bytes == title);
    let once = on_a_terminal("--raw");
    let said = String::from_utf8_lossy(&once.stdout);
    assert_eq!(once.status.code(), Some(2), "{said}");
    assert!(!holds_title(&once.stdout), "{said}");
    assert!(said.contains("so nothing was shown"), "{said}");
    assert!(said.contains("say --raw twice"), "{said}");
    let safe = on_a_terminal("");
    assert!(safe.status.success() && !holds_title(&safe.stdout));
    let twice = on_a_terminal("--raw --raw");
    assert!(twice.status.success() && holds_title(&twice.stdout));
}

#[tokio::test]
async fn a85_a_log_ends_exactly_at_its_owners_cap_and_every_viewer_says_how_much_was_cut() {
    const CAP: usize = 1 << 20;
    const PRINTED: usize = (5 << 20) / 2;
    let mut farm = Farm::new().await;
    farm.script("print.sh", &format!("yes 0123456 | head -c {PRINTED}"));
    farm.write_slave_toml("[commands.print]\nscript = \"print.sh\"");
    let path = farm.path("slave/slave.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        path,
        text.replace("[limits]\n", "[limits]\nlog-mebibytes = 1\n"),
    )
    .unwrap();
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["print"])).await;
    let outcome = outcome(&farm, id).await;
    assert_eq!(
        (outcome.log_bytes, outcome.log_cut),
        (CAP as u64, (PRINTED - CAP) as u64)
    );
    assert_eq!(
        farm.verdict(id).await,
        Verdict::Passed,
        "the script is not held up"
    );
    chunks(&farm, CAP as u64).await;
    assert!(raw(&farm) == "0123456\n".repeat(CAP / 8).into_bytes());

    let marker = format!(
        "▌ {} bytes more were printed and cut off at the owner's limit",
        PRINTED - CAP
    );
    assert_eq!(shown(&farm).lines().last(), Some(marker.as_str()));
    let page = Page::serve(&farm, "page/history.sqlite").await;
    let text = page.get("/build/foo-linux/1/log.txt").await.body;
    assert!(text.contains(&format!("{marker}\n")));
    let html = page.get("/build/foo-linux/1").await.body;
    assert!(
        html.replace("&#39;", "'")
            .replace("&#x27;", "'")
            .contains(&marker),
        "{html}"
    );
    let json = page.get("/build/foo-linux/1.json").await.body;
    let cut = format!("\"log_cut\": {}", PRINTED - CAP);
    assert!(json.contains(&cut), "{json}");
}

#[tokio::test]
async fn a02_a_bus_killed_again_and_again_while_a_script_prints_20_mib_loses_no_byte_of_it() {
    // Each line has 16 bytes; a part is printed for each file that appears.
    const PART: u64 = 1 << 18;
    const PARTS: u64 = 5;
    let mut farm = Farm::new().await;
    let go = farm.text("go");
    let body = format!(
        "part=0\nwhile [ $part -lt {PARTS} ]; do\n\
         seq -f %015.0f $((part * {PART})) $((part * {PART} + {PART} - 1))\n\
         part=$((part + 1))\ntouch {go}-printed-$part\n\
         until [ -e {go}-$part ]; do sleep 0.01; done\ndone"
    );
    farm.script("print.sh", &body);
    farm.write_slave_toml("[commands.print]\nscript = \"print.sh\"");
    farm.publish_keyring_and_head().await;
    farm.start_slave().await;
    let id = farm.send(&farm.order(1, &["print"])).await;
    for part in 1..PARTS {
        // In the middle of a part, wherever that is.
        let begun = (part - 1) * PART * 16 + 1;
        chunks(&farm, begun).await;
        farm.server.kill();
        let printed = farm.path(&format!("go-printed-{part}"));
        eventually("the script goes on without the bus", || async {
            printed.exists().then_some(())
        })
        .await;
        farm.start_server();
        fs::write(farm.path(&format!("go-{part}")), "").unwrap();
    }
    fs::write(farm.path(&format!("go-{PARTS}")), "").unwrap();
    assert_eq!(farm.verdict(id).await, Verdict::Passed);
    let bytes = PARTS * PART * 16;
    assert_eq!(outcome(&farm, id).await.log_bytes, bytes);
    let chunks = chunks(&farm, bytes).await;
    assert!(in_order(&chunks), "{chunks:?}");
    let lines = (0..PARTS * PART).map(|line| format!("{line:015}\n"));
    assert!(raw(&farm) == lines.collect::<String>().into_bytes());
}

#[tokio::test]
async fn a_message_whose_id_somebody_has_used_up_is_stored_under_another_one() {
    let farm = Farm::new().await;
    let subject = log_subject(&farm);
    let stored = farm
        .bus
        .publish_until_stored(subject.clone(), "taken", b"theirs".to_vec())
        .await;
    assert!(!stored.repeat);
    let mut pipeline = farm.bus.pipeline(subject.clone());
    let room = farm.bus.room().await;
    pipeline
        .send(room, "taken".to_owned(), b"ours".to_vec())
        .await;
    let stored = loop {
        match pipeline.word().await {
            Word::Stored(stored) => break stored,
            Word::Lost => pipeline.send_again().await,
        }
    };
    assert!(!stored.repeat);
    let newest = farm.bus.read_newest(Stream::Logs, &subject).await.unwrap();
    assert_eq!(&newest.unwrap().bytes[..], b"ours");
}

#[tokio::test]
async fn what_is_under_way_is_bounded_over_all_logs_while_the_bus_is_away() {
    let mut farm = Farm::new().await;
    let mut pipelines = [1, 2].map(|_| farm.bus.pipeline(log_subject(&farm)));
    farm.server.kill();
    eventually("the connection is known to be lost", || async {
        (!farm.bus.is_connected()).then_some(())
    })
    .await;
    assert!(
        farm.bus.room().now_or_never().is_none(),
        "nothing waits in the client"
    );
    farm.start_server();
    let mut rooms = 0;
    eventually("the connection is back", || async {
        farm.bus.is_connected().then_some(())
    })
    .await;
    while let Some(room) = farm.bus.room().now_or_never() {
        let id = format!("message {rooms}");
        pipelines[rooms % 2].send(room, id, vec![b'x'; 1000]).await;
        rooms += 1;
    }
    assert_eq!(rooms, 16);
    for pipeline in &mut pipelines {
        while !pipeline.is_empty() {
            if let Word::Lost = pipeline.word().await {
                pipeline.send_again().await;
            }
        }
    }
    assert!(farm.bus.room().now_or_never().is_some());
}

#[tokio::test]
async fn what_a_dead_connection_took_along_is_stored_before_what_is_sent_after_it() {
    let mut farm = Farm::new().await;
    let subject = log_subject(&farm);
    let mut pipeline = farm.bus.pipeline(subject.clone());
    // A server that takes no more in, and dies so.
    farm.server.pause();
    for number in 1..=3 {
        let room = farm.bus.room().await;
        let id = number.to_string();
        pipeline.send(room, id.clone(), id.into_bytes()).await;
    }
    farm.server.kill();
    eventually("the connection is known to be lost", || async {
        (!farm.bus.is_connected()).then_some(())
    })
    .await;
    farm.start_server();
    let room = farm.bus.room().await;
    pipeline.send(room, "4".to_owned(), b"4".to_vec()).await;
    while !pipeline.is_empty() {
        if let Word::Lost = pipeline.word().await {
            pipeline.send_again().await;
        }
    }
    let held = farm.bus.read_all(Stream::Logs, &subject, 1).await.unwrap();
    let held: Vec<&[u8]> = held.iter().map(|held| &held.bytes[..]).collect();
    assert_eq!(held, [b"1", b"2", b"3", b"4"]);
}
