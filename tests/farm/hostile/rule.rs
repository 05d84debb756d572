//! What somebody in the middle does: rules, each a function from one frame to the frames that go on instead of it.

use std::collections::BTreeMap;

use pybots::bus::{Bus, Delivery, Stream};

use super::dice::Dice;
use super::frame::{Frame, Message};
use super::held::Held;

/// Where a frame is going.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// Which messages a rule is about.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    way: Way,
    /// A part of their subject.
    subject: String,
}

impl Pick {
    pub(crate) fn new(way: Way, subject: &str) -> Self {
        Self {
            way,
            subject: subject.to_owned(),
        }
    }

    /// Commands on their way to a slave.
    pub(crate) fn commands() -> Self {
        Self::new(Way::ToClient, ".command.")
    }

    fn takes(&self, way: Way, frame: &Frame) -> bool {
        matches!(frame, Frame::Message(message) if self.way == way && message.subject.contains(&self.subject))
    }
}

/// What is written over a message.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Subject(String),
    Reply(String),
    /// In place of all headers.
    Headers(String),
}

impl Edit {
    fn apply(&self, message: &mut Message) {
        match self {
            Self::Subject(subject) => message.subject.clone_from(subject),
            Self::Reply(reply) => message.reply = Some(reply.clone()),
            Self::Headers(lines) => message.headers = Some(format!("NATS/1.0\r\n{lines}\r\n\r\n")),
        }
    }
}

/// What a stream held at some time.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    stream: Stream,
    messages: Vec<Delivery>,
}

impl Recording {
    /// All that `stream` holds now.
    pub(crate) async fn of(bus: &Bus, stream: Stream) -> Self {
        let messages = bus.read_all(stream, ">", 1).await.unwrap();
        Self { stream, messages }
    }

    /// Whether all of `earlier` is there still, and unchanged.
    pub(crate) fn begins_with(&self, earlier: &Self) -> bool {
        let same = |(held, before): (&Delivery, &Delivery)| {
            (held.sequence, &held.subject, &held.bytes)
                == (before.sequence, &before.subject, &before.bytes)
        };
        self.messages.len() >= earlier.messages.len()
            && self.messages.iter().zip(&earlier.messages).all(same)
    }

    /// The answer to a direct get, if `request` is one of this stream.
    fn answer(&self, request: &Message, sid: &str) -> Option<Vec<Frame>> {
        let get = format!("$JS.API.DIRECT.GET.{}", self.stream.name());
        let inbox = request.reply.as_deref()?;
        let answer = |headers: String, payload: &[u8]| {
            Frame::Message(Message {
                sid: Some(sid.to_owned()),
                subject: inbox.to_owned(),
                reply: None,
                headers: Some(format!("NATS/1.0{headers}\r\n\r\n")),
                payload: payload.to_vec(),
            })
        };
        let stored = |held: &Delivery| {
            let headers = format!(
                "\r\nNats-Stream: {}\r\nNats-Subject: {}\r\nNats-Sequence: {}\r\nNats-Time-Stamp: {}",
                self.stream.name(),
                held.subject,
                held.sequence,
                held.stored
            );
            answer(headers, &held.bytes)
        };
        let none = || answer(" 404 Message Not Found".to_owned(), &[]);
        if request.subject == get {
            let asked: serde_json::Value = serde_json::from_slice(&request.payload).ok()?;
            let filter = asked["next_by_subj"].as_str().unwrap_or(">");
            let (from, most) = (asked["seq"].as_u64()?, asked["batch"].as_u64()?);
            let mut answers: Vec<Frame> = self
                .messages
                .iter()
                .filter(|held| held.sequence >= from && matches(filter, &held.subject))
                .take(usize::try_from(most).ok()?)
                .map(stored)
                .collect();
            answers.push(if answers.is_empty() {
                none()
            } else {
                answer(" 204 EOB".to_owned(), &[])
            });
            return Some(answers);
        }
        let subject = request.subject.strip_prefix(&get)?.strip_prefix('.')?;
        let newest = self.messages.iter().rfind(|held| held.subject == subject);
        Some(vec![newest.map_or_else(none, stored)])
    }
}

/// Something that is done to what passes.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// It does not arrive.
    Drop(Pick),
    /// It arrives so many times.
    Repeat(Pick, usize),
    /// One at a time is held back until so many later ones have passed.
    Late(Pick, usize),
    Rewrite(Pick, Edit),
    /// The stream stands still as it was recorded: direct gets are answered from there, and no live message comes.
    Freeze(Recording),
    /// The server's nonce; the text of a JSON string, taken as it is.
    Nonce(Vec<u8>),
    /// Other servers that the client is to know.
    ConnectUrls(Vec<String>),
    /// Any of these, by chance, to any message but those that keep the connection alive.
    Chance(Dice),
}

