//! The slave's disk is restored from an older copy.

use super::*;
use crate::trunk::copy_folder;

#[tokio::test]
async fn a138_a_slave_on_an_older_copy_of_its_disk_runs_nothing_twice_and_goes_on_with_its_chain() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().terminate();
    copy_folder(&farm.path("slave/state"), &farm.path("copy"));

    farm.start_slave().await;
    let build = farm.order(2, &["record"]);
    let sealed = farm.seal(&build);
    let subject = farm.bus.subjects().command(&build.slave, &build.builder);
    farm.publish(subject.clone(), sealed.bytes.clone()).await;
    assert_eq!(farm.verdict(sealed.id).await, Verdict::Passed);
    farm.slave.as_mut().unwrap().terminate();
    let waiting = farm.order(3, &["record"]);

    fs::remove_dir_all(farm.path("slave/state")).unwrap();
    copy_folder(&farm.path("copy"), &farm.path("slave/state"));
    farm.start_slave().await;
    let message = "this slave has said more than it remembers";
    assert!(farm.slave_said().contains(message), "{}", farm.slave_said());
    // What ran comes again, and what was issued before this start might have run.
    farm.publish(subject, sealed.bytes).await;
    let waiting = farm.send(&waiting).await;
    let ending = farm.ending(waiting).await;
    let ReportBody::Refused { code, detail } = ending else {
        panic!("{ending:?}")
    };
    assert_eq!(code.as_str(), "E-RESTORED", "{detail}");
    farm.settle(4).await;
    assert_eq!(farm.ran().len(), 3, "{:?}", farm.ran());
    // It keeps that in mind.
    farm.slave.as_mut().unwrap().terminate();
    farm.start_slave().await;
    farm.settle(5).await;

    let shown = succeed(&[
        "status",
        "--json",
        "--farm",
        &crate::viewers::farm_file(&farm),
    ]);
    assert!(
        shown.replace(' ', "").contains("\"missing_reports\":0"),
        "{shown}"
    );
    for fault in ["\"forked\":true", "\"cloned\":true", "\"broken\":1"] {
        assert!(!shown.replace(' ', "").contains(fault), "{shown}");
    }
}

#[tokio::test]
async fn a134_a_thief_of_the_report_key_cannot_make_a_slaves_count_run_over() {
    let mut farm = Farm::with_slave().await;
    farm.settle(1).await;
    farm.slave.as_mut().unwrap().terminate();
    let last = farm.reports().await.pop().unwrap().into_body();
    for sequence in [u64::MAX, u64::MAX >> 1] {
        let said = pybots::model::Report {
            sequence,
            ..last.clone()
        };
        let subject = farm.bus.subjects().report(&said.slave, &said.builder);
        let sealed = seal(&farm.report_key(), &farm.id, &said);
        farm.publish(subject, sealed.bytes).await;
    }
    farm.start_slave().await;
    farm.settle(2).await;
    assert_eq!(farm.ran().len(), 2, "{:?}", farm.ran());
}
