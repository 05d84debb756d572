//! What the pages say, that nothing in them is markup but ours, and that they stay small.

mod markup;
mod scenes;

use std::sync::LazyLock;

use super::super::{SCRIPT, STYLE, Scene};
use super::*;
use crate::model::{BuildId, FailedTest, Limit, ReportBody, TestResults, Verdict};
use crate::status::board::Board;
use crate::status::live::BusState;
use crate::status::log_window::{Chosen, LineText, LogLine, LogView, LogWindow};
use crate::status::sample::{Sample, at, ended, finished, log_digest, started, text};
use crate::status::view::Farm;
use markup::{assert_well_formed, text_of};
use scenes::{big_farm, hostile, small_farm, window};

/// Made once, for all who look at it.
static BIG: LazyLock<(Sample, Board)> = LazyLock::new(big_farm);

struct Shown {
    farm: Farm,
    board: Board,
    seconds: u64,
    bus: BusState,
}

impl Shown {
    fn new(sample: &Sample, board: Board, seconds: u64) -> Self {
        let farm = sample.farm();
        let bus = BusState::Following;
        Self {
            farm,
            board,
            seconds,
            bus,
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            farm: &self.farm,
            board: &self.board,
            bus: self.bus,
            now: at(self.seconds),
            version: 7,
        }
    }

    fn overview(&self) -> String {
        overview(&self.scene()).unwrap()
    }

    fn build(&self, id: &str, log: &LogView) -> String {
        let id: BuildId = id.parse().unwrap();
        build(&self.scene(), self.board.build(&id).unwrap(), log).unwrap()
    }
}

#[test]
fn an_overview_with_fifty_builders_stays_small_and_is_well_formed() {
    let (sample, board) = &*BIG;
    let shown = Shown::new(sample, board.clone(), 5_000);
    let page = shown.overview();
    assert_well_formed(&page);
    assert!(page.matches("<th scope=\"row\">").count() >= 50);
    assert!(page.len() < 60 * 1024, "{} bytes", page.len());
    assert!(page.contains("Silent: 25 of 46 slaves"), "{page}");
}

#[test]
fn the_script_is_small_and_pages_hold_none_and_no_style() {
    assert!(SCRIPT.len() < 10 * 1024, "{} bytes", SCRIPT.len());
    let (sample, board) = &*BIG;
    let shown = Shown::new(sample, board.clone(), 5_000);
    let pages = [
        shown.overview(),
        shown.build("foo-maple/1", &LogView::Window(window())),
        keys(&shown.scene(), sample.reader.chain()).unwrap(),
        not_found(&shown.scene(), "There is no build foo-maple/99.").unwrap(),
    ];
    for page in &pages {
        assert_well_formed(page);
        for (_, attributes) in markup::tags(page) {
            for (name, value) in attributes {
                assert!(name != "style" && !name.starts_with("on"), "{name}={value}");
                if name == "href" || name == "src" {
                    let ours = value.starts_with('#') || value.starts_with('/');
                    assert!(ours && !value.starts_with("//"), "{value}");
                }
            }
        }
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("<script src=\"/script.js\" defer></script>"));
        assert!(!page.contains("<style"));
    }
    // Nothing from third parties, by no way.
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[test]
fn a88_hostile_text_is_shown_and_does_nothing() {
    let (sample, board, texts) = hostile();
    let shown = Shown::new(&sample, board, 500);
    let mut window = window();
    for (number, text) in (40..).zip(&texts) {
        window.lines.push(LogLine {
            number,
            text: LineText::Output(text.clone()),
        });
        window.lines.push(LogLine {
            number: number + 100,
            text: LineText::Note(text.clone()),
        });
    }
    let unreadable = LogView::Unreadable(texts[0].clone());
    let pages = [
        (
            shown.build("foo-maple/2", &LogView::Window(window)),
            &texts[..],
        ),
        (shown.build("foo-maple/2", &unreadable), &texts[..]),
        (not_found(&shown.scene(), &texts[0]).unwrap(), &texts[..1]),
        (shown.overview(), &[]),
    ];
    for (page, expected) in &pages {
        assert_well_formed(page);
        let seen = text_of(page);
        for text in *expected {
            assert!(seen.contains(text), "{text} in {seen}");
        }
        let scripts = markup::tags(page);
        let scripts = scripts.iter().filter(|(name, _)| name == "script");
        assert_eq!(scripts.count(), 1);
        let images = markup::tags(page);
        assert!(
            images
                .iter()
                .all(|(name, _)| name != "img" && name != "svg")
        );
    }
    // As a commit's subject and author, as a test's name and message, in a warning about its file, in the log.
    for text in &texts {
        let times = text_of(&pages[0].0).matches(text.as_str()).count();
        assert!(times >= 6, "{times} times: {text}");
    }
    let refused = shown.build("foo-maple/3", &LogView::Nothing);
    assert_well_formed(&refused);
    assert!(text_of(&refused).contains(&texts[1]));
}

