//! Publishing several messages right behind one another, without waiting for the server's word on each.
//!
//! Each names the sequence that the whole stream must stand at, and, but for the first, the message that must stand
//! there. Sequences alone would not do: where somebody else's message takes the place of the first, the second would
//! find the stream at just the sequence that it expects.

use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use data_encoding::HEXLOWER;

use super::connection::{Bus, BusError};
use super::stream::Stream;

/// How far a sequence of messages came.
#[derive(Debug)]
pub struct Progressed {
    /// So many of them are stored for sure, the first right behind what was taken to be the newest message.
    pub stored: usize,
    /// Why the others may not be; none if all are.
    pub fault: Option<BusError>,
}

impl Bus {
    /// Publishes `messages` behind sequence `last` of `stream`, each with its subject. What is not stored then may
    /// still be, but only where nothing else was stored behind `last` before it.
    pub async fn publish_behind(
        &self,
        stream: Stream,
        last: u64,
        messages: Vec<(String, Vec<u8>)>,
    ) -> Progressed {
        self.until_connected().await;
        let mut returns = self.returns();
        let mut words = Vec::new();
        let mut before: Option<String> = None;
        let single = messages.len() == 1;
        let mut progressed = Progressed {
            stored: 0,
            fault: None,
        };
        for (expected, (subject, bytes)) in (last..).zip(messages) {
            let message = PublishMessage::build()
                .payload(Bytes::from(bytes))
                .expected_stream(stream.name())
                .expected_last_sequence(expected);
            let message = match before.take() {
                Some(id) => message.expected_last_message_id(id),
                None => message,
            };
            // By chance, so that nobody can have used it up; who stands alone needs none.
            let message = if single {
                message
            } else {
                let id = match chance() {
                    Ok(id) => id,
                    Err(error) => {
                        progressed.fault = Some(error);
                        break;
                    }
                };
                before = Some(id.clone());
                message.message_id(id)
            };
            match self.begin(subject, message).await {
                Ok(word) => words.push((expected + 1, word)),
                Err(error) => {
                    progressed.fault = Some(error);
                    break;
                }
            }
        }
        for (sequence, word) in words {
            let word = tokio::select! {
                biased;
                word = word => word,
                // Whatever has no answer by now went to the connection before.
                () = returns.next() => Err(BusError::request("answer")("the connection was lost")),
            };
            match word {
                Ok(stored) if stored.sequence == sequence && !stored.repeat => {
                    progressed.stored += 1;
                }
                Ok(_) => {
                    progressed.fault = Some(BusError::Overtaken);
                    break;
                }
                Err(error) => {
                    progressed.fault = Some(error);
                    break;
                }
            }
        }
        progressed
    }
}

fn chance() -> Result<String, BusError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(BusError::request("get a message id"))?;
    Ok(HEXLOWER.encode(&id))
}
