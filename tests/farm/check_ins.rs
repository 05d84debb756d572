//! The main job.

use pybots::model::Verdict;

use crate::harness::Farm;
use crate::process::eventually;
use crate::process::now;

#[tokio::test]
async fn a_check_in_runs_the_mapped_script_exactly_once_with_the_right_revision() {
    let mut farm = Farm::new().await;
    let revision = farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    let verdict = eventually("a verdict", || async {
        farm.board()
            .await
            .verdict_of(&"foo-linux/1".parse().unwrap(), now())
    })
    .await;
    assert_eq!(verdict, Verdict::Passed);
    assert_eq!(farm.ran(), [format!("foo-linux/1 {revision}")]);

    let second = farm.check_in("second");
    eventually("a second verdict", || async {
        farm.board()
            .await
            .verdict_of(&"foo-linux/2".parse().unwrap(), now())
    })
    .await;
    assert_eq!(farm.ran()[1..], [format!("foo-linux/2 {second}")]);
    assert_eq!(
        farm.log(&"foo-linux/2".parse().unwrap()).await,
        "recorded\n"
    );
}

#[tokio::test]
async fn a_remote_that_does_not_answer_and_a_branch_that_vanished_hold_up_nobody_else() {
    let mut farm = Farm::new().await;
    let more = format!(
        r#"[repositories.silent]
url = "{}"
branches = ["main"]
poll-seconds = 1
[repositories.half]
url = "{}"
branches = ["main", "gone"]
poll-seconds = 1
"#,
        farm.text("no-such-repository"),
        farm.text("trunk")
    );
    farm.write_master_toml(&more);
    farm.check_in("first");
    farm.start_master();
    farm.start_slave().await;
    eventually("a verdict", || async {
        farm.board()
            .await
            .verdict_of(&"foo-linux/1".parse().unwrap(), now())
    })
    .await;
    let said = eventually("both faults are told", || async {
        let said = farm.master.as_ref().unwrap().said();
        (said.contains("repository not readable") && said.contains("branch not there"))
            .then_some(said)
    })
    .await;
    assert!(said.contains("repository=silent"), "{said}");
    assert!(said.contains("branch=gone"), "{said}");
}
