//! Reading keyrings in the order in which a reader can take them in.
//!
//! The first keyring of the next generation is asked for by its subject, so that it is found at once however much lies
//! before it; then come the serials of the generation that is held. Anybody may have made the server store junk on either:
//! one call hands out a bounded part, and the next goes on behind it.

use super::connection::{Bus, BusError};
use super::read::Delivery;
use super::stream::Stream;
use crate::model::Position;

/// How far one reader has read the keyrings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyringCursor {
    generation: u32,
    /// From where the first keyring of the next generation is looked for.
    next_first: u64,
    /// From where the serials of this generation are read.
    next_serial: u64,
}

/// What a reader made of a keyring that it was handed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// Nothing: not believed, or known already.
    Nothing,
    /// It is the newest now, and stands here.
    Newest(Position),
    /// It contradicts one that was taken before.
    Contradiction,
}

/// Whether all was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There may be more: call again.
    More,
    /// The stream holds nothing now that was not handed out.
    Done,
}

/// What is read.
#[derive(Clone, Copy)]
enum Part {
    NextFirst,
    Serials,
}

impl KeyringCursor {
    /// Begins with what may follow a keyring of `generation`. To read once more, in case the bus has lost what it held
    /// and counts anew, or something was passed over, begin again.
    #[must_use]
    pub fn new(generation: u32) -> Self {
        Self {
            generation,
            next_first: 0,
            next_serial: 0,
        }
    }

    /// The place of the keyring that is looked for, or whose generation is read; none where no generation can follow.
    fn position(&self, part: Part) -> Option<Position> {
        let generation = match part {
            Part::NextFirst => self.generation.checked_add(1)?,
            Part::Serials => self.generation,
        };
        Some(Position {
            generation,
            serial: 0,
        })
    }

    fn from(&mut self, part: Part) -> &mut u64 {
        match part {
            Part::NextFirst => &mut self.next_first,
            Part::Serials => &mut self.next_serial,
        }
    }

    /// Goes on behind a message; returns whether another generation is read from now on.
    fn pass(&mut self, part: Part, sequence: u64, taken: Taken) -> bool {
        match taken {
            Taken::Newest(position) if position.generation != self.generation => {
                *self = Self::new(position.generation);
                return true;
            }
            Taken::Nothing | Taken::Contradiction | Taken::Newest(_) => {
                *self.from(part) = sequence + 1;
            }
        }
        false
    }
}

impl Bus {
    /// Hands out the next keyrings that may count beside or after those that a reader holds: to be called until it is done.
    /// What was handed out is not handed out again, so `take` has to do with it whatever is to be done.
    ///
    /// # Errors
    ///
    /// [`BusError::Request`] if the server does not answer, or not to the end. Calling again goes on where it was.
    pub async fn read_keyrings(
        &self,
        cursor: &mut KeyringCursor,
        mut take: impl FnMut(&Delivery) -> Taken,
    ) -> Result<Progress, BusError> {
        let mut progress = Progress::Done;
        for part in [Part::NextFirst, Part::Serials] {
            let Some(position) = cursor.position(part) else {
                continue;
            };
            let filter = match part {
                Part::NextFirst => self.subjects.keyring(position),
                Part::Serials => self.subjects.keyrings_of(position.generation),
            };
            let from = *cursor.from(part);
            for delivery in self.read(Stream::Keyring, &filter, from).await? {
                progress = Progress::More;
                let taken = take(&delivery);
                if cursor.pass(part, delivery.sequence, taken) {
                    return Ok(progress);
                }
            }
        }
        Ok(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: u32, serial: u32) -> Taken {
        Taken::Newest(Position { generation, serial })
    }

    #[test]
    fn a_cursor_goes_on_behind_what_it_passed_and_begins_anew_with_a_generation() {
        let cursor = |generation, next_first, next_serial| KeyringCursor {
            generation,
            next_first,
            next_serial,
        };
        let cases = [
            (Part::Serials, Taken::Nothing, cursor(3, 5, 9)),
            (Part::Serials, at(3, 7), cursor(3, 5, 9)),
            (Part::Serials, Taken::Contradiction, cursor(3, 5, 9)),
            (Part::NextFirst, Taken::Nothing, cursor(3, 9, 5)),
            (Part::NextFirst, at(4, 0), cursor(4, 0, 0)),
        ];
        for (part, taken, expected) in cases {
            let mut passed = cursor(3, 5, 5);
            let another = passed.pass(part, 8, taken);
            assert_eq!(passed, expected, "{taken:?}");
            assert_eq!(another, expected.generation == 4, "{taken:?}");
        }
    }

    #[test]
    fn no_generation_follows_the_last() {
        let last = KeyringCursor::new(u32::MAX);
        assert_eq!(last.position(Part::NextFirst), None);
        assert!(last.position(Part::Serials).is_some());
    }
}
