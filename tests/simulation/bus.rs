//! The bus: streams that keep what they stored, and a broker that loses, delays, repeats and reorders everything else.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::model::{
    Answer, BuilderName, Change, Command, Lead, PayloadId, Report, Request, SlaveName, Timestamp,
};
use crate::trust::Spoken;

/// What travels.
#[derive(Debug)]
pub(super) enum Said {
    Command(Spoken<Command>),
    Lead(Spoken<Lead>),
    Change(Spoken<Change>),
    Request(Spoken<Request>),
    Answer(Spoken<Answer>),
    Report(Spoken<Report>),
}

/// Who really made a message. Nobody in the farm can see that; the promises are judged by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Author {
    Master(usize),
    Slave,
    Person,
    /// Somebody with a stolen key.
    Thief,
    /// Somebody without any.
    Forger,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) said: Said,
    pub(super) author: Author,
}

impl Message {
    pub(super) fn id(&self) -> PayloadId {
        match &self.said {
            Said::Command(said) => said.id(),
            Said::Lead(said) => said.id(),
            Said::Change(said) => said.id(),
            Said::Request(said) => said.id(),
            Said::Answer(said) => said.id(),
            Said::Report(said) => said.id(),
        }
    }

    /// Its subject in COMMANDS; that of a `lead` names nobody.
    pub(super) fn subject(&self) -> Option<(&SlaveName, &BuilderName)> {
        match &self.said {
            Said::Command(said) => Some((said.body().slave(), said.body().builder())),
            Said::Lead(_)
            | Said::Change(_)
            | Said::Request(_)
            | Said::Answer(_)
            | Said::Report(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stream {
    Changes,
    Commands,
    Results,
    Requests,
}

impl Stream {
    pub(super) const ALL: [Self; 4] =
        [Self::Changes, Self::Commands, Self::Results, Self::Requests];
}

pub(super) struct Stored {
    pub(super) at: Timestamp,
    pub(super) message: Rc<Message>,
}

/// What has to be true of COMMANDS for a publish to be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fence {
    /// The whole stream stands where the publisher thinks, and each further message of a batch names the one before it.
    WholeStream,
    /// The whole stream stands where the publisher thinks, though perhaps with messages of another.
    Numbers,
    /// Only the builder's subject does: not enough.
    Subject,
}

pub(super) struct Bus {
    pub(super) is_up: bool,
    streams: [Vec<Stored>; 4],
    /// When each message was stored last, for the window in which a repeat is noticed.
    recent: HashMap<PayloadId, (Timestamp, usize)>,
    fence: Fence,
}

impl Bus {
    /// For so long a repeated message id is noticed.
    const WINDOW: Duration = Duration::from_secs(120);

    pub(super) fn new(fence: Fence) -> Self {
        Self {
            is_up: true,
            streams: Default::default(),
            recent: HashMap::new(),
            fence,
        }
    }

    pub(super) fn stream(&self, stream: Stream) -> &[Stored] {
        &self.streams[stream as usize]
    }

    /// Stores a message that names no sequence. Returns its place, from 1, and whether it is new.
    pub(super) fn store(
        &mut self,
        stream: Stream,
        message: Rc<Message>,
        now: Timestamp,
    ) -> (usize, bool) {
        let id = message.id();
        if let Some((at, place)) = self.recent.get(&id)
            && now.since(*at) < Self::WINDOW
        {
            return (*place, false);
        }
        let held = &mut self.streams[stream as usize];
        held.push(Stored { at: now, message });
        self.recent.insert(id, (now, held.len()));
        (held.len(), true)
    }

    /// Stores a message behind sequence `expected` of COMMANDS, of a batch that began behind `began`.
    pub(super) fn store_behind(
        &mut self,
        (began, expected): (usize, usize),
        (before, message): (Option<&Rc<Message>>, &Rc<Message>),
        now: Timestamp,
    ) -> bool {
        let held = &mut self.streams[Stream::Commands as usize];
        let passes = match self.fence {
            Fence::WholeStream => {
                let last = held.last().map(|stored| &stored.message);
                let follows = |before| last.is_some_and(|last| Rc::ptr_eq(last, before));
                held.len() == expected && before.is_none_or(follows)
            }
            Fence::Numbers => held.len() == expected,
            Fence::Subject => held
                .iter()
                .skip(began)
                .all(|other| other.message.subject() != message.subject()),
        };
        if passes {
            let message = Rc::clone(message);
            held.push(Stored { at: now, message });
        }
        passes
    }
}
