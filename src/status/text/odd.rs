//! What is odd about a build.

use super::build::detail;
use super::step::result_warnings;
use crate::model::{ChainFaults, Verdict};
use crate::status::board::Board;
use crate::status::build::BuildStatus;

/// What is odd about a build, a line each.
pub(in crate::status) fn warnings(board: &Board, build: &BuildStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(cancel) = board.cancel_of(build) {
        warnings.push(format!("the master cancelled it: {}", cancel.reason));
    }
    if build.is_disputed() {
        warnings.push("the slave signed two different ends of it; the first is shown".to_owned());
    }
    for other in &build.contradictions {
        let verdict = other.body.verdict().map_or("", Verdict::word);
        let (detail, report) = (detail(&other.body), other.report);
        let stored = other.stored;
        warnings.push(format!(
            "it also signed {verdict}{detail}, stored {stored}, report {report}"
        ));
    }
    warnings.extend(of_chain(board.chain_faults_of(build)));
    if !build.proven {
        warnings.push(UNPROVEN.to_owned());
    }
    let namesakes = board.namesakes(&build.id()).count();
    if namesakes > 1 {
        warnings.push(format!(
            "{namesakes} commands bear this name; the first of them is shown"
        ));
    }
    warnings.extend(result_warnings(build));
    warnings
}

/// What is wrong with the chain of reports where a build stands in it.
fn of_chain(faults: ChainFaults) -> Vec<String> {
    let mut warnings = Vec::new();
    if faults.forked > 0 {
        let what = if faults.cloned {
            "two instances of the slave report on it, as if the slave had been copied or set back; reports signed twice"
        } else {
            "reports of it that the slave signed twice, differently"
        };
        warnings.push(format!("{what}: {}", faults.forked));
    }
    if faults.broken > 0 {
        warnings.push(format!(
            "reports of it that do not name the slave's report before, so that one was exchanged: {}",
            faults.broken
        ));
    }
    if faults.missing > 0 {
        warnings.push(format!(
            "reports of the slave that are missing, and may be about it: {}",
            faults.missing
        ));
    }
    warnings
}

const UNPROVEN: &str =
    "ordered by a key that was stolen, and not answered: nobody can say that the master ordered it";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ReportBody;
    use crate::status::sample::{Sample, at, finished, started, text};

    #[test]
    fn a97_a98_what_the_slaves_reports_contradict_or_lack_is_said() {
        let sample = Sample::new();
        let order = sample.order("foo-maple", 1, 'a');
        let mut board = sample.board();
        board.apply(sample.ordered(1, &order));
        let lost = ReportBody::Lost {
            detail: text("the slave was restarted"),
        };
        let said = [
            (1, 1, started(0, at(101))),
            (2, 2, lost.clone()),
            (5, 3, finished(Verdict::Passed)),
            (6, 4, finished(Verdict::Failed)),
        ];
        for (sequence, after, body) in said {
            board.apply(sample.reported(&order, sequence, after, body));
        }
        let odd = |board: &Board| warnings(board, board.build(&order.id()).unwrap()).join("\n");
        insta::assert_snapshot!(odd(&board), @"
        the slave signed two different ends of it; the first is shown
        it also signed failed, stored 2026-11-22T18:01:44.001Z, report SHA256:BitZcwnsE5aTDwazuZRgm2/AgbHvVIY8jg6Ja93+FsM
        reports of the slave that are missing, and may be about it: 2
        ");
        board.apply(sample.reported_by_a_copy(&order, 6, 9, lost));
        let exchanged = sample.reported(
            &sample.order("foo-maple", 2, 'b'),
            4,
            1,
            started(0, at(201)),
        );
        board.apply(exchanged);
        insta::assert_snapshot!(odd(&board), @"
        the slave signed two different ends of it; the first is shown
        it also signed failed, stored 2026-11-22T18:01:44.001Z, report SHA256:BitZcwnsE5aTDwazuZRgm2/AgbHvVIY8jg6Ja93+FsM
        it also signed lost: the slave was restarted, stored 2026-11-22T18:01:49.001Z, report SHA256:DRZ5JjBWZl59+Ij8Qz/KelqUEaG32qf4Huqsov/X7Uk
        two instances of the slave report on it, as if the slave had been copied or set back; reports signed twice: 1
        reports of it that do not name the slave's report before, so that one was exchanged: 1
        reports of the slave that are missing, and may be about it: 1
        ");
    }
}
