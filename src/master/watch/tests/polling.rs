use super::*;

#[tokio::test]
async fn first_poll_finds_each_branch_and_lists_its_tip() {
    let farm = Farm::new();
    farm.commit("one");
    farm.origin(&["branch", "3.15"]);
    let tip = farm.commit("two");
    let mirror = farm.mirror(&["main", "3.15"]);

    let tips = mirror.poll().await.unwrap();
    let older = farm.tip("3.15");
    assert_eq!(
        found(&tips),
        [("3.15", older.as_str()), ("main", tip.as_str())]
    );
    assert!(tips.absent.is_empty());

    let history = mirror.commits(None, &tip).await.unwrap();
    let committed = farm.origin(&["log", "-1", "--format=%ct"]);
    let expected = Commit {
        revision: tip,
        author: Text::tidy("Ada"),
        subject: Text::tidy("two"),
        committed: crate::model::Timestamp(committed.parse::<u64>().unwrap() * 1_000_000),
    };
    assert_eq!(
        history,
        History {
            commits: vec![expected],
            more: 0,
            rewritten: false
        }
    );
}

#[tokio::test]
async fn idle_poll_fetches_nothing() {
    let farm = Farm::new();
    farm.commit("one");
    farm.origin(&["branch", "3.15"]);
    let (program, calls) = (farm.path("bin/git"), farm.path("calls"));
    let body = format!("echo \"$@\" >>'{}'\nexec git \"$@\"", text(&calls));
    farm.script(&program, &body);
    let git = Git { program, ..git() };
    let mirror = farm.mirror_with(git, &["main", "3.15"]);
    let called = || {
        let calls = files::read_to_string(&calls).unwrap();
        [" ls-remote ", " for-each-ref ", " fetch "].map(|word| calls.matches(word).count())
    };

    let first = mirror.poll().await.unwrap();
    assert_eq!(called(), [1, 2, 1]);
    assert_eq!(mirror.poll().await.unwrap(), first);
    assert_eq!(called(), [2, 3, 1]);
    farm.origin(&["branch", "-D", "3.15"]);
    mirror.poll().await.unwrap();
    assert_eq!(called(), [3, 5, 1]);
}

#[tokio::test]
async fn vanished_branch_is_named_and_the_others_go_on() {
    let farm = Farm::new();
    farm.commit("one");
    farm.origin(&["branch", "a"]);
    let mirror = farm.mirror(&["main", "a", "a/b"]);
    let tips = mirror.poll().await.unwrap();
    assert_eq!(tips.absent, [branch("a/b")].into());

    // The mirror's own `a` must not stand in the way of `a/b`.
    farm.origin(&["branch", "-m", "a", "a/b"]);
    let tip = farm.commit("two");
    let tips = mirror.poll().await.unwrap();
    assert_eq!(tips.absent, [branch("a")].into());
    assert_eq!(tips.found[&branch("main")], tip);
    assert_eq!(tips.found[&branch("a/b")], farm.tip("a/b"));

    let nothing = farm.mirror(&["elsewhere"]).poll().await.unwrap();
    assert_eq!(nothing.absent, [branch("elsewhere")].into());
    assert!(nothing.found.is_empty());
}

#[tokio::test]
async fn repository_with_sha256_names_is_watched_too() {
    let farm = Farm::with_format("sha256");
    let tip = farm.commit("one");
    let mirror = farm.mirror(&["main"]);
    assert_eq!(
        found(&mirror.poll().await.unwrap()),
        [("main", tip.as_str())]
    );
    let history = mirror.commits(None, &tip).await.unwrap();
    assert_eq!(subjects(&history), ["one"]);
}

#[tokio::test]
async fn branch_that_looks_like_a_watched_one_does_not_disturb() {
    let farm = Farm::new();
    let tip = farm.commit("one");
    farm.origin(&["branch", "x/refs/heads/main"]);
    farm.origin(&["branch", "x+y/refs/heads/main"]);
    farm.origin(&["tag", "main"]);
    let tips = farm.mirror(&["main"]).poll().await.unwrap();
    assert_eq!(found(&tips), [("main", tip.as_str())]);
    assert_eq!(
        farm.mirrored(&["for-each-ref", "--format=%(refname)"]),
        "refs/heads/main"
    );
}

#[tokio::test]
async fn tags_are_listed_without_their_prefix_and_each_once() {
    let farm = Farm::new();
    farm.commit("one");
    farm.origin(&["tag", "v1.0"]);
    farm.origin(&["tag", "-a", "-m", "annotated", "v1.1"]);
    farm.origin(&["tag", "other"]);
    farm.origin(&["tag", "x/refs/tags/v9"]);
    farm.origin(&["branch", "v7"]);
    let mirror = farm.mirror(&["main"]);
    let tags = async |prefix: &str| mirror.tags(&Text::tidy(prefix)).await.unwrap();
    assert_eq!(tags("v").await, ["1.0", "1.1"]);
    assert_eq!(tags("").await, ["other", "v1.0", "v1.1", "x/refs/tags/v9"]);
    // No pattern to git.
    assert!(tags("*").await.is_empty());
    assert_eq!(
        listing::tags(b"1\trefs/tags/v2^{}\n1\trefs/tags/v2\n", "v"),
        Some(vec!["2".to_owned()])
    );
}
