use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;

use tokio::task::spawn_blocking;

use super::*;

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
async fn remote_that_serves_garbage_is_an_error_and_the_mirror_stays_as_it_was() {
    let farm = Farm::new();
    let tip = farm.commit("one");
    let program = farm.path("bin/git");
    for garbage in [
        "echo what is this",
        "printf '%s\\trefs/heads/main\\n' \"not a revision\"",
        "head -c 5000000 /dev/zero",
    ] {
        let mirror = farm.mirror(&["main"]);
        mirror.poll().await.unwrap();
        let body = format!("case \"$*\" in *ls-remote*) {garbage};; *) exec git \"$@\";; esac");
        farm.script(&program, &body);
        let git = Git {
            program: program.clone(),
            ..git()
        };
        let got = farm.mirror_with(git, &["main"]).poll().await;
        assert!(matches!(got, Err(WatchError::Garbled { .. })), "{got:?}");
        assert_eq!(farm.mirrored(&["rev-parse", "main"]), tip.as_str());
    }
}
