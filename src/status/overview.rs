//! The whole farm at a glance: a pure fold over the rows of the board.

mod sentence;
#[cfg(test)]
mod tests;

pub(super) use sentence::of_silent_master;

use super::board::Board;
use super::keyrings::of_fault;
use super::row::{Row, Shown, SlaveStanding};
use crate::model::{
    Branch, ChainFaults, ProjectName, RepositoryName, SlaveName, Timestamp, Verdict,
};

/// The whole farm at a glance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overview {
    /// What the sentence amounts to.
    pub tone: Tone,
    /// Whether trunk is safe, as far as is known, in one sentence.
    pub headline: String,
    /// What weakens it, a short sentence each.
    pub remarks: Vec<String>,
    /// By project and branches.
    pub strips: Vec<Strip>,
    /// Builders that were never given a command.
    pub idle: Vec<Row>,
    /// The slaves of which there is no recent sign, those unseen for longest first.
    pub silent: Vec<Silence>,
    /// How many slaves there are that have not left.
    pub slaves: usize,
    /// How many builders build, or are about to.
    pub running: usize,
    /// How many more builds are ordered and not over.
    pub waiting: usize,
    /// What is odd about the streams or the slaves.
    pub notes: Vec<String>,
}

/// What the sentence amounts to. Only [`Tone::Good`] may be green.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// Everything passes, on the newest code, on every builder.
    Good,
    /// Everything that is known passes, and not everything is known.
    Partly,
    /// Something passes with warnings, and nothing fails.
    Warned,
    /// Something fails.
    Bad,
    /// Nothing is known of the newest code.
    Unknown,
}

/// A project on the branches that its builders test together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Strip {
    /// Whose tests.
    pub project: ProjectName,
    /// The branches.
    pub branches: Vec<(RepositoryName, Branch)>,
    /// Its builders.
    pub rows: Vec<Row>,
}

/// A slave of which there is no recent sign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Silence {
    /// Which.
    pub slave: SlaveName,
    /// When it last said that it is alive, as far as the stream still tells.
    pub last_seen: Option<Timestamp>,
    /// Until when its owner has paused it.
    pub paused_until: Option<Timestamp>,
    /// How many builders it serves.
    pub builders: usize,
}

/// What a row says of the newest code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Passes,
    Warns,
    Fails,
    /// It is stale, or unknown, or the slave contradicts itself.
    Nothing,
    /// It counts nowhere: its slave is on probation, or has left and its word is old.
    Out,
}

impl Overview {
    /// The overview at `now`.
    #[must_use]
    pub fn of(board: &Board, now: Timestamp) -> Self {
        let rows = board.rows(now);
        let notes = notes(board, &rows);
        let slaves = slaves(&rows);
        let silent = silent(&rows);
        let running = rows.iter().filter(|row| row.running.is_some()).count();
        let waiting = rows.iter().map(|row| row.waiting).sum();
        let (strips, idle) = strips(rows);
        let silent_master = board.master_silent(now);
        let keys_fault = board.keys_fault(now);
        let tone = match (sentence::tone(&strips), silent_master, &keys_fault) {
            // What passed may not be the newest, or not be what somebody entitled has asked for.
            (Tone::Good, Some(_), _) | (Tone::Good, _, Some(_)) => Tone::Partly,
            (tone, _, _) => tone,
        };
        let headline = sentence::headline(&strips, &idle, tone, now);
        let mut remarks: Vec<String> = keys_fault.iter().map(of_fault).collect();
        remarks.extend(sentence::remarks(&strips, (silent.len(), slaves)));
        remarks.extend(silent_master.map(of_silent_master));
        Self {
            tone,
            headline,
            remarks,
            strips,
            idle,
            silent,
            slaves,
            running,
            waiting,
            notes,
        }
    }
}

impl Overview {
    /// Headline and remarks as one text.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut sentence = self.headline.clone();
        for remark in &self.remarks {
            sentence.push(' ');
            sentence.push_str(remark);
        }
        sentence
    }
}

fn strips(rows: Vec<Row>) -> (Vec<Strip>, Vec<Row>) {
    let mut strips: Vec<Strip> = Vec::new();
    let mut idle = Vec::new();
    for row in rows {
        let Some(project) = row.project.clone() else {
            idle.push(row);
            continue;
        };
        let same = |strip: &&mut Strip| strip.project == project && strip.branches == row.branches;
        match strips.iter_mut().find(same) {
            Some(strip) => strip.rows.push(row),
            None => strips.push(Strip {
                project,
                branches: row.branches.clone(),
                rows: vec![row],
            }),
        }
    }
    strips.sort_by(|a, b| (&a.project, &a.branches).cmp(&(&b.project, &b.branches)));
    (strips, idle)
}

/// Whether a slave is one of the farm's now.
fn belongs(standing: SlaveStanding) -> bool {
    match standing {
        SlaveStanding::Active | SlaveStanding::Probation | SlaveStanding::Paused => true,
        SlaveStanding::Revoked | SlaveStanding::Closed | SlaveStanding::Unlisted => false,
    }
}

