//! What people ask for.

use super::*;
use crate::master::config::{Everything, PreReleases, ReleasePlace, ReleaseSource, Requester};
use crate::model::{InstanceId, Source, Verb, Wish};

impl World {
    /// Somebody asks, and is answered; returns the code of the denial, if it was denied.
    fn ask(&mut self, who: &str, wish: Wish, now: Timestamp) -> (PayloadId, Option<String>) {
        self.ask_made_at(who, wish, now, now)
    }

    fn ask_made_at(
        &mut self,
        who: &str,
        wish: Wish,
        issued: Timestamp,
        now: Timestamp,
    ) -> (PayloadId, Option<String>) {
        let id = id(5, self.facts.len() as u64);
        let request = Request {
            farm: self.config.farm,
            requester: who.parse().unwrap(),
            nonce: InstanceId([1; 16]),
            issued,
            reason: Text::tidy("because"),
            wish,
        };
        self.apply(Fact::Requested {
            id,
            request: Box::new(request),
        });
        let effects = self.decide(now);
        let answer = effects.iter().find_map(|effect| {
            let Effect::Answer(answer) = effect else {
                return None;
            };
            (answer.request == id).then_some(answer)
        });
        let denial = answer.expect("an answer").denial.as_ref();
        (id, denial.map(|denial| denial.code.as_str().to_owned()))
    }
}

fn force(name: &str) -> Wish {
    Wish::Force {
        builder: name.parse().unwrap(),
        sources: Vec::new(),
    }
}

/// A world in which ada may ask for everything, and bob may force builds of another builder; one build has passed.
fn settled() -> World {
    let mut world = World::new();
    let requester = |may: &[Verb], every_builder| Requester {
        key: PublicKey([9; 32]),
        login: None,
        may: may.iter().copied().collect(),
        builders: BTreeSet::from(["bar".parse().unwrap()]),
        every_builder,
    };
    let all = [
        Verb::Force,
        Verb::Cancel,
        Verb::Retry,
        Verb::Pause,
        Verb::Release,
    ];
    let requesters = &mut world.config.requesters;
    requesters.insert("ada".parse().unwrap(), requester(&all, Everything::Yes));
    let bob = requester(&[Verb::Force], Everything::No);
    requesters.insert("bob".parse().unwrap(), bob);
    world.moved("foo", 1);
    world.moved("python", 1);
    world.decide(at(1));
    world.end(Verdict::Passed, at(2));
    world
}

#[test]
fn what_is_not_allowed_or_makes_no_sense_is_denied_with_a_code_and_once() {
    let (builder, number) = (builder, 1);
    let source = |branch: &str| Source {
        repository: "python".parse().unwrap(),
        branch: branch.parse().unwrap(),
        revision: format!("{:040x}", 5).parse().unwrap(),
    };
    let forced_at = |branch| Wish::Force {
        builder: builder(),
        sources: vec![source(branch)],
    };
    let pause = |until| Wish::Pause {
        builder: builder(),
        until,
    };
    let release = Wish::Release {
        project: "foo".parse().unwrap(),
        version: "1.0".parse().unwrap(),
    };
    let cancel = |number| Wish::Cancel {
        builder: builder(),
        number,
    };
    let retry = |number| Wish::Retry {
        builder: builder(),
        number,
    };
    let week = 7 * 24 * 3600;
    let cases = [
        ("ada", force("foo-linux"), None),
        ("ada", forced_at("main"), None),
        ("ada", forced_at("3.14"), Some("E-SOURCE")),
        ("ada", force("nowhere"), Some("E-NO-BUILDER")),
        ("bob", force("foo-linux"), Some("E-NOT-ALLOWED")),
        ("bob", cancel(number), Some("E-NOT-ALLOWED")),
        ("eve", force("foo-linux"), Some("E-NOT-ALLOWED")),
        ("ada", cancel(number), Some("E-OVER")),
        ("ada", cancel(7), Some("E-NO-BUILD")),
        ("ada", retry(number), None),
        ("ada", retry(7), Some("E-NO-BUILD")),
        ("ada", pause(at(200)), None),
        ("ada", pause(at(100)), Some("E-TIME")),
        ("ada", pause(at(100 + week)), None),
        ("ada", pause(at(101 + week)), Some("E-TIME")),
        ("ada", release, Some("E-NO-PROJECT")),
    ];
    for (who, wish, expected) in cases {
        let mut world = settled();
        let (id, denied) = world.ask(who, wish.clone(), at(100));
        assert_eq!(denied.as_deref(), expected, "{who}: {wish:?}");
        let again = world.decide(at(101));
        let repeated = again
            .iter()
            .any(|effect| matches!(effect, Effect::Answer(answer) if answer.request == id));
        assert!(!repeated, "{who}: {wish:?}");
    }
}

