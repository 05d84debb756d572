//! What a rule holds back.

use super::frame::Frame;
use super::rule::Way;

/// Frames that wait until others have passed.
#[derive(Default)]
pub(super) struct Held(Vec<Waiting>);

struct Waiting {
    left: usize,
    way: Way,
    frame: Frame,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds a frame back until `left` later ones have passed.
    pub(super) fn hold(&mut self, left: usize, way: Way, frame: Frame) {
        self.0.push(Waiting { left, way, frame });
    }

    /// A frame that passes, and behind it those that have waited for it.
    pub(super) fn pass(&mut self, way: Way, frame: Frame) -> Vec<(Way, Frame)> {
        let mut frames = vec![(way, frame)];
        for mut waiting in std::mem::take(&mut self.0) {
            waiting.left -= 1;
            if waiting.left == 0 {
                frames.push((waiting.way, waiting.frame));
            } else {
                self.0.push(waiting);
            }
        }
        frames
    }

    /// All that waits.
    pub(super) fn release(self) -> impl Iterator<Item = (Way, Frame)> {
        self.0
            .into_iter()
            .map(|waiting| (waiting.way, waiting.frame))
    }
}
