use super::*;

#[tokio::test]
async fn moved_branch_lists_its_new_commits_newest_first() {
    let farm = Farm::new();
    let previous = farm.commit("one");
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();
    farm.commit("two");
    let tip = farm.commit("three");

    let tips = mirror.poll().await.unwrap();
    assert_eq!(found(&tips), [("main", tip.as_str())]);
    let history = mirror.commits(Some(&previous), &tip).await.unwrap();
    assert_eq!(subjects(&history), ["three", "two"]);
    assert_eq!((history.more, history.rewritten), (0, false));
    let unmoved = mirror.commits(Some(&tip), &tip).await.unwrap();
    assert!(unmoved.commits.is_empty() && !unmoved.rewritten);
}

#[tokio::test]
async fn merged_branch_is_listed_as_its_merge_only() {
    let farm = Farm::new();
    let previous = farm.commit("one");
    farm.origin(&["switch", "-q", "-c", "side"]);
    farm.commit("aside");
    farm.origin(&["switch", "-q", "main"]);
    farm.commit("two");
    farm.origin(&["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();

    let tip = farm.tip("main");
    let history = mirror.commits(Some(&previous), &tip).await.unwrap();
    assert_eq!(subjects(&history), ["merge", "two"]);
    assert_eq!(history.more, 0);
}

#[tokio::test]
async fn fifty_commits_are_listed_and_the_rest_counted() {
    let farm = Farm::new();
    let previous = farm.commit("0");
    for number in 1..=53 {
        farm.commit(&number.to_string());
    }
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();

    let tip = farm.tip("main");
    let history = mirror.commits(Some(&previous), &tip).await.unwrap();
    assert_eq!(history.commits.len(), Change::MAX_COMMITS);
    assert_eq!(history.commits[0].revision, tip);
    assert_eq!(history.commits[49].subject.as_str(), "4");
    assert_eq!(history.more, 3);
}

#[tokio::test]
async fn rewritten_branch_says_so_and_lists_its_tip() {
    let farm = Farm::new();
    farm.commit("one");
    let previous = farm.commit("two");
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();
    farm.origin(&["reset", "-q", "--hard", "HEAD~1"]);
    farm.commit("other two");
    let tip = farm.commit("three");

    let tips = mirror.poll().await.unwrap();
    assert_eq!(found(&tips), [("main", tip.as_str())]);
    let never_seen = "1".repeat(40).parse().unwrap();
    for previous in [previous, never_seen] {
        let history = mirror.commits(Some(&previous), &tip).await.unwrap();
        assert_eq!(subjects(&history), ["three"], "{previous}");
        assert_eq!((history.more, history.rewritten), (0, true), "{previous}");
    }
}

#[tokio::test]
async fn tip_that_is_not_in_the_mirror_is_an_error() {
    let farm = Farm::new();
    farm.commit("one");
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();
    let unfetched = farm.commit("two");
    let got = mirror.commits(None, &unfetched).await;
    assert!(matches!(got, Err(WatchError::Failed { .. })), "{got:?}");
}

#[tokio::test]
async fn hostile_author_and_subject_are_tidied() {
    let farm = Farm::new();
    farm.origin(&[
        "-c",
        "user.name=A\x1b[31mda",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "a\x1b[2Jb\u{202e}c",
    ]);
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();
    let history = mirror.commits(None, &farm.tip("main")).await.unwrap();
    assert_eq!(history.commits[0].author.as_str(), "A [31mda");
    assert_eq!(subjects(&history), ["a [2Jb c"]);
}

#[tokio::test]
async fn endless_subject_does_not_stop_the_watch() {
    let farm = Farm::new();
    let previous = farm.commit("one");
    farm.commit("two");
    let tip = farm.commit(&"x".repeat(5 << 20));
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();
    let history = mirror.commits(Some(&previous), &tip).await.unwrap();
    assert_eq!(history.commits.len(), 1);
    assert!(subjects(&history)[0].ends_with("x…"));
    assert_eq!((history.more, history.rewritten), (1, false));
}

#[tokio::test]
async fn paths_are_those_in_which_the_two_revisions_differ_and_only_where_they_were_asked_for() {
    let farm = Farm::new();
    farm.origin(&["config", "uploadpack.allowFilter", "true"]);
    farm.commit_file("Lib/a.py", "a");
    let previous = farm.commit_file("Lib/b.py", "b");
    farm.commit_file("Lib/a.py", "other");
    farm.origin(&["mv", "Lib/b.py", "README"]);
    let tip = farm.commit("moved");

    let shallow = farm.mirror(&["main"]);
    shallow.poll().await.unwrap();
    assert_eq!(shallow.paths(&previous, &tip).await.unwrap(), None);
    // The mirror of commits alone gives way to one with trees.
    let mirror = farm.mirror(&["main"]).with_depth(Depth::Trees);
    mirror.poll().await.unwrap();
    assert!(!farm.path("mirror/mirror.git").exists());
    let paths = mirror.paths(&previous, &tip).await.unwrap().unwrap();
    let paths: Vec<&str> = paths.iter().map(Text::as_str).collect();
    assert_eq!(paths, ["Lib/a.py", "Lib/b.py", "README"]);
    let never_seen = "1".repeat(40).parse().unwrap();
    assert_eq!(mirror.paths(&never_seen, &tip).await.unwrap(), None);
    let same = mirror.paths(&tip, &tip).await.unwrap();
    assert_eq!(same, Some(Vec::new()));
}

#[tokio::test]
async fn paths_that_are_too_many_or_no_plain_text_are_not_known() {
    let farm = Farm::new();
    let mut previous = farm.commit("one");
    for file in ["a\u{202e}b", "a\nb", &"x".repeat(100)] {
        let tip = farm.commit_file(file, "");
        let mirror = farm.mirror(&["main"]).with_depth(Depth::Trees);
        mirror.poll().await.unwrap();
        let paths = mirror.paths(&previous, &tip).await.unwrap();
        assert_eq!(paths.is_some(), file.starts_with('x'), "{file:?}");
        previous = tip;
    }
}

#[test]
fn paths_are_listed_up_to_what_a_change_may_hold() {
    let list = |count: usize, path: &str| {
        let listing = format!("{path}\0").repeat(count);
        listing::paths(listing.as_bytes()).map(|paths| paths.len())
    };
    assert_eq!(list(0, "a"), Some(0));
    assert_eq!(list(Change::MAX_PATHS, "a"), Some(Change::MAX_PATHS));
    assert_eq!(list(Change::MAX_PATHS + 1, "a"), None);
    let long = "x".repeat(512);
    let most = Change::MAX_PATH_BYTES / 512;
    assert_eq!(list(most, &long), Some(most));
    assert_eq!(list(most + 1, &long), None);
    assert_eq!(list(1, &"x".repeat(513)), None);
    assert_eq!(listing::paths(b"a\0\xff\0"), None);
    // Cut in the middle of a path.
    assert_eq!(listing::paths(b"a\0b"), None);
}
