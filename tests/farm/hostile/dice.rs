//! Chance that can be had again: everything follows from one seed.

use super::frame::{Frame, Message};
use super::held::Held;
use super::rule::Way;

/// Numbers from a seed (`SplitMix64`), and what they do to messages.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
    /// Messages still to be disturbed; none is after that.
    left: usize,
    /// Some that have passed, to come again.
    old: Vec<(Way, Message)>,
}

impl Dice {
    pub(crate) fn new(seed: u64, left: usize) -> Self {
        Self {
            state: seed,
            left,
            old: Vec::new(),
        }
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % limit as u64).unwrap()
    }

    pub(super) fn apply(&mut self, held: &mut Held, way: Way, frame: Frame) -> Vec<(Way, Frame)> {
        let Frame::Message(mut message) = frame else {
            return vec![(way, frame)];
        };
        if self.left == 0 {
            return held.pass(way, Frame::Message(message));
        }
        self.left -= 1;
        if self.old.len() < 200 {
            self.old.push((way, message.clone()));
        }
        let frame = Frame::Message(message.clone());
        let done = self.below(20);
        match done {
            0 => Vec::new(),
            1 | 2 => [held.pass(way, frame.clone()), vec![(way, frame)]].concat(),
            3..=5 => {
                let left = 1 + self.below(6);
                held.hold(left, way, frame);
                Vec::new()
            }
            6 | 7 => {
                let again = self.below(self.old.len());
                let (old_way, mut old) = self.old[again].clone();
                // It may come to whom it was not for.
                if old_way == way {
                    old.sid.clone_from(&message.sid);
                }
                let mut frames = held.pass(way, frame);
                frames.push((old_way, Frame::Message(old)));
                frames
            }
            8 => {
                message.reply = Some("_INBOX.elm.stolen".to_owned());
                held.pass(way, Frame::Message(message))
            }
            9..=12 if way == Way::ToClient => {
                self.rewrite(done, &mut message);
                held.pass(way, Frame::Message(message))
            }
            _ => held.pass(way, frame),
        }
    }

    /// Only on the way to the client: a report that is changed after the slave has sent it, and acknowledged, is a report
    /// that the bus has dropped, and that shows as a gap.
    fn rewrite(&mut self, done: usize, message: &mut Message) {
        match done {
            9 => {
                let other = self.below(self.old.len());
                message.subject.clone_from(&self.old[other].1.subject);
            }
            10 => {
                let id = self.below(1000);
                message.headers = Some(format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n"));
            }
            _ => {
                let bits = message.payload.len() * 8;
                if bits > 0 {
                    let bit = self.below(bits);
                    message.payload[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}