/// The classes of all badges, cells and signs.
fn greens(page: &str) -> usize {
    let legend = page.find("<p class=\"legend\"").unwrap_or(page.len());
    let has = |value: &str| value.split(' ').any(|class| class == "p");
    let tags = markup::tags(&page[..legend]);
    let classes = tags.iter().flat_map(|(_, attributes)| attributes);
    classes
        .filter(|(name, value)| name == "class" && has(value))
        .count()
}

#[test]
fn nothing_is_green_that_is_not_known() {
    let sample = Sample::new();
    let mut board = sample.board();
    // Nothing built yet.
    let mut shown = Shown::new(&sample, board.clone(), 300);
    assert_eq!(greens(&shown.overview()), 0);
    // It passed: the sign over all, the project's, the verdict, the cell.
    let order = sample.order("foo-maple", 1, 'a');
    board.apply(sample.changed(1, 'a'));
    board.apply(sample.ordered(1, &order));
    for event in sample.run(&order, 1, Verdict::Passed) {
        board.apply(event);
    }
    shown.board = board.clone();
    assert_eq!(greens(&shown.overview()), 4);
    assert!(
        shown
            .overview()
            .contains("foo passes on cpython main aaaaaaaaaa.")
    );
    // There is newer code, and the slave is silent: what passed stays as a cell of the past, and as nothing else.
    board.apply(sample.changed(2, 'b'));
    shown.board = board;
    assert_eq!(greens(&shown.overview()), 1);
    assert!(shown.overview().contains("stale, was passed"));
}

#[test]
fn a_bus_that_is_away_is_said_on_every_page_and_takes_the_green() {
    let (sample, board) = small_farm(&[Verdict::Passed]);
    let mut shown = Shown::new(&sample, board, 250);
    let following = shown.overview();
    assert!(!following.contains("class=\"old\""));
    assert!(following.contains("class=\"tone p\""));
    for (bus, words) in [
        (BusState::CatchingUp, "not complete yet"),
        (
            BusState::Away { since: at(130) },
            "The bus has not answered for 2 min. What is shown may be old.",
        ),
    ] {
        shown.bus = bus;
        let pages = [
            shown.overview(),
            shown.build("foo-maple/1", &LogView::Nothing),
            keys(&shown.scene(), sample.reader.chain()).unwrap(),
            not_found(&shown.scene(), "Nothing.").unwrap(),
        ];
        for page in &pages {
            assert!(page.contains(words), "{page}");
            assert!(page.contains("tabindex=\"-1\" class=\"old\""), "{page}");
        }
        assert!(!pages[0].contains("<h1 class=\"tone p\""));
    }
}

#[test]
fn a_build_page_tells_what_happened_and_how_to_verify_it() {
    let (sample, board) = small_farm(&[Verdict::Passed, Verdict::Failed]);
    let shown = Shown::new(&sample, board, 300);
    let page = text_of(&shown.build("foo-maple/2", &LogView::Window(window())));
    for told in [
        "foo-maple/2 ✗ FAILED",
        "What changed since it last passed",
        "Last pass: foo-maple/1, 3 min ago",
        "Remove frobnicate",
        "41 passed, 1 failed, 2 skipped",
        "pybots build verify foo-maple/2 --farm farm.toml",
        "pybots build export foo-maple/2",
        "plain, network on",
        "isolation namespaces, network off",
        "(sampled)",
    ] {
        let found = page.to_lowercase().contains(&told.to_lowercase());
        assert!(found, "{told} in {page}");
    }
    let first = text_of(&shown.build("foo-maple/1", &LogView::Nothing));
    assert!(first.contains("Nothing was printed."));
    assert!(!first.contains("Last pass"));
}