#[test]
fn a_request_is_good_for_an_hour_and_not_before_it_was_made() {
    for (made, code) in [
        (at(10_000 - 3_600), None),
        (at(10_000 - 3_601), Some("E-EXPIRED")),
        (at(10_000 + 120), None),
        (at(10_000 + 121), Some("E-CLOCK")),
    ] {
        let mut world = settled();
        let (_, denied) = world.ask_made_at("ada", force("foo-linux"), made, at(10_000));
        assert_eq!(denied.as_deref(), code, "{made}");
    }
}

#[test]
fn a_forced_build_says_who_asked_and_why_and_answers_what_waits() {
    let mut world = settled();
    world.builder("foo-linux").quiet = Duration::from_secs(10_000);
    let change = world.moved_at("python", 2, at(99), None);
    let (request, _) = world.ask("ada", force("foo-linux"), at(100));
    world.decide(at(100));
    let (_, build) = world.sent.last().unwrap();
    assert_eq!(build.number, 2);
    assert_eq!(build.request, Some(request));
    assert_eq!(build.requester, Some(Text::tidy("ada")));
    assert_eq!(build.reason.as_str(), "because");
    assert_eq!(build.covers, [change]);
    world.end(Verdict::Passed, at(101));
    assert!(
        world.decide(at(50_000)).is_empty(),
        "one request, one build"
    );
}

#[test]
fn a_forced_build_that_errs_is_tried_again_in_the_name_of_who_asked() {
    let mut world = settled();
    let (request, _) = world.ask("ada", force("foo-linux"), at(100));
    world.decide(at(100));
    world.end(Verdict::Errored, at(110));
    world.decide(at(170));
    let (_, build) = world.sent.last().unwrap();
    assert_eq!((build.number, build.attempt), (3, 2));
    assert_eq!(build.request, Some(request));
    assert_eq!(build.requester, Some(Text::tidy("ada")));
}

#[test]
fn a_retry_builds_the_same_revisions_again() {
    let mut world = settled();
    world.moved("python", 2);
    world.decide(at(50));
    world.end(Verdict::Failed, at(60));
    let wish = Wish::Retry {
        builder: builder(),
        number: 1,
    };
    world.ask("ada", wish, at(100));
    world.decide(at(100));
    let ((_, first), (_, last)) = (&world.sent[0], world.sent.last().unwrap());
    assert_eq!(last.sources, first.sources);
    assert_eq!((last.retry_of, last.attempt), (Some(1), 2));
    world.end(Verdict::Passed, at(101));
    assert!(
        world.decide(at(102)).is_empty(),
        "the newest is built already"
    );
}

#[test]
fn a_cancel_goes_out_once_and_its_build_is_not_tried_again() {
    let mut world = settled();
    world.moved("python", 2);
    world.decide(at(50));
    let wish = Wish::Cancel {
        builder: builder(),
        number: 2,
    };
    let (request, denied) = world.ask("ada", wish, at(100));
    assert_eq!(denied, None);
    let effects = world.decide(at(100));
    let cancels: Vec<&Cancel> = effects
        .iter()
        .filter_map(|effect| {
            let Effect::Cancel(cancel) = effect else {
                return None;
            };
            Some(&**cancel)
        })
        .collect();
    assert_eq!(cancels.len(), 1);
    assert_eq!(cancels[0].target, world.sent[1].0);
    assert_eq!(cancels[0].request, Some(request));
    assert!(matches!(world.decide(at(101))[..], [Effect::WakeAt(_)]));
    world.end(Verdict::Cancelled, at(102));
    assert!(world.decide(at(10_000)).is_empty());
}

