use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::model::Verb;

const TOP: &str = r#"farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
keyring = "farm.keyring"
signing-key = "signing.key"
bus-key = "bus.nk"
state = "state"
"#;

const GOOD: &str = r#"
[repositories.python]
url = "https://example.org/python.git"
branches = ["main", "3.15"]

[builders.foo-linux]
slave = "maple"
project = "foo"
sources = { python = "main" }
steps = [{ command = "test-foo", parameters = { version = "1.0" } }]
"#;

const FULL: &str = r#"
[periods]
lease-seconds = 5

[requesters.alice]
key = "ed25519:iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w"
may = ["force", "pause"]
builders = ["foo-*", "bar"]

[requesters.bob]
key = "ed25519:gTl3DqhJvWhZ6GZ0rKw1mJlBnLoOhLqnsdBVRpHHWn8"
may = ["release"]

[repositories.python]
url = "https://example.org/python.git"
branches = ["main"]

[repositories.foo]
url = "https://example.org/foo.git"
branches = ["main"]

[releases.foo]
repository = "foo"
tag-prefix = "release-"

[releases.bar]
index = "https://pypi.example/simple/bar/"
pre-releases = true
poll-seconds = 60
patience-seconds = 5

[releases.baz]

[slaves.maple]
capacity = 3

[locks.port-8080]

[locks.licence]
slots = 2

[telemetry]
listen = "127.0.0.1:9464"

[builders.foo-linux]
slave = "maple"
project = "foo"
sources = { python = "main" }
paths = { python = ["Lib/**", "!Lib/test/**"] }
steps = [{ command = "test-foo" }]

[builders.bar]
slave = "oak"
project = "bar"
sources = { python = "main" }
release = "bar"
steps = [{ command = "test-bar", parameters = { version = "{release}" } }]
accept-minutes = 5
start-minutes = 6
quiet-seconds = 7
collapse = false
priority = 80
locks = ["licence", "port-8080"]
after = ["foo-linux"]
schedule = "0 3 * * *"
time-zone = "Europe/Berlin"
unchanged = "build"
retries = 0
retry-seconds = 30
set-aside-after = 3
set-aside-minutes = 20
"#;

fn parse(text: &str) -> Result<MasterConfig, MasterConfigError> {
    MasterConfig::parse(&format!("{TOP}{text}"), Path::new("/srv/pybots"))
}

/// Each mistake as `line:column message`, lines counted after the top of the file.
fn mistakes(text: &str) -> Vec<String> {
    let above = TOP.matches('\n').count();
    let Err(error) = parse(text) else {
        return Vec::new();
    };
    let told = error.faults().iter().map(|fault| {
        let (line, column) = fault.place().unwrap();
        format!(
            "{}:{column} {}",
            line.saturating_sub(above),
            fault.message()
        )
    });
    told.collect()
}

