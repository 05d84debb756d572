use super::*;

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
