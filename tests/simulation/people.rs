//! What people do: those who push, owners, operators, thieves and whoever else reaches the bus; and when it breaks.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::bus::{Author, Message, Said, Stream};
use super::farm::{FARM, SLAVES, served_by};
use super::run::{CALM, Event, TURMOIL, World};
use super::slave::Death;
use crate::model::{
    Answer, Build, BuilderName, Change, Command, InstanceId, Lead, Request, Revision, Source, Step,
    Text, Wish,
};
use crate::slave::Pause;
use crate::trust::Spoken;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Deed {
    Push,
    OwnerPauses(usize),
    OwnerResumes(usize),
    Ask,
    /// Somebody without a key makes something up.
    Forge,
    /// Whoever has the stolen key uses it.
    UseStolenKey,
    /// Its theft is found out.
    Revoke,
    /// A hostile broker hands out what there was before, to anybody.
    Replay,
    BrokerStops,
    BrokerStarts,
    MasterDies(usize),
    MasterStarts(usize),
    MasterFreezes(usize),
    MasterWakes(usize),
}

impl World {
    fn some_time(&mut self, from: Duration, to: Duration) -> Duration {
        self.chance.seconds(from.as_secs(), to.as_secs())
    }

    /// Decides when what will go wrong.
    pub(super) fn plan(&mut self) {
        let minute = Duration::from_secs(60);
        for number in 0..self.masters.len() {
            self.start_master(number);
        }
        for number in 0..SLAVES {
            let soon = self.chance.seconds(1, 30);
            self.after(soon, Event::Look(number, 0));
        }
        self.do_deed(Deed::Push);
        self.do_deed(Deed::Push);
        let often = |deed, times| std::iter::repeat_n(deed, times);
        let deeds: Vec<Deed> = often(Deed::Push, 9)
            .chain(often(Deed::Ask, 30))
            .chain(often(Deed::Forge, 12))
            .chain(often(Deed::Replay, 15))
            .collect();
        for deed in deeds {
            let at = self.some_time(minute, TURMOIL);
            self.after(at, Event::People(deed));
        }
        for _ in 0..10 {
            let at = self.some_time(TURMOIL, TURMOIL + CALM);
            self.after(at, Event::People(Deed::Replay));
        }
        for _ in 0..12 {
            let (number, at) = (self.chance.below(SLAVES), self.some_time(minute, TURMOIL));
            self.after(at, Event::People(Deed::OwnerPauses(number)));
        }
        for _ in 0..25 {
            let (number, at) = (self.chance.below(SLAVES), self.some_time(minute, TURMOIL));
            let death = if self.chance.percent(60) {
                Death::Process
            } else {
                Death::Machine
            };
            self.after(at, Event::Dies(number, death));
            if self.chance.percent(6) {
                self.after(at + Duration::from_millis(1), Event::Leaves(number));
            } else {
                let away = self.chance.seconds(2, 900);
                self.after(at + away, Event::Starts(number));
            }
        }
        for number in 0..self.masters.len() {
            for _ in 0..3 {
                let at = self.some_time(minute, TURMOIL);
                let (stops, goes_on) = if self.chance.percent(50) {
                    (Deed::MasterDies(number), Deed::MasterStarts(number))
                } else {
                    (Deed::MasterFreezes(number), Deed::MasterWakes(number))
                };
                let away = self.chance.seconds(3, 600);
                self.after(at, Event::People(stops));
                self.after(at + away, Event::People(goes_on));
            }
        }
        for _ in 0..2 {
            let (at, away) = (self.some_time(minute, TURMOIL), self.chance.seconds(2, 90));
            self.after(at, Event::People(Deed::BrokerStops));
            self.after(at + away, Event::People(Deed::BrokerStarts));
        }
        if self.chance.percent(60) {
            let theft = self.some_time(10 * minute, TURMOIL / 2);
            let found = theft + self.chance.seconds(120, 1200);
            for _ in 0..12 {
                let at = self.some_time(theft, TURMOIL);
                self.after(at, Event::People(Deed::UseStolenKey));
            }
            self.after(found, Event::People(Deed::Revoke));
        }
        let at = self.some_time(minute, TURMOIL);
        self.after(at, Event::Compare);
        self.after(TURMOIL, Event::Calm);
        // Whoever works then sees it built.
        self.after(TURMOIL + 10 * minute, Event::People(Deed::Push));
    }

