//! What a master does while it leads: it watches, decides, and publishes behind the fence.

use super::*;

impl World {
    /// Looks at the repositories, and says how new everything is.
    pub(in super::super) fn watch(&mut self, number: usize) {
        let (now, local) = (self.now, self.master_clock(number));
        let master = &mut self.masters[number];
        if now.since(master.announced) > Duration::from_secs(300) {
            master.announced = now;
            let head = Head {
                farm: FARM.id,
                keyring: FARM.positions[master.keyring],
                roster: 1,
                time: local,
            };
            if self.bus.is_up {
                self.heads
                    .push(Rc::new(Spoken::signed(head, master.signs_with())));
            }
        }
        if now.since(master.polled) < Duration::from_secs(20) {
            return;
        }
        master.polled = now;
        master
            .noting
            .retain(|_, since| now.since(*since) < Duration::from_secs(90));
        for repository in &FARM.repositories {
            let Some(tip) = self.git.get(repository).cloned() else {
                continue;
            };
            let branch = "main".parse().unwrap();
            let master = &mut self.masters[number];
            let previous = master.scheduler.tip(repository, &branch).cloned();
            let place = (repository.clone(), tip.clone());
            if previous.as_ref() == Some(&tip) || master.noting.contains_key(&place) {
                continue;
            }
            master.noting.insert(place, now);
            let change = Change {
                farm: FARM.id,
                repository: repository.clone(),
                branch,
                revision: tip,
                previous,
                seen: local,
                commits: Vec::new(),
                more: 0,
                rewritten: false,
                paths: None,
            };
            let said = Said::Change(Spoken::signed(change, master.signs_with()));
            self.publish_until_held(number, Stream::Changes, said);
        }
    }

    fn publish_until_held(&mut self, number: usize, stream: Stream, said: Said) {
        let author = Author::Master(number);
        let message = Rc::new(Message { said, author });
        let from = Some((number, self.masters[number].incarnation));
        let soon = self.latency();
        self.after(
            soon,
            Event::Store {
                stream,
                message,
                from,
            },
        );
    }

