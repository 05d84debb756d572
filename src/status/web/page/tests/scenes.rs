//! Farms to render.

use std::collections::BTreeMap;

use crate::model::{
    Build, BuilderName, Change, Commit, FailedTest, InstanceId, Position, Presence, ReportBody,
    TestResults, Verdict,
};
use crate::status::board::{Board, Event};
use crate::status::log_window::{Chosen, LineText, LogLine, LogWindow};
use crate::status::sample::{Sample, at, ended, finished, revision, started, text};
use crate::trust::Verified;

/// Foo-maple with builds from number 1 on, each of the next revision.
pub(super) fn small_farm(verdicts: &[Verdict]) -> (Sample, Board) {
    let sample = Sample::new();
    let mut roster = sample.roster(2);
    roster.lines.truncate(1);
    roster.lines[0].builders.truncate(1);
    let mut board = sample.board();
    board.set_roster(roster);
    board.apply(sample.present("maple", at(240)));
    for ((number, digit), verdict) in (1..).zip(['a', 'b', 'c', 'd']).zip(verdicts) {
        let order = sample.order("foo-maple", number, digit);
        board.apply(sample.changed(number, digit));
        add(&sample, &mut board, &order, number * 10, *verdict);
    }
    (sample, board)
}

fn add(sample: &Sample, board: &mut Board, order: &Build, place: u64, verdict: Verdict) {
    board.apply(sample.ordered(place, order));
    for event in sample.run(order, place, verdict) {
        board.apply(event);
    }
}

/// Lines 10 to 39 of the second step, in colours.
pub(super) fn window() -> LogWindow {
    let line = |number: u64| LogLine {
        number,
        text: match number % 10 {
            3 => LineText::Output("\x1b[32mtest_adopt ... ok\x1b[0m".to_owned()),
            5 => LineText::Output(
                "\x1b[1;31mFAIL: test_frobnicate (tests.TestFoo)\x1b[0m".to_owned(),
            ),
            7 => LineText::Note("512 bytes are missing here".to_owned()),
            _ => LineText::Output(format!("test_{number} ... ok")),
        },
    };
    LogWindow {
        step: 1,
        from: 0,
        to: 6_000,
        bytes: 6_000,
        first_line: 10,
        next_line: 40,
        lines: (10..40).map(line).collect(),
        earlier: None,
        later: false,
        chosen: Chosen::ByDefault,
    }
}