fn slaves(rows: &[Row]) -> usize {
    let belonging = rows.iter().filter(|row| belongs(row.standing));
    let mut slaves: Vec<_> = belonging.filter_map(|row| row.slave.as_ref()).collect();
    slaves.sort_unstable();
    slaves.dedup();
    slaves.len()
}

fn silent(rows: &[Row]) -> Vec<Silence> {
    let mut silent: Vec<Silence> = Vec::new();
    let mut builders: Vec<_> = rows.iter().filter(|row| row.silent).collect();
    // A builder that tests several branches has several rows.
    builders.dedup_by_key(|row| (&row.builder, &row.slave));
    for row in builders {
        let Some(slave) = row.slave.as_ref().filter(|_| belongs(row.standing)) else {
            continue;
        };
        match silent.iter_mut().find(|silence| silence.slave == *slave) {
            Some(silence) => silence.builders += 1,
            None => silent.push(Silence {
                slave: slave.clone(),
                last_seen: row.last_seen,
                paused_until: row.paused_until,
                builders: 1,
            }),
        }
    }
    silent.sort_by(|a, b| (a.last_seen, &a.slave).cmp(&(b.last_seen, &b.slave)));
    silent
}

impl Strip {
    /// How many of its builders count.
    #[must_use]
    pub fn builders(&self) -> usize {
        let counts = |row: &&Row| word(row) != Word::Out;
        self.rows.iter().filter(counts).count()
    }

    /// What its builders amount to together.
    #[must_use]
    pub fn tone(&self) -> Tone {
        let count = |wanted| self.rows.iter().filter(|row| word(row) == wanted).count();
        let passes = count(Word::Passes);
        if count(Word::Fails) > 0 {
            Tone::Bad
        } else if count(Word::Warns) > 0 {
            Tone::Warned
        } else if passes == 0 {
            Tone::Unknown
        } else if passes == self.builders() && !self.rows.iter().any(is_behind) {
            Tone::Good
        } else {
            Tone::Partly
        }
    }
}

/// Whether a row that counts speaks of code that is not the newest.
fn is_behind(row: &Row) -> bool {
    let speaks = !matches!(word(row), Word::Nothing | Word::Out);
    speaks && row.behind.is_some_and(|behind| behind > 0)
}

fn word(row: &Row) -> Word {
    let shown = row.shown();
    let known = matches!(shown, Shown::Verdict(_));
    if row.standing == SlaveStanding::Probation || !(known || belongs(row.standing)) {
        return Word::Out;
    }
    if row.last_word.as_ref().is_some_and(|last| last.disputed) {
        return Word::Nothing;
    }
    match shown {
        Shown::Verdict(Verdict::Passed) => Word::Passes,
        Shown::Verdict(Verdict::Warned) => Word::Warns,
        Shown::Verdict(Verdict::Failed) => Word::Fails,
        Shown::Verdict(
            Verdict::Skipped
            | Verdict::Refused
            | Verdict::Cancelled
            | Verdict::TimedOut
            | Verdict::Errored
            | Verdict::Lost,
        )
        | Shown::Stale(_)
        | Shown::Unknown => Word::Nothing,
    }
}

/// What is wrong with the chain of a slave's reports, a line each.
fn of_chain(slave: &SlaveName, faults: ChainFaults) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(from) = faults.forked_from {
        let forked = faults.forked;
        notes.push(if faults.cloned {
            format!(
                "two instances of {slave} report since its report {from}, as if it had been copied or set back; reports \
                 that it signed twice: {forked}"
            )
        } else {
            format!(
                "reports of {slave} that it signed twice, differently, since its report {from}: {forked}"
            )
        });
    }
    if faults.cloned && faults.forked == 0 {
        notes.push(format!(
            "two instances of {slave} are alive, as if it had been copied or set back"
        ));
    }
    let counts = [
        (
            faults.broken,
            "that do not name the one before, so that one was exchanged",
        ),
        (faults.missing, "that are missing"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        notes.push(format!("reports of {slave} {what}: {count}"));
    }
    notes
}

/// What is odd about the streams or the slaves, a line each.
pub(super) fn notes(board: &Board, rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut counted = Vec::new();
    for row in rows {
        if let Some(last) = &row.last_word
            && last.disputed
        {
            notes.push(format!(
                "{}/{}: the slave signed two different ends of it; the first is shown",
                row.builder, last.number
            ));
        }
        if let Some(slave) = &row.slave
            && !row.chain.is_none()
            && !counted.contains(&slave)
        {
            counted.push(slave);
            notes.extend(of_chain(slave, row.chain));
        }
    }
    let counts = [
        (
            board.strays().count(),
            "reports that answer no command given to their sender, and are no results",
        ),
        (
            board.unproven().count(),
            "messages that do not verify, and count for nothing",
        ),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        notes.push(format!("{what}: {count}"));
    }
    notes
}