    pub(in super::super) fn act(&mut self, number: usize) {
        let now = self.master_clock(number);
        let master = &self.masters[number];
        if master.under_way.is_some() || master.is_settling {
            return;
        }
        let is_due = master.wake.is_some_and(|wake| wake <= now)
            || now.since(master.decided) > Duration::from_secs(60);
        if !master.has_news && !is_due {
            return;
        }
        let silent = self.silent();
        let mut config = None;
        if self.sabotage == Some(Sabotage::CapacityIgnored) {
            let config = config.insert(self.config.clone());
            config
                .slaves
                .values_mut()
                .for_each(|rules| rules.capacity = 10);
        }
        let circumstances = Circumstances {
            farm: FARM.id,
            keyring: FARM.positions[master.keyring],
            roster: &FARM.roster,
            config: config.as_ref().unwrap_or(&self.config),
            silent: &silent,
        };
        let effects = master.scheduler.decide(&circumstances, now);
        let key = master.signs_with();
        let master = &mut self.masters[number];
        master.has_news = false;
        master.decided = now;
        master.wake = None;
        let (mut orders, mut answers) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Send(mut build) => {
                    if self.sabotage == Some(Sabotage::RequestsForgotten)
                        && build.retry_of.is_some()
                    {
                        build.request = None;
                    }
                    orders.push(Command::Build(*build));
                }
                Effect::Cancel(cancel) => orders.push(Command::Cancel(*cancel)),
                Effect::Answer(answer) if master.saying.insert(answer.request) => {
                    answers.push(*answer);
                }
                Effect::Answer(_) | Effect::Announce(_) => {}
                Effect::WakeAt(wake) => master.wake = Some(wake),
            }
        }
        self.promises
            .orders(&self.masters[number].ledger, &self.config, &orders, now);
        for answer in answers {
            self.publish_until_held(
                number,
                Stream::Requests,
                Said::Answer(Spoken::signed(answer, key)),
            );
        }
        if !orders.is_empty() {
            let orders = orders
                .into_iter()
                .map(|order| Said::Command(Spoken::signed(order, key)));
            self.publish(number, orders.collect());
        }
    }

    /// Sends to COMMANDS, behind what this master knows to be the newest.
    pub(super) fn publish(&mut self, number: usize, said: Vec<Said>) {
        let author = Author::Master(number);
        let messages: Vec<Rc<Message>> = said
            .into_iter()
            .map(|said| Rc::new(Message { said, author }))
            .collect();
        let master = &mut self.masters[number];
        master.tries += 1;
        let under_way = UnderWay {
            number: master.tries,
            behind: master.positions[Stream::Commands as usize],
            messages: messages.clone(),
            since: self.now,
        };
        let (behind, to) = (
            under_way.behind,
            (number, master.incarnation, under_way.number),
        );
        master.under_way = Some(under_way);
        self.tell(|| {
            format!(
                "m{number} sends {} messages behind {behind}",
                messages.len()
            )
        });
        // Lost on the way, or kept for long, or brought twice.
        for _ in 0..if self.disturbs(5) { 2 } else { 1 } {
            if !self.disturbs(5) {
                let long = if self.disturbs(5) {
                    self.chance.seconds(5, 90)
                } else {
                    self.latency()
                };
                let messages = messages.clone();
                self.after(
                    long,
                    Event::Arrive {
                        to,
                        behind,
                        messages,
                    },
                );
            }
        }
    }

    /// What a master sent to COMMANDS reaches the broker.
    pub(in super::super) fn arrive(
        &mut self,
        to: (usize, u32, u64),
        behind: usize,
        messages: &[Rc<Message>],
    ) {
        if !self.bus.is_up {
            return;
        }
        let (mut all, mut before) = (true, None);
        for (expected, message) in (behind..).zip(messages) {
            let stored = !self.disturbs(2)
                && self
                    .bus
                    .store_behind((behind, expected), (before, message), self.now);
            before = Some(message);
            all &= stored;
            if stored {
                self.is_stored(Stream::Commands, message);
            }
        }
        let number = to.0;
        self.tell(|| {
            format!(
                "m{number}'s messages behind {behind}: {}",
                if all { "stored" } else { "not all stored" }
            )
        });
        if !self.disturbs(5) {
            let soon = self.latency();
            self.after(soon, Event::Answered { to, all });
        }
    }

    /// The broker's answer reaches a master.
    pub(in super::super) fn answered(&mut self, to: (usize, u32, u64), all: bool) {
        let (number, incarnation, attempt) = to;
        let master = &mut self.masters[number];
        if master.incarnation != incarnation || !master.is_up {
            return;
        }
        if master.is_frozen {
            // It lies there until the master wakes.
            let later = Duration::from_secs(5);
            self.after(later, Event::Answered { to, all });
            return;
        }
        let Some(under_way) = master.under_way.take_if(|it| it.number == attempt) else {
            return;
        };
        if !all {
            master.is_settling = true;
            return;
        }
        for (place, message) in (under_way.behind..).zip(&under_way.messages) {
            let position = &mut master.positions[Stream::Commands as usize];
            *position = (place + 1).max(*position);
            master.take(message, place);
        }
    }

    /// Something reaches the broker that names no sequence, and is sent until it is known to be held.
    pub(in super::super) fn arrive_unfenced(
        &mut self,
        stream: Stream,
        message: Rc<Message>,
        from: Option<(usize, u32)>,
    ) {
        if let Some((number, incarnation)) = from
            && (self.masters[number].incarnation != incarnation || !self.masters[number].is_up)
            && !self.disturbs(50)
        {
            return;
        }
        let is_stored = self.bus.is_up && !self.disturbs(10);
        let mut place = 0;
        if is_stored {
            let new;
            (place, new) = self.bus.store(stream, Rc::clone(&message), self.now);
            if new {
                self.is_stored(stream, &message);
            }
        }
        let frozen = from.is_some_and(|(number, _)| self.masters[number].is_frozen);
        if !is_stored || frozen || self.disturbs(10) {
            let later = self.chance.seconds(2, 30);
            self.after(
                later,
                Event::Store {
                    stream,
                    message,
                    from,
                },
            );
            return;
        }
        let Some((number, incarnation)) = from else {
            return;
        };
        let master = &mut self.masters[number];
        if master.incarnation == incarnation
            && let Said::Answer(said) = &message.said
        {
            master.saying.remove(&said.body().request);
            if place > master.positions[Stream::Requests as usize] {
                master.known_beyond.insert(place - 1);
            }
            master.take(&message, place - 1);
        }
    }
}