/// A client's subscriptions: ids and their subjects.
pub(crate) type Subscriptions = BTreeMap<String, String>;

/// The rules in force, and what they hold back.
#[derive(Default)]
pub(crate) struct Rules {
    rules: Vec<(Rule, Held)>,
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let rules = rules
            .into_iter()
            .map(|rule| (rule, Held::default()))
            .collect();
        Self { rules }
    }

    /// What goes on in place of `frame`, each rule taking what the one before it left.
    pub(crate) fn apply(
        &mut self,
        way: Way,
        frame: Frame,
        subscriptions: &Subscriptions,
    ) -> Vec<(Way, Frame)> {
        let mut frames = vec![(way, frame)];
        for (rule, held) in &mut self.rules {
            frames = frames
                .into_iter()
                .flat_map(|(way, frame)| rule.apply(held, way, frame, subscriptions))
                .collect();
        }
        frames
    }

    /// All that was held back.
    pub(crate) fn release(self) -> Vec<(Way, Frame)> {
        let held = self.rules.into_iter().map(|(_, held)| held);
        held.flat_map(Held::release).collect()
    }
}

impl Rule {
    fn apply(
        &mut self,
        held: &mut Held,
        way: Way,
        mut frame: Frame,
        subscriptions: &Subscriptions,
    ) -> Vec<(Way, Frame)> {
        match self {
            Self::Drop(pick) if pick.takes(way, &frame) => Vec::new(),
            Self::Repeat(pick, times) if pick.takes(way, &frame) => vec![(way, frame); *times],
            Self::Late(pick, by) if pick.takes(way, &frame) => {
                if held.is_empty() {
                    held.hold(*by, way, frame);
                    return Vec::new();
                }
                held.pass(way, frame)
            }
            Self::Rewrite(pick, edit) if pick.takes(way, &frame) => {
                if let Frame::Message(message) = &mut frame {
                    edit.apply(message);
                }
                vec![(way, frame)]
            }
            Self::Freeze(recording) => recording.freeze(way, frame, subscriptions),
            Self::Nonce(nonce) => vec![(way, with_nonce(frame, nonce))],
            Self::ConnectUrls(urls) => vec![(way, with_urls(frame, urls))],
            Self::Chance(dice) => dice.apply(held, way, frame),
            Self::Drop(_) | Self::Repeat(..) | Self::Late(..) | Self::Rewrite(..) => {
                vec![(way, frame)]
            }
        }
    }
}

impl Recording {
    fn freeze(&self, way: Way, frame: Frame, subscriptions: &Subscriptions) -> Vec<(Way, Frame)> {
        let Frame::Message(message) = &frame else {
            return vec![(way, frame)];
        };
        if way == Way::ToClient {
            let live = message.subject.starts_with("live.")
                && message.header("Nats-Stream") == Some(self.stream.name());
            return if live { Vec::new() } else { vec![(way, frame)] };
        }
        let inbox = message.reply.as_deref().unwrap_or_default();
        let answers = sid_of(subscriptions, inbox).and_then(|sid| self.answer(message, sid));
        match answers {
            Some(answers) => answers
                .into_iter()
                .map(|answer| (Way::ToClient, answer))
                .collect(),
            None => vec![(way, frame)],
        }
    }
}

/// The subscription that a message of `subject` is delivered for.
pub(crate) fn sid_of<'a>(subscriptions: &'a Subscriptions, subject: &str) -> Option<&'a str> {
    let found = subscriptions
        .iter()
        .find(|(_, filter)| matches(filter, subject));
    found.map(|(sid, _)| sid.as_str())
}

fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == "*" || wanted == found => {}
            _ => return false,
        }
    }
}

fn with_nonce(frame: Frame, nonce: &[u8]) -> Frame {
    let Frame::Info(json) = &frame else {
        return frame;
    };
    let key = b"\"nonce\":\"";
    let Some(start) = json.windows(key.len()).position(|part| part == key) else {
        return frame;
    };
    let (before, rest) = json.split_at(start + key.len());
    let end = rest.iter().position(|byte| *byte == b'"').unwrap();
    Frame::Info([before, nonce, &rest[end..]].concat())
}

fn with_urls(frame: Frame, urls: &[String]) -> Frame {
    let Frame::Info(json) = frame else {
        return frame;
    };
    let mut info: serde_json::Value = serde_json::from_slice(&json).unwrap();
    info["connect_urls"] = urls.into();
    Frame::Info(info.to_string().into_bytes())
}
