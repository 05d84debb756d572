use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::bus::{Bus, Login, Patience};
use crate::master::PathFilter;
use crate::model::{FarmId, Text, Timestamp};
use crate::trust::SecretKey;
use crate::wire::Subjects;

struct Nothing;

impl Known for Nothing {
    fn tip(&self, _: &RepositoryName, _: &Branch) -> Option<Revision> {
        None
    }

    fn release(&self, _: &ProjectName) -> Option<Version> {
        None
    }
}

/// Watchers whose bus is never there, and whose git is none: what they announce never arrives, and nobody minds.
async fn watchers(folder: &Path) -> Watchers {
    let farm = FarmId([1; 32]);
    let login = Login::Public {
        user: "viewer".to_owned(),
        password: "public".to_owned(),
    };
    let address = "nats://127.0.0.1:1".parse().unwrap();
    let bus = Bus::connect(&address, login, Subjects::new(&farm), Patience::Endless)
        .await
        .unwrap();
    let herald = Herald {
        farm,
        key: SecretKey::from_seed(&[1; 32]),
        bus,
        clock: || Timestamp(0),
    };
    let git = Git {
        program: folder.join("no-such-git"),
        path: "/usr/bin:/bin".into(),
    };
    Watchers::new(Arc::new(herald), git, folder.join("state"))
}

fn config() -> MasterConfig {
    let text = format!(
        r#"farm = "{}"
bus = "nats://127.0.0.1:1"
keyring = "k"
signing-key = "s"
bus-key = "b"
state = "state"
[repositories.python]
url = "/srv/python.git"
branches = ["main"]
[repositories.foo]
url = "/srv/foo.git"
branches = ["main"]
[builders.foo-linux]
slave = "maple"
project = "foo"
sources = {{ python = "main" }}
steps = [{{ command = "test" }}]
"#,
        FarmId([1; 32])
    );
    let mut config = MasterConfig::parse(&text, Path::new("/")).unwrap();
    let source = ReleaseSource {
        place: ReleasePlace::Tags {
            repository: "foo".parse().unwrap(),
            prefix: Text::tidy("v"),
        },
        pre_releases: crate::master::PreReleases::Skip,
        poll_period: Duration::from_secs(3600),
        patience: Duration::from_secs(60),
    };
    config.releases.insert("foo".parse().unwrap(), source);
    config
}

/// The tasks that run, by what they watch.
fn running(watchers: &Watchers) -> BTreeMap<String, tokio::task::Id> {
    fn each<'a, Name: ToString + 'a, Task: 'a, Kept: 'a>(
        what: &'static str,
        all: &'a BTreeMap<Name, Running<Task, Kept>>,
    ) -> impl Iterator<Item = (String, tokio::task::Id)> + 'a {
        all.iter().filter_map(move |(name, running)| {
            let (_, handle) = running.task.as_ref()?;
            Some((format!("{what} {}", name.to_string()), handle.id()))
        })
    }
    each("repository", &watchers.repositories)
        .chain(each("releases", &watchers.releases))
        .collect()
}

#[tokio::test]
async fn only_what_changed_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut watchers = watchers(folder.path()).await;
    let mut config = config();
    watchers.follow(&config, &Nothing);
    let first = running(&watchers);
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["releases foo", "repository foo", "repository python"]
    );
    watchers.follow(&config, &Nothing);
    assert_eq!(running(&watchers), first);

    // Who minds paths wants another mirror.
    let builder = config.builders.values_mut().next().unwrap();
    let python: RepositoryName = "python".parse().unwrap();
    builder.paths.insert(python.clone(), PathFilter::default());
    watchers.follow(&config, &Nothing);
    let second = running(&watchers);
    assert_ne!(second["repository python"], first["repository python"]);
    assert_eq!(second["repository foo"], first["repository foo"]);
    assert_eq!(second["releases foo"], first["releases foo"]);

    // A repository that is somewhere else is looked for there, its tags too.
    let foo = config.repositories.get_mut(&"foo".parse().unwrap());
    foo.unwrap().url = "/srv/elsewhere.git".parse().unwrap();
    watchers.follow(&config, &Nothing);
    let third = running(&watchers);
    assert_ne!(third["repository foo"], first["repository foo"]);
    assert_ne!(third["releases foo"], first["releases foo"]);
    assert_eq!(third["repository python"], second["repository python"]);

    config.repositories.remove(&python);
    config.releases.clear();
    watchers.follow(&config, &Nothing);
    let last: Vec<String> = running(&watchers).into_keys().collect();
    assert_eq!(last, ["repository foo"]);
}

#[tokio::test]
async fn a_task_that_was_stopped_is_no_fault_and_one_that_ends_by_itself_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut watchers = watchers(folder.path()).await;
    let mut config = config();
    watchers.follow(&config, &Nothing);
    config.repositories.clear();
    config.releases.clear();
    watchers.follow(&config, &Nothing);
    // Until the runtime has ended them.
    while !watchers.tasks.is_empty() {
        assert!(watchers.ended().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    watchers.tasks.spawn(async {});
    watchers.ended().await;
}

#[tokio::test]
async fn a_hint_wakes_the_watchers_of_that_repository_and_many_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut watchers = watchers(folder.path()).await;
    watchers.follow(&config(), &Nothing);
    for _ in 0..1000 {
        watchers.hint(&"foo".parse().unwrap());
        watchers.hint(&"unknown".parse().unwrap());
    }
    let woken = |hints: &Notify| {
        let once = hints.notified().now_or_never().is_some();
        (once, hints.notified().now_or_never().is_some())
    };
    // No task has run yet: this one has not waited for anything since.
    let repository = |name: &str| &watchers.repositories[&name.parse().unwrap()].hints;
    assert_eq!(woken(repository("foo")), (true, false));
    assert_eq!(woken(repository("python")), (false, false));
    let releases = &watchers.releases[&"foo".parse().unwrap()].hints;
    assert_eq!(woken(releases), (true, false));
}
