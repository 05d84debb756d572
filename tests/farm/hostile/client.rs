//! A client of the bus that is not pybots, with any login of the farm.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{ConnectOptions, Event};

use crate::harness::Farm;
use crate::process::eventually;

/// A client, and what the server has refused it.
pub(crate) struct Client {
    pub(crate) raw: async_nats::Client,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Client {
    /// With the nkey in the file `seed`, whose inbox is that of `name`.
    pub(crate) async fn with_key(farm: &Farm, name: &str, seed: &str) -> Self {
        let seed = std::fs::read_to_string(farm.path(seed)).unwrap();
        let options = ConnectOptions::with_nkey(seed.trim().to_owned());
        Self::connect(farm, name, options).await
    }

    /// With the published password of the viewers.
    pub(crate) async fn viewer(farm: &Farm) -> Self {
        let options =
            ConnectOptions::with_user_and_password("viewer".to_owned(), "public".to_owned());
        Self::connect(farm, "viewer", options).await
    }

    async fn connect(farm: &Farm, name: &str, options: ConnectOptions) -> Self {
        let refused = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&refused);
        let raw = options
            .custom_inbox_prefix(format!("_INBOX.{name}"))
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    noted.lock().unwrap().push(error.to_string());
                }
                std::future::ready(())
            })
            .connect(format!("nats://127.0.0.1:{}", farm.port))
            .await
            .unwrap();
        Self { raw, refused }
    }

    /// Waits until the server has taken in all that was sent so far: it does so in order.
    pub(crate) async fn round_trip(&self) {
        let inbox = self.raw.new_inbox();
        let mut back = self.raw.subscribe(inbox.clone()).await.unwrap();
        self.raw.publish(inbox, "".into()).await.unwrap();
        let next = futures_util::StreamExt::next(&mut back);
        let next = tokio::time::timeout(Duration::from_secs(60), next).await;
        next.expect("the server answers").unwrap();
    }

    /// Makes the consumer of a slave give out again what is not acknowledged within `wait`.
    pub(crate) async fn hurry_the_consumer(&self, slave: &str, wait: Duration) {
        let jetstream = async_nats::jetstream::new(self.raw.clone());
        let stream = jetstream.get_stream("COMMANDS").await.unwrap();
        let mut config = stream.consumer_info(slave).await.unwrap().config;
        config.ack_wait = wait;
        let durable = format!("$JS.API.CONSUMER.DURABLE.CREATE.COMMANDS.{slave}");
        let request = serde_json::json!({ "stream_name": "COMMANDS", "config": config });
        let answer = self
            .raw
            .request(durable, request.to_string().into())
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer.payload).into_owned();
        assert!(!answer.contains("\"error\""), "{answer}");
    }

    /// What the server has refused so far, in its words.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }

    /// Waits until the server has refused something with `part` in its words.
    pub(crate) async fn is_refused(&self, part: &str) {
        eventually(&format!("the server refuses {part}"), || async {
            let refused = self.refused();
            refused
                .iter()
                .any(|words| words.contains(part))
                .then_some(())
        })
        .await;
    }
}