    pub(super) fn do_deed(&mut self, deed: Deed) {
        self.tell(|| format!("{deed:?}"));
        match deed {
            Deed::Push => self.push(),
            Deed::OwnerPauses(number) => {
                let now = self.slave_clock(number);
                let long = self.chance.seconds(60, 1800);
                let pause = Pause {
                    since: now,
                    until: self.chance.percent(50).then(|| now.after(long)),
                    note: None,
                };
                self.slaves[number].owner.paused = Some(pause);
                self.after(long, Event::People(Deed::OwnerResumes(number)));
            }
            Deed::OwnerResumes(number) => self.slaves[number].owner.paused = None,
            Deed::Ask => self.ask_for_something(),
            Deed::Forge => self.make_up(Author::Forger),
            Deed::UseStolenKey => self.make_up(Author::Thief),
            Deed::Revoke => {
                self.revoked = Some(self.now);
                self.promises.revoked();
            }
            Deed::Replay => self.replay(),
            Deed::BrokerStops => self.bus.is_up = self.is_calm,
            Deed::BrokerStarts => self.bus.is_up = true,
            Deed::MasterDies(number) => {
                if !self.is_calm {
                    self.masters[number].is_up = false;
                }
            }
            Deed::MasterStarts(number) => self.start_master(number),
            Deed::MasterFreezes(number) => self.masters[number].is_frozen = !self.is_calm,
            Deed::MasterWakes(number) => self.wake_master(number),
        }
    }

    fn push(&mut self) {
        let repository = FARM.repositories[usize::try_from(self.commits).unwrap() % 2].clone();
        self.commits += 1;
        self.git.insert(repository, revision(self.commits));
    }

    fn some_builder(&mut self) -> BuilderName {
        FARM.builders[self.chance.below(FARM.builders.len())].clone()
    }

    /// A number that the builder may have had.
    fn some_number(&mut self) -> u64 {
        1 + self.chance.next() % 4
    }

    fn ask_for_something(&mut self) {
        let who = usize::from(self.chance.percent(10));
        let wish = self.some_wish();
        let message = self.request(who, wish, Author::Person);
        let soon = self.chance.millis(10, 5_000);
        let stream = Stream::Requests;
        self.after(
            soon,
            Event::Store {
                stream,
                message,
                from: None,
            },
        );
    }

    fn some_wish(&mut self) -> Wish {
        let builder = self.some_builder();
        let number = self.some_number();
        match self.chance.below(6) {
            0 | 1 => {
                let foo = &FARM.repositories[0];
                let source = self.git.get(foo).map(|revision| Source {
                    repository: foo.clone(),
                    branch: "main".parse().unwrap(),
                    revision: revision.clone(),
                });
                let sources = source
                    .into_iter()
                    .filter(|_| self.chance.percent(40))
                    .collect();
                Wish::Force { builder, sources }
            }
            2 => Wish::Cancel { builder, number },
            3 => Wish::Retry { builder, number },
            4 => {
                let until = self.now.after(self.chance.seconds(60, 3000));
                Wish::Pause { builder, until }
            }
            _ => Wish::Resume { builder },
        }
    }