#[test]
fn a_paused_builder_waits_even_for_a_forced_build_until_its_time_or_a_resume() {
    for resumes in [false, true] {
        let mut world = settled();
        let until = at(1_000);
        let pause = Wish::Pause {
            builder: builder(),
            until,
        };
        world.ask("ada", pause, at(100));
        world.moved("python", 2);
        world.ask("ada", force("foo-linux"), at(101));
        world.decide(at(999));
        assert_eq!(world.sent.len(), 1);
        let waiting = world.queue(at(999));
        assert!(matches!(waiting[0].reason, Reason::Paused { .. }));
        if resumes {
            world.ask("ada", Wish::Resume { builder: builder() }, at(500));
            world.decide(at(501));
        } else {
            world.decide(until);
        }
        assert_eq!(world.sent.len(), 2);
    }
}

#[test]
fn a_release_by_request_is_announced_once_and_its_version_travels_as_a_parameter() {
    let mut world = settled();
    let project = || "foo".parse().unwrap();
    let place = ReleasePlace::Requests;
    let source = ReleaseSource {
        place,
        pre_releases: PreReleases::Skip,
        poll_period: Duration::from_secs(3600),
        patience: Duration::from_secs(60),
    };
    world.config.releases.insert(project(), source);
    let following = world.builder("foo-linux");
    following.release = Some(project());
    let version = "version".parse().unwrap();
    following.steps[0]
        .parameters
        .insert(version, Text::tidy("{release}"));
    let wish = |version: &str| Wish::Release {
        project: project(),
        version: version.parse().unwrap(),
    };
    for (second, release) in [(100, "1.0"), (200, "1.1rc1")] {
        let (request, denied) = world.ask("ada", wish(release), at(second));
        assert_eq!(denied, None);
        let effects = world.decide(at(second));
        let announced = effects.iter().find_map(|effect| {
            let Effect::Announce(release) = effect else {
                return None;
            };
            Some(release)
        });
        assert_eq!(announced.unwrap().request, Some(request));
        let effects = world.decide(at(second + 1));
        assert!(!effects.iter().any(|it| matches!(it, Effect::Announce(_))));
        let (_, build) = world.sent.last().unwrap();
        let parameters = &build.steps[0].parameters;
        assert_eq!(parameters.values().next().unwrap().as_str(), release);
        world.end(Verdict::Passed, at(second + 2));
        assert!(world.decide(at(second + 3)).is_empty());
    }
    let (_, denied) = world.ask("ada", wish("1.1rc1"), at(300));
    assert_eq!(denied.as_deref(), Some("E-KNOWN"));
}

