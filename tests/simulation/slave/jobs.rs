//! What a slave runs.

use super::*;

impl World {
    pub(in super::super) fn start_queued(&mut self, number: usize) {
        loop {
            let slave = &mut self.slaves[number];
            if !slave.is_up || slave.running.len() >= parallel(number) {
                return;
            }
            let builder = |id: &PayloadId| slave.jobs.get(id).map(|job| &job.build.builder);
            let free = |id: &PayloadId| {
                !slave
                    .running
                    .iter()
                    .any(|other| builder(other) == builder(id))
            };
            let Some(place) = slave.queue.iter().position(free) else {
                return;
            };
            let Some(id) = slave.queue.remove(place) else {
                return;
            };
            slave.running.insert(id);
            let incarnation = slave.incarnation;
            let soon = self.chance.millis(10, 2_000);
            self.after(soon, Event::JobStarts(number, incarnation, id));
        }
    }

    /// A job is handed to its keeper, unless its slave died first.
    pub(in super::super) fn start_job(&mut self, number: usize, incarnation: u32, id: PayloadId) {
        let now = self.slave_clock(number);
        let slave = &mut self.slaves[number];
        if slave.incarnation != incarnation || !slave.is_up {
            return;
        }
        let Some(job) = slave
            .jobs
            .get_mut(&id)
            .filter(|job| job.stage == Stage::Waiting)
        else {
            return;
        };
        if job.stopped {
            slave.end(now, id, finished(Verdict::Cancelled));
        } else {
            job.stage = Stage::Running;
            let build = job.build.clone();
            self.promises.started(number, &Rc::clone(&job.message));
            let started = ReportBody::StepStarted {
                step: 0,
                name: build.steps[0].command.clone(),
                started: now,
                script: Digest([5; 32]),
                mapped: None,
                isolation: Isolation::Plain,
                network: Network::On,
            };
            slave.say(now, id, &build, started);
            let long = self.chance.seconds(20, 400);
            self.after(long, Event::JobEnds(number, id));
            self.tell(|| format!("s{number:02} starts {}", id.short()));
        }
        self.start_queued(number);
        self.flush_soon(number);
    }

    /// A keeper is done, whether or not its slave looks.
    pub(in super::super) fn end_job(&mut self, number: usize, id: PayloadId) {
        let now = self.slave_clock(number);
        let luck = if self.is_calm {
            self.chance.below(80)
        } else {
            self.chance.below(100)
        };
        let slave = &mut self.slaves[number];
        let Some(job) = slave
            .jobs
            .get_mut(&id)
            .filter(|job| job.stage == Stage::Running)
        else {
            return;
        };
        let verdict = match luck {
            _ if job.stopped => Verdict::Cancelled,
            0..60 => Verdict::Passed,
            60..80 => Verdict::Failed,
            80..92 => Verdict::Errored,
            92..97 => Verdict::TimedOut,
            _ => Verdict::Skipped,
        };
        if !slave.is_up {
            job.stage = Stage::Kept(verdict);
            return;
        }
        slave.end(now, id, finished(verdict));
        self.tell(|| format!("s{number:02} ends {}: {verdict}", id.short()));
        self.start_queued(number);
        self.flush_soon(number);
    }
}