/// Checks what is said of a good text after each of some edits: three lines each, `\\n` for a new line.
fn check_mistakes(good: &str, cases: &str) {
    assert_eq!(mistakes(good), Vec::<String>::new());
    let mut wrong = String::new();
    for case in cases.split("\n\n") {
        let lines = case.trim_end().replace("\\n", "\u{1}");
        let lines: Vec<String> = lines
            .lines()
            .map(|line| line[5..].replace('\u{1}', "\n"))
            .collect();
        let [from, to, expected] = &lines[..] else {
            panic!("{case}");
        };
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let found = mistakes(&text);
        if !found.iter().any(|found| found.starts_with(expected)) {
            writeln!(wrong, "{to}\n  wanted {expected}\n  found  {found:#?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn builder<'a>(config: &'a MasterConfig, name: &str) -> &'a Builder {
    &config.builders[&name.parse::<BuilderName>().unwrap()]
}

#[test]
fn a_good_file_is_read_and_its_defaults_are_these() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.head_period, Duration::from_secs(600));
    // A slave speaks every 15 s: one that freezes is noticed within 60 s.
    assert_eq!(config.silence, Duration::from_secs(45));
    assert_eq!(config.lease, Duration::from_secs(3));
    assert_eq!(config.signing_key, Path::new("/srv/pybots/signing.key"));
    assert_eq!((config.telemetry, config.hooks.clone()), (None, None));
    let read = builder(&config, "foo-linux");
    let default = Builder::new(read.slave.clone(), read.project.clone(), read.steps.clone());
    let sources = read.sources.clone();
    assert_eq!(sources.len(), 1);
    assert_eq!(*read, Builder { sources, ..default });
}

#[test]
fn a_credential_of_systemd_lies_in_no_folder_of_ours() {
    let text = format!("{TOP}{GOOD}").replace("\"signing.key\"", "\"credential:signing-key\"");
    let config = MasterConfig::parse(&text, Path::new("/srv/pybots")).unwrap();
    assert_eq!(config.signing_key, Path::new("credential:signing-key"));
}

#[test]
fn every_key_means_what_it_says() {
    let config = parse(FULL).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.lease, seconds(5));
    assert_eq!(config.telemetry, Some(([127, 0, 0, 1], 9464).into()));
    assert_eq!(config.slaves[&"maple".parse().unwrap()].capacity, 3);
    let slots: Vec<u32> = config.locks.values().copied().collect();
    assert_eq!(slots, [2, 1]);

    let release = |name: &str| &config.releases[&name.parse::<ProjectName>().unwrap()];
    let tags = ReleasePlace::Tags {
        repository: "foo".parse().unwrap(),
        prefix: Text::tidy("release-"),
    };
    assert_eq!(release("foo").place, tags);
    assert_eq!(release("foo").pre_releases, PreReleases::Skip);
    assert_eq!(release("foo").poll_period, seconds(3600));
    assert_eq!(release("foo").patience, seconds(60));
    let bar = ReleaseSource {
        place: ReleasePlace::Index(Text::tidy("https://pypi.example/simple/bar/")),
        pre_releases: PreReleases::Count,
        poll_period: seconds(60),
        patience: seconds(5),
    };
    assert_eq!(*release("bar"), bar);
    assert_eq!(release("baz").place, ReleasePlace::Requests);

    let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
    let names: BTreeSet<BuilderName> = ["foo-linux", "bar"]
        .map(|name| name.parse().unwrap())
        .into();
    assert_eq!(config.requesters[&alice].builders, names);
    assert_eq!(config.requesters[&alice].every_builder, Everything::No);
    assert_eq!(
        config.requesters[&alice].may,
        [Verb::Force, Verb::Pause].into()
    );
    assert!(config.requesters[&bob].may(Verb::Release, None));

    let bar = builder(&config, "bar");
    assert_eq!(bar.accept_window, seconds(5 * 60));
    assert_eq!(bar.start_window, seconds(6 * 60));
    assert_eq!(bar.quiet, seconds(7));
    assert_eq!(
        (bar.collapse, bar.unchanged),
        (Collapse::Every, Unchanged::Build)
    );
    assert_eq!((bar.priority, bar.locks.len()), (80, 2));
    assert_eq!(bar.release, Some("bar".parse().unwrap()));
    assert_eq!(bar.after, ["foo-linux".parse().unwrap()].into());
    let schedule = bar.schedule.as_ref().map(ToString::to_string);
    assert_eq!(schedule.as_deref(), Some("0 3 * * * Europe/Berlin"));
    let retry = Retry {
        most: 0,
        wait: seconds(30),
        set_aside_after: 3,
        set_aside_for: seconds(20 * 60),
    };
    assert_eq!(bar.retry, retry);
    let paths = &builder(&config, "foo-linux").paths[&"python".parse().unwrap()];
    assert!(paths.matters(Some(&[Text::tidy("Lib/os.py")])));
    assert!(!paths.matters(Some(&[Text::tidy("Lib/test/test_os.py")])));
}