#[test]
fn the_first_answer_stands() {
    let mut world = settled();
    let (id, _) = world.ask("ada", force("foo-linux"), at(100));
    let denial = Some(Denial {
        code: Text::tidy("E-NOT-ALLOWED"),
        detail: Text::default(),
    });
    let late = Fact::Answered {
        sequence: u64::MAX,
        request: id,
        denial,
    };
    world.apply(late);
    world.decide(at(101));
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_forced_build_whose_command_is_forgotten_is_not_ordered_again_by_a_master_that_starts_anew() {
    let mut world = settled();
    world.ask("ada", force("foo-linux"), at(100));
    world.decide(at(100));
    world.end(Verdict::Passed, at(101));
    for revision in 2..60 {
        world.moved("python", revision);
        world.decide(at(100 * revision));
        world.end(Verdict::Passed, at(100 * revision + 1));
    }
    let now = at(10_000);
    assert!(world.decide(now).is_empty());
    let forgotten = |fact: &Fact| matches!(fact, Fact::Ordered { build, .. } if build.number < 20);
    let held: Vec<Fact> = world
        .facts
        .iter()
        .filter(|it| !forgotten(it))
        .cloned()
        .collect();
    world.scheduler = Scheduler::default();
    held.into_iter()
        .for_each(|fact| world.scheduler.apply(fact));
    // That `foo` was built is forgotten, too.
    let forced = |effects: &[Effect]| {
        let asked = |it: &Effect| matches!(it, Effect::Send(build) if build.request.is_some());
        effects.iter().any(asked)
    };
    assert!(!forced(&world.decide(now)), "forced builds are built once");
    world.end(Verdict::Passed, now);
    // What is asked for now is still done.
    world.ask("ada", force("foo-linux"), now);
    assert!(forced(&world.decide(now)));
}

#[test]
fn what_was_granted_and_comes_again_after_the_stream_forgot_it_does_nothing() {
    let mut world = settled();
    world.ask("ada", force("foo-linux"), at(100));
    let asked: Vec<Fact> = world.facts.clone();
    for (age, built) in [(7 * 24 * 3600, true), (7 * 24 * 3600 + 1, false)] {
        world.scheduler = Scheduler::default();
        asked
            .iter()
            .cloned()
            .for_each(|fact| world.scheduler.apply(fact));
        let effects = world.decide(at(100 + age));
        let builds = effects.iter().any(|it| matches!(it, Effect::Send(_)));
        assert_eq!(builds, built, "{age}");
    }
}

#[test]
fn what_somebody_cancels_is_not_tried_again_though_its_slave_never_says_that_it_ended() {
    // Also where the master had called it off itself before.
    for late in [false, true] {
        let mut world = settled();
        world.moved("python", 2);
        world.decide(at(50));
        let command = world.sent[1].0;
        if late {
            let received = at(51);
            world.report(command, ReportBody::Accepted { received });
            world.apply(Fact::Cancelled {
                target: command,
                builder: builder(),
                request: None,
            });
        }
        let wish = Wish::Cancel {
            builder: builder(),
            number: 2,
        };
        world.ask("ada", wish, at(100));
        let effects = world.decide(at(100));
        let cancels = effects.iter().filter(|it| matches!(it, Effect::Cancel(_)));
        assert_eq!(cancels.count(), 1);
        assert!(
            !world
                .decide(at(101))
                .iter()
                .any(|it| matches!(it, Effect::Cancel(_)))
        );
        world.decide(at(1_000_000));
        assert_eq!(world.sent.len(), 2, "{late}");
    }
}

#[test]
fn of_many_requests_so_many_are_answered_at_once_and_in_the_end_all() {
    let mut world = settled();
    for number in 0..1_000 {
        let request = Request {
            farm: world.config.farm,
            requester: "ada".parse().unwrap(),
            nonce: InstanceId([1; 16]),
            issued: at(100),
            reason: Text::default(),
            wish: force("nowhere"),
        };
        world.apply(Fact::Requested {
            id: id(6, number),
            request: Box::new(request),
        });
    }
    let answered: Vec<usize> = (0..5)
        .map(|_| {
            let effects = world.decide(at(100));
            let answers = effects.iter().filter(|it| matches!(it, Effect::Answer(_)));
            answers.count()
        })
        .collect();
    assert_eq!(answered, [256, 256, 256, 232, 0]);
}

#[test]
fn what_was_granted_of_a_source_that_was_never_seen_waits_and_says_why() {
    let mut world = settled();
    world.scheduler = Scheduler::default();
    world.moved("foo", 1);
    let (request, denial) = world.ask("ada", force("foo-linux"), at(3));
    assert_eq!(denial, None);
    assert!(world.decide(at(4)).is_empty());
    let queue = world.queue(at(4));
    let [waiting] = queue.as_slice() else {
        panic!("{queue:?}");
    };
    assert_eq!(
        (waiting.request, &waiting.reason),
        (Some(request), &Reason::Unseen)
    );
    world.moved("python", 1);
    assert!(matches!(
        world.decide(at(5)).as_slice(),
        [Effect::Send(_), ..]
    ));
}