/// Texts that try to be something else. The escape and the change of direction are tried as far as the wire lets them.
fn texts() -> Vec<String> {
    [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=\"alert(1)\">",
        "' onmouseover='alert(1)",
        "javascript:alert(1)",
        "</bdi></code></li></ol><svg/onload=alert(1)>",
        "{{ frame.title }} &lt;b&gt; &#60;b&#62; &amp; <!-- -->",
        "\u{5d0}\u{5d1}\u{5d2} \u{627}\u{644} (Eve) ]]>",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A farm in which every free text is hostile, and those texts.
pub(super) fn hostile() -> (Sample, Board, Vec<String>) {
    let (sample, mut board) = small_farm(&[Verdict::Passed]);
    let texts = texts();
    let commits = texts.iter().map(|raw| Commit {
        revision: revision('b'),
        author: text(raw),
        subject: text(raw),
        committed: at(0),
    });
    let change = Change {
        commits: commits.collect(),
        previous: Some(revision('a')),
        ..sample.change('b').into_body()
    };
    let change = sample.verify(&sample.signing, &change);
    let mut order = sample.order("foo-maple", 2, 'b');
    order.covers = vec![change.id()];
    order.reason = text(&texts[1]);
    order.requester = Some(text(&texts[2]));
    board.apply(Event::Changed {
        sequence: 2,
        change,
    });
    board.apply(sample.ordered(20, &order));
    let ReportBody::Finished {
        log,
        isolation,
        network,
        ..
    } = finished(Verdict::Failed)
    else {
        panic!("another report")
    };
    let mut body = ended(1, 1);
    if let ReportBody::StepFinished { outcome, .. } = &mut body {
        let test = |raw: &String| FailedTest {
            name: text(raw),
            message: Some(text(raw)),
        };
        outcome.tests = Some(TestResults {
            failing: texts.iter().map(test).collect(),
            warnings: texts.iter().map(|raw| text(raw)).collect(),
            ..TestResults::default()
        });
    }
    board.apply(sample.reported(&order, 19, 19, body));
    let body = ReportBody::Finished {
        verdict: Verdict::Failed,
        detail: Some(text(&texts[0])),
        log,
        isolation,
        network,
    };
    board.apply(sample.reported(&order, 20, 20, body));
    let order = sample.order("foo-maple", 3, 'c');
    board.apply(sample.ordered(30, &order));
    let body = ReportBody::Refused {
        code: text("<b>E-X</b>"),
        detail: text(&texts[1]),
    };
    board.apply(sample.reported(&order, 30, 1, body));
    (sample, board, texts)
}

const PROJECTS: [(&str, usize); 6] = [
    ("attrs", 6),
    ("foo", 2),
    ("numpy", 13),
    ("pytest", 8),
    ("requests", 12),
    ("scikit-learn-contrib", 8),
];
const PLATFORMS: [&str; 4] = [
    "debian-13-amd64",
    "fedora-43-arm64",
    "alpine-musl",
    "freebsd-15",
];

/// Fifty builders and more on 46 slaves, 25 of which are silent; each with as many builds as are shown.
pub(super) fn big_farm() -> (Sample, Board) {
    let mut sample = Sample::new();
    let mut slaves: Vec<(String, Vec<String>)> = (0..44)
        .map(|n| (format!("tree-{n:02}"), Vec::new()))
        .collect();
    let mut builders: Vec<(usize, String, &str)> = Vec::new();
    for (project, count) in &PROJECTS {
        for n in 0..*count {
            let slave = builders.len() % slaves.len();
            let builder = format!("{project}-{}-{n}", PLATFORMS[n % PLATFORMS.len()]);
            slaves[slave].1.push(builder.clone());
            builders.push((slave, builder, project));
        }
    }
    let mut roster = sample.join(&slaves);
    roster.lines[0].builders.truncate(1);
    let mut board = sample.board();
    board.set_roster(roster);
    for (sequence, digit) in (1..).zip(['a', 'b', 'c']) {
        let mut change = sample.change(digit).into_body();
        change.previous = char::from_u32(u32::from(digit) - 1)
            .filter(|c| *c >= 'a')
            .map(revision);
        let change: Verified<Change> = sample.verify(&sample.signing, &change);
        board.apply(Event::Changed { sequence, change });
    }
    let mut place = 0;
    for (n, (slave, builder, project)) in builders.iter().enumerate() {
        let builder: BuilderName = builder.parse().unwrap();
        for number in 1..=20_u64 {
            let digit = if slave % 9 == 8 { 'b' } else { 'c' };
            let mut order = sample.order("foo-maple", number, digit);
            let named = &slaves[*slave].0;
            order.slave = named.parse().unwrap();
            order.report_key = sample.others[named].id();
            order.builder = builder.clone();
            order.project = project.parse().unwrap();
            order.issued = at(number * 240);
            order.accept_by = at(number * 240 + 60);
            order.finish_by = at(number * 240 + 400);
            place += 10;
            if number == 20 && n % 5 == 1 {
                board.apply(sample.ordered(place, &order));
                let now = at(4_850);
                board.apply(sample.reported(
                    &order,
                    place,
                    30,
                    started(u16::try_from(n % 2).unwrap(), now),
                ));
                continue;
            }
            let verdict = match (n + usize::try_from(number).unwrap() * 7) % 23 {
                1 => Verdict::Errored,
                2 | 3 if n % 4 == 1 => Verdict::Failed,
                4 if n % 3 == 0 => Verdict::Warned,
                5 => Verdict::Lost,
                _ if n == 20 && number > 15 => Verdict::Failed,
                _ => Verdict::Passed,
            };
            board.apply(sample.ordered(place, &order));
            board.apply(sample.reported(&order, place, 100, finished(verdict)));
        }
    }
    for (n, (slave, _)) in slaves.iter().enumerate() {
        let silent = n % 2 == 1 || n == 0;
        let seen = if silent { 10 + 100 * n as u64 } else { 4_990 };
        let presence = Presence {
            farm: sample.farm,
            slave: slave.parse().unwrap(),
            instance: InstanceId([7; 16]),
            issued: at(seen),
            sequence: 0,
            newest: None,
            builders: BTreeMap::new(),
            keyring: Position::default(),
            load: 0,
            paused_until: (n == 7).then(|| at(90_000)),
            rejected: 0,
            clock: None,
        };
        board.apply(sample.stored_present(&presence));
    }
    let order = sample.order("foo-maple", 1, 'c');
    add(&sample, &mut board, &order, 90_000, Verdict::Passed);
    (sample, board)
}