#[test]
fn each_mistake_is_named_with_its_place() {
    check_mistakes(FULL, include_str!("tests/mistakes.txt"));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_places() {
    let text = FULL
        .replacen("lease-seconds = 5", "lease-seconds = 0", 1)
        .replacen("capacity = 3", "capacity = 0\nspeed = 1", 1)
        .replacen("slave = \"oak\"", "slave = \"*\"", 1)
        .replacen("priority = 80", "priority = -1", 1)
        .replacen("slave = \"maple\"\n", "", 1);
    let found = mistakes(&text);
    let keys: Vec<&str> = found
        .iter()
        .map(|found| found.split(": ").next().unwrap())
        .collect();
    let expected = [
        "3:17 periods.lease-seconds",
        "35:12 slaves.maple.capacity",
        "36:1 slaves.maple",
        "46:11 builders.foo-linux",
        "53:9 builders.bar.slave",
        "62:12 builders.bar.priority",
    ];
    assert_eq!(keys, expected, "{found:#?}");
    let told = parse(&text).unwrap_err().to_string();
    assert!(
        told.starts_with("6 mistakes\n  line 9, column 17: periods.lease-seconds: must"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 7);
    // The top has none of what it must have.
    let told = MasterConfig::parse("", Path::new("/")).unwrap_err();
    assert_eq!(told.faults().len(), 6, "{told}");
}

#[test]
fn builders_that_wait_for_each_other_in_a_circle_are_told_once() {
    let mut text =
        String::from("[repositories.python]\nurl = \"/srv/python\"\nbranches = [\"main\"]\n");
    let waits = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "d")];
    for (name, after) in waits {
        let stanza = format!(
            "[builders.{name}]\nslave = \"maple\"\nproject = \"foo\"\nsources = {{ python = \"main\" }}\n\
             after = [\"{after}\"]\nsteps = [{{ command = \"test\" }}]\n"
        );
        text.push_str(&stanza);
    }
    let expected =
        "8:10 builders.a.after: a circle, in which none is ever first: a after b after c after a";
    assert_eq!(mistakes(&text), [expected]);
    assert!(mistakes(&text.replacen("after = [\"a\"]", "after = []", 1)).is_empty());
}

const MATRIX: &str = r#"
[repositories.python]
url = "https://example.org/python.git"
branches = ["main", "3.15"]

[templates.foo]
project = "foo"
sources = { python = "{python}" }
quiet-seconds = 30
steps = [{ command = "test-foo", parameters = { version = "for-{python}", dots = "{3}" } }]

[builders.foo-plain]
template = "plain"
slave = "elm"

[templates.plain]
project = "foo"
sources = { python = "main" }
priority = 10
steps = [{ command = "test-foo" }]

[matrix.foo]
template = "foo"
axes = { slave = ["maple", "oak"], python = ["main", "3.15"] }
name = "foo-{python}-{slave}"
exclude = [{ slave = "oak", python = "3.15" }]
quiet-seconds = 60
"#;

#[test]
fn a_matrix_is_one_builder_for_each_combination_that_is_not_excluded() {
    let config = parse(MATRIX).unwrap();
    let names: Vec<&str> = config.builders.keys().map(BuilderName::as_str).collect();
    assert_eq!(
        names,
        [
            "foo-3-15-maple",
            "foo-main-maple",
            "foo-main-oak",
            "foo-plain"
        ]
    );
    let maple = builder(&config, "foo-3-15-maple");
    assert_eq!(maple.slave.as_str(), "maple");
    let branches: Vec<&str> = maple.sources.values().map(Branch::as_str).collect();
    assert_eq!(branches, ["3.15"]);
    // Its own key wins over the template's; the axis stands in every text.
    assert_eq!(maple.quiet, Duration::from_secs(60));
    let parameters: Vec<&str> = maple.steps[0]
        .parameters
        .values()
        .map(Text::as_str)
        .collect();
    assert_eq!(parameters, ["{3}", "for-3.15"]);
    assert_eq!(builder(&config, "foo-main-oak").slave.as_str(), "oak");
    let plain = builder(&config, "foo-plain");
    assert_eq!((plain.priority, plain.slave.as_str()), (10, "elm"));
}

#[test]
fn each_mistake_of_a_template_or_a_matrix_is_named_with_its_place() {
    check_mistakes(MATRIX, include_str!("tests/matrix-mistakes.txt"));
}

#[test]
fn a_farm_has_at_most_ten_thousand_builders_and_more_are_not_even_made() {
    let axes = |many: usize| {
        let values: Vec<String> = (0..many).map(|n| format!("\"v{n}\"")).collect();
        let values = values.join(", ");
        MATRIX
            .replace("exclude = [{ slave = \"oak\", python = \"3.15\" }]\n", "")
            .replace(
                "axes = {",
                &format!("axes = {{ a = [{values}], b = [{values}], c = [{values}],"),
            )
            .replace("{slave}\"", "{slave}-{a}-{b}-{c}\"")
    };
    assert_eq!(parse(&axes(10)).unwrap().builders.len(), 4001);
    let told = mistakes(&axes(1000)).join("\n");
    let expected = "matrix.foo: makes 4000000000 builders, with which the farm has more than 10000";
    assert!(told.contains(expected), "{told}");
}
