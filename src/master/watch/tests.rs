use std::fs::{self as files, File};
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::*;

/// A folder with a repository that is watched (`origin`) and its mirror (`mirror`).
struct Farm {
    folder: TempDir,
}

impl Farm {
    fn new() -> Self {
        Self::with_format("sha1")
    }

    fn with_format(format: &str) -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files::create_dir(farm.path("origin")).unwrap();
        farm.origin(&["init", "-q", "-b", "main", "--object-format", format]);
        farm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs git in the watched repository.
    fn origin(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(self.path("origin"))
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs git in the mirror.
    fn mirrored(&self, args: &[&str]) -> String {
        let mirror = self.path("mirror/mirror.git");
        self.origin(&[&["--git-dir", text(&mirror)], args].concat())
    }

    fn commit(&self, message: &str) -> Revision {
        files::write(self.path("message"), message).unwrap();
        let file = self.path("message");
        self.origin(&["commit", "-q", "--allow-empty", "-F", text(&file)]);
        self.tip("HEAD")
    }

    fn tip(&self, name: &str) -> Revision {
        self.origin(&["rev-parse", name]).parse().unwrap()
    }

    /// Writes a program. Through a child, as a file that this process had open for writing might not be executable yet.
    fn script(&self, path: &Path, body: &str) {
        let status = Command::new("sh")
            .args([
                "-c",
                "mkdir -p \"${1%/*}\" && printf '%s\\n' '#!/bin/sh' \"$2\" >\"$1\" && chmod +x \"$1\"",
            ])
            .args(["sh", text(path), body])
            .current_dir(self.folder.path())
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn mirror(&self, branches: &[&str]) -> Mirror {
        self.mirror_with(git(), branches)
    }

    fn mirror_with(&self, git: Git, branches: &[&str]) -> Mirror {
        Mirror::new(
            git,
            "cpython".parse().unwrap(),
            text(&self.path("origin")).parse().unwrap(),
            self.path("mirror"),
            branches.iter().map(|b| branch(b)).collect(),
            Duration::from_secs(60),
        )
    }
}

fn git() -> Git {
    Git {
        program: "git".into(),
        path: "/usr/local/bin:/usr/bin:/bin".into(),
    }
}

fn branch(name: &str) -> Branch {
    name.parse().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn found(tips: &Tips) -> Vec<(&str, &str)> {
    tips.found
        .iter()
        .map(|(branch, tip)| (branch.as_str(), tip.as_str()))
        .collect()
}

fn subjects(history: &History) -> Vec<&str> {
    history
        .commits
        .iter()
        .map(|commit| commit.subject.as_str())
        .collect()
}

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
async fn silent_remote_is_given_up_in_time() {
    // The system accepts connections for it; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/a.git", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mirror = Mirror::new(
        git(),
        "cpython".parse().unwrap(),
        url.parse().unwrap(),
        folder.path().join("mirror"),
        vec![branch("main")],
        Duration::from_millis(300),
    );

    let got = timeout(Duration::from_secs(10), mirror.poll()).await;
    let error = got.unwrap().unwrap_err();
    assert!(matches!(error, WatchError::Slow { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the remote of repository cpython did not answer within 300ms"
    );
}

#[tokio::test]
async fn poll_that_is_dropped_leaves_no_process_behind() {
    let farm = Farm::new();
    let (program, alive) = (farm.path("bin/git"), farm.path("alive"));
    let made = Command::new("mkfifo").arg(&alive).status().unwrap();
    assert!(made.success());
    // The pipe is open for as long as the program's child lives.
    let body = format!("sleep 30 >'{}' & wait", text(&alive));
    farm.script(&program, &body);
    let mirror = farm.mirror_with(Git { program, ..git() }, &["main"]);

    let mut pipe = tokio::select! {
        ended = mirror.poll() => panic!("{ended:?}"),
        started = spawn_blocking(|| File::open(alive)) => started.unwrap().unwrap(),
    };
    let end = spawn_blocking(move || pipe.read(&mut [0]));
    let read = timeout(Duration::from_secs(10), end).await.unwrap();
    assert_eq!(read.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn remote_that_is_no_repository_is_told_in_the_words_of_git() {
    let farm = Farm::new();
    files::remove_dir_all(farm.path("origin/.git")).unwrap();
    let error = farm.mirror(&["main"]).poll().await.unwrap_err();
    let origin = farm.path("origin");
    assert_eq!(
        error.to_string(),
        format!(
            "git failed for repository cpython: fatal: '{}' does not appear to be a git repository",
            text(&origin)
        )
    );
}

#[tokio::test]
async fn missing_git_program_is_told_as_such() {
    let farm = Farm::new();
    let program = farm.path("no-such-git");
    let git = Git { program, ..git() };
    let got = farm.mirror_with(git, &["main"]).poll().await;
    assert!(matches!(got, Err(WatchError::NoGit { .. })), "{got:?}");
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
async fn no_hook_runs_wherever_it_is_named() {
    let farm = Farm::new();
    farm.commit("one");
    let mirror = farm.mirror(&["main"]);
    mirror.poll().await.unwrap();

    let ran = farm.path("ran");
    let hook = format!("touch '{}'", text(&ran));
    let (beside, elsewhere) = (farm.path("mirror/mirror.git/hooks"), farm.path("hooks"));
    for folder in [&beside, &elsewhere] {
        farm.script(&folder.join("reference-transaction"), &hook);
    }
    let pack = farm.path("pack");
    farm.script(&pack, &hook);
    farm.origin(&["config", "uploadpack.packObjectsHook", text(&pack)]);

    farm.commit("two");
    mirror.poll().await.unwrap();
    assert!(!ran.exists());

    farm.mirrored(&["config", "core.hooksPath", text(&elsewhere)]);
    farm.commit("three");
    mirror.poll().await.unwrap();
    assert!(!ran.exists());
}

#[tokio::test]
async fn git_sees_no_environment_but_this() {
    let farm = Farm::new();
    let (program, seen) = (farm.path("bin/git"), farm.path("seen"));
    farm.script(&program, &format!("exec env >'{}'", text(&seen)));
    let git = Git { program, ..git() };
    farm.mirror_with(git, &["main"]).poll().await.unwrap();

    let seen = files::read_to_string(seen).unwrap();
    let mut lines: Vec<&str> = seen
        .lines()
        .filter(|line| !["PWD", "OLDPWD", "SHLVL", "_"].contains(&line.split('=').next().unwrap()))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "GIT_ALLOW_PROTOCOL=https:ssh:file",
            "GIT_ATTR_NOSYSTEM=1",
            "GIT_CONFIG_GLOBAL=/dev/null",
            "GIT_CONFIG_NOSYSTEM=1",
            "GIT_NO_LAZY_FETCH=1",
            "GIT_PROTOCOL_FROM_USER=0",
            "GIT_SSH_COMMAND=ssh -oBatchMode=yes",
            "GIT_TERMINAL_PROMPT=0",
            "HOME=/nonexistent",
            "LC_ALL=C",
            "PATH=/usr/local/bin:/usr/bin:/bin",
        ]
    );
}

#[tokio::test]
async fn half_made_mirror_is_made_again_and_nothing_else_is_touched() {
    let farm = Farm::new();
    let tip = farm.commit("one");
    for half_made in ["mirror.git", "draft.git"] {
        let folder = farm.path("mirror").join(half_made);
        files::create_dir_all(&folder).unwrap();
        files::write(folder.join("config.lock"), "").unwrap();
    }
    files::write(farm.path("mirror/notes"), "mine").unwrap();

    let tips = farm.mirror(&["main"]).poll().await.unwrap();
    assert_eq!(found(&tips), [("main", tip.as_str())]);
    assert!(farm.path("mirror/notes").exists());
    assert!(!farm.path("mirror/draft.git").exists());
}

#[tokio::test]
async fn what_a_killed_git_left_is_swept_away() {
    let farm = Farm::new();
    farm.commit("one");
    farm.origin(&["branch", "tmp_x"]);
    let mirror = farm.mirror(&["main", "tmp_x"]);
    mirror.poll().await.unwrap();
    let left = [
        "config.lock",
        "refs/heads/main.lock",
        "objects/pack/tmp_pack_1",
    ]
    .map(|name| farm.path("mirror/mirror.git").join(name));
    for path in &left {
        files::write(path, "").unwrap();
    }

    let tip = farm.commit("two");
    let tips = mirror.poll().await.unwrap();
    assert_eq!(tips.found[&branch("main")], tip);
    assert_eq!(tips.found.len(), 2);
    for path in &left {
        assert!(!path.exists(), "{}", path.display());
    }
}

#[tokio::test]
async fn mirror_holds_commits_only_where_the_remote_can_leave_out_the_rest() {
    for able in ["true", "false"] {
        let farm = Farm::new();
        farm.origin(&["config", "uploadpack.allowFilter", able]);
        let mirror = farm.mirror(&["main"]);
        let mut previous = farm.commit("zero");
        for name in ["one", "two"] {
            files::write(farm.path("origin").join(name), name).unwrap();
            farm.origin(&["add", "."]);
            let tip = farm.commit(name);
            mirror.poll().await.unwrap();
            let history = mirror.commits(Some(&previous), &tip).await.unwrap();
            assert_eq!(subjects(&history), [name]);
            previous = tip;
        }
        let objects = farm.mirrored(&[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objecttype)",
        ]);
        assert_eq!(objects.contains("tree"), able == "false", "{objects}");
    }
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