#[test]
fn a_build_page_shows_failing_tests_first_and_what_ended_a_step() {
    let sample = Sample::new();
    let mut board = sample.board();
    let order = sample.order("foo-maple", 1, 'a');
    board.apply(sample.ordered(1, &order));
    let mut begun = started(1, at(101));
    if let ReportBody::StepStarted { mapped, .. } = &mut begun {
        *mapped = Some(log_digest(b"as mapped"));
    }
    let mut over = ended(1, 1);
    if let ReportBody::StepFinished { outcome, .. } = &mut over {
        outcome.limit = Some(Limit::WallTime);
        outcome.tests = Some(TestResults {
            failing: vec![FailedTest {
                name: text("tests.TestFoo.test_frobnicate"),
                message: Some(text("AssertionError: 1 != 2")),
            }],
            unlisted: 12,
            warnings: vec![text("b.tap announces 5 tests, and has 1")],
            ..TestResults::default()
        });
    }
    for (sequence, body) in (1..).zip([begun, over, finished(Verdict::TimedOut)]) {
        board.apply(sample.reported(&order, sequence, sequence, body));
    }
    let page = Shown::new(&sample, board, 300).build("foo-maple/1", &LogView::Nothing);
    assert_well_formed(&page);
    let page = text_of(&page);
    let places = [
        "Failing tests tests.TestFoo.test_frobnicate AssertionError: 1 != 2 and 12 more",
        "Steps",
    ]
    .map(|told| {
        page.find(told)
            .unwrap_or_else(|| panic!("{told} in {page}"))
    });
    assert!(places.is_sorted(), "{page}");
    for told in [
        "test results: b.tap announces 5 tests, and has 1",
        "ended for going over its limit of wall time",
        "the script was edited since its owner mapped it: SHA256:",
    ] {
        assert!(page.contains(told), "{told} in {page}");
    }
}

#[test]
fn a_log_has_an_anchor_for_each_line_and_links_to_its_other_parts() {
    let (sample, board) = small_farm(&[Verdict::Failed]);
    let shown = Shown::new(&sample, board, 300);
    let mut window = window();
    (window.from, window.earlier, window.later) = (4_096, Some(1_024), true);
    let page = shown.build("foo-maple/1", &LogView::Window(window.clone()));
    assert!(page.contains("<li id=\"L12\"><a href=\"#L12\">12</a><code>"));
    for link in [
        "?step=2&amp;offset=0#log\">first",
        "?step=2&amp;offset=1024#log\">earlier",
        "?step=2&amp;offset=6000#log\">later",
        "?step=2#end\">last",
        "/build/foo-maple/1/log.txt?step=2\">whole log as text",
        "/build/foo-maple/1?step=1#log\"",
    ] {
        assert!(page.contains(link), "{link} in {page}");
    }
    // Two pieces of one line are one line.
    window.lines = ["a", "b"]
        .map(|text| LogLine {
            number: 7,
            text: LineText::Output(text.to_owned()),
        })
        .to_vec();
    let page = shown.build("foo-maple/1", &LogView::Window(window));
    assert!(page.contains("<li id=\"L7\"><a href=\"#L7\">7</a><code>ab</code></li>"));
}