    fn request(&mut self, who: usize, wish: Wish, author: Author) -> Rc<Message> {
        let (requester, key) = FARM.requesters[who].clone();
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.chance.next().to_be_bytes());
        let request = Request {
            farm: FARM.id,
            requester,
            nonce: InstanceId(nonce),
            issued: self.now,
            reason: Text::tidy("asked for"),
            wish,
        };
        let spoken = match author {
            Author::Forger => Spoken::forged(request, key),
            Author::Master(_) | Author::Slave | Author::Person | Author::Thief => {
                Spoken::signed(request, key)
            }
        };
        let said = Said::Request(spoken);
        Rc::new(Message { said, author })
    }

    /// Somebody who is not of the farm has something stored, with the stolen key or without any.
    fn make_up(&mut self, author: Author) {
        let key = FARM.signing[0];
        let has_key = author == Author::Thief;
        let (now, lease) = (self.now, 1 + self.chance.next() % 1000);
        let (stream, said) = match self.chance.below(if has_key { 6 } else { 8 }) {
            0..=3 => {
                let command = Command::Build(self.made_up_build());
                (
                    Stream::Commands,
                    Said::Command(spoken(command, key, has_key)),
                )
            }
            4 => {
                let lead = Lead {
                    farm: FARM.id,
                    lease,
                    instance: InstanceId([9; 16]),
                    config: crate::model::Digest([0; 32]),
                    issued: now,
                };
                (Stream::Commands, Said::Lead(spoken(lead, key, has_key)))
            }
            5 => {
                let change = Change {
                    farm: FARM.id,
                    repository: FARM.repositories[0].clone(),
                    branch: "main".parse().unwrap(),
                    revision: revision(1 << 40 | lease),
                    previous: None,
                    seen: now,
                    commits: Vec::new(),
                    more: 0,
                    rewritten: false,
                    paths: None,
                };
                (Stream::Changes, Said::Change(spoken(change, key, has_key)))
            }
            6 => {
                let wish = self.some_wish();
                let message = self.request(0, wish, author);
                self.store_made_up(Stream::Requests, &message);
                return;
            }
            _ => {
                let held = self.bus.stream(Stream::Requests);
                let Some(stored) = held.last() else { return };
                let answer = Answer {
                    farm: FARM.id,
                    request: stored.message.id(),
                    requester: FARM.requesters[1].0.clone(),
                    issued: now,
                    denial: None,
                };
                (Stream::Requests, Said::Answer(spoken(answer, key, has_key)))
            }
        };
        self.store_made_up(stream, &Rc::new(Message { said, author }));
    }

    /// A reply subject names no sequence to expect, so the fence keeps nobody out.
    fn store_made_up(&mut self, stream: Stream, message: &Rc<Message>) {
        if self.bus.is_up {
            self.bus.store(stream, Rc::clone(message), self.now);
            self.is_stored(stream, message);
        }
    }

    fn made_up_build(&mut self) -> Build {
        let slave = self.chance.below(SLAVES);
        let builder = served_by(slave).next().unwrap();
        let (command, version) = match self.chance.below(4) {
            0 => ("format-disk", "3"),
            1 => ("test", "--exec=sh"),
            _ => ("test", "3"),
        };
        let parameters = BTreeMap::from([("version".parse().unwrap(), Text::tidy(version))]);
        let accept_by = self.now.after(self.chance.seconds(0, 7200));
        Build {
            farm: FARM.id,
            slave: FARM.slaves[slave].clone(),
            report_key: FARM.report_keys[slave],
            builder: FARM.builders[builder].clone(),
            number: 1 + self.chance.next() % 20,
            issued: self.now,
            accept_by,
            finish_by: accept_by.after(Duration::from_secs(900)),
            keyring: FARM.positions[0],
            project: "foo".parse().unwrap(),
            sources: Vec::new(),
            covers: Vec::new(),
            steps: vec![Step {
                command: command.parse().unwrap(),
                parameters,
                timeout: Duration::from_secs(900),
                halt_on_failure: true,
                warn_only: false,
                always_run: false,
                script: None,
            }],
            reason: Text::tidy("made up"),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }

    fn replay(&mut self) {
        let commands = self.bus.stream(Stream::Commands).len();
        if commands == 0 {
            return;
        }
        for _ in 0..8 {
            let place = self.chance.below(commands);
            let message = Rc::clone(&self.bus.stream(Stream::Commands)[place].message);
            let own = message
                .subject()
                .and_then(|(slave, _)| FARM.slaves.iter().position(|it| it == slave));
            let any = self.chance.below(SLAVES);
            let number = if self.chance.percent(80) {
                own.unwrap_or(any)
            } else {
                any
            };
            let soon = self.chance.seconds(0, 10);
            self.after(soon, Event::Deliver(number, message));
        }
    }
}

fn spoken<T: crate::wire::Payload>(body: T, key: crate::model::KeyId, has_key: bool) -> Spoken<T> {
    if has_key {
        Spoken::signed(body, key)
    } else {
        Spoken::forged(body, key)
    }
}

fn revision(number: u64) -> Revision {
    format!("{number:040x}").parse().unwrap()
}