#[test]
fn a_page_is_live_as_long_as_more_may_come() {
    let sample = Sample::new();
    let mut board = sample.board();
    let order = sample.order("foo-maple", 1, 'a');
    let mut events = sample.run(&order, 1, Verdict::Failed).into_iter();
    board.apply(sample.ordered(1, &order));
    for event in events.by_ref().take(4) {
        board.apply(event);
    }
    let mut shown = Shown::new(&sample, board, 130);
    let live = |page: &str| {
        let rest = page.split_once(" data-live=\"")?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let mut window = window();
    let listens = |seen: &str| format!("/build/foo-maple/1/live?seen={seen}");
    let tails = |seen: &str| listens(seen) + "&#38;step=2&#38;offset=6000&#38;line=40";
    let (running, done) = ("running-1-1-open", "done-2-failed");
    let view = |window: &LogWindow| LogView::Window(window.clone());
    assert_eq!(live(&shown.overview()).as_deref(), Some("/live?seen=7"));
    assert_eq!(
        live(&shown.build("foo-maple/1", &view(&window))),
        Some(tails(running))
    );
    assert_eq!(
        live(&shown.build("foo-maple/1", &LogView::Nothing)),
        Some(listens(running))
    );
    // An earlier part of the log does not grow.
    window.later = true;
    assert_eq!(
        live(&shown.build("foo-maple/1", &view(&window))),
        Some(listens(running))
    );
    for event in events {
        shown.board.apply(event);
    }
    // Over: live only until the log's end is held, which the slave says is at 6 bytes.
    assert_eq!(live(&shown.build("foo-maple/1", &view(&window))), None);
    (window.later, window.bytes) = (false, 5);
    assert_eq!(
        live(&shown.build("foo-maple/1", &view(&window))),
        Some(tails(done))
    );
    // What has not come long after is not waited for.
    shown.seconds = 900;
    assert_eq!(live(&shown.build("foo-maple/1", &view(&window))), None);
    shown.seconds = 130;
    window.bytes = 6;
    assert_eq!(live(&shown.build("foo-maple/1", &view(&window))), None);
}

#[test]
fn who_chose_the_part_of_the_log_is_on_the_page() {
    let (sample, board) = small_farm(&[Verdict::Failed]);
    let shown = Shown::new(&sample, board, 300);
    for (chosen, word) in [(Chosen::ByDefault, "default"), (Chosen::ByReader, "reader")] {
        let view = LogView::Window(LogWindow { chosen, ..window() });
        let page = shown.build("foo-maple/1", &view);
        assert!(
            page.contains(&format!(" data-chosen=\"{word}\">")),
            "{page}"
        );
    }
}

#[test]
fn the_page_of_keys_names_every_key_and_what_became_of_it() {
    let sample = Sample::new();
    let shown = Shown::new(&sample, sample.board(), 300);
    let page = keys(&shown.scene(), sample.reader.chain()).unwrap();
    let text = text_of(&page);
    let keyring = sample.reader.keyring();
    let keys = keyring.master_keys.iter();
    let keys = keys.chain(keyring.signing_keys.iter().map(|window| &window.key));
    for key in keys.chain(keyring.revoked.iter().map(|revoked| &revoked.window.key)) {
        assert!(text.contains(&key.to_string()), "{key}");
    }
    for told in [
        "Keyring 0.0",
        "1 of 1 master key signed it",
        "✗ compromised",
        "✓ in force",
        shown.farm.words.as_str(),
        "pybots keys show sample.keyring --farm SHA256:",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    // A signing key before and after its time.
    let mut later = shown.scene();
    later.now = at(2_000_000);
    let page = super::keys(&later, sample.reader.chain()).unwrap();
    assert!(page.contains("! expired"));
    assert!(!page.contains("in force"));
}

#[test]
fn a88_only_lines_of_logs_are_let_through_as_they_are() {
    let templates = [
        include_str!("../templates/base.html"),
        include_str!("../templates/build.html"),
        include_str!("../templates/keys.html"),
        include_str!("../templates/not_found.html"),
        include_str!("../templates/overview.html"),
        include_str!("../templates/parts.html"),
    ];
    let all = templates.concat();
    assert_eq!(all.matches("safe").count(), 1);
    assert!(all.contains("<code>{{ line.html|safe }}</code>"));
    assert!(!all.contains("autoescape") && !all.contains("|e(") && !all.contains("escape("));
}

#[test]
fn a97_a98_the_pages_say_what_is_missing_and_what_is_disputed() {
    let (sample, mut board) = small_farm(&[Verdict::Passed]);
    let calm = Shown::new(&sample, board.clone(), 300);
    for page in [
        calm.overview(),
        calm.build("foo-maple/1", &LogView::Nothing),
    ] {
        assert!(!page.contains("class=\"notes\""), "{page}");
    }
    let order = sample.order("foo-maple", 1, 'a');
    board.apply(sample.reported(&order, 18, 30, finished(Verdict::Failed)));
    let odd = Shown::new(&sample, board, 300);
    let (overview, build) = (
        text_of(&odd.overview()),
        text_of(&odd.build("foo-maple/1", &LogView::Nothing)),
    );
    for said in [
        "! disputed",
        "foo-maple/1: the slave signed two different ends of it",
        "reports of maple that are missing: 2",
    ] {
        assert!(overview.contains(said), "{said}: {overview}");
    }
    assert!(build.contains("it also signed failed"), "{build}");
}
