//! Somebody in the middle: a TCP proxy between a party of the farm and its server.
//!
//! It lives on a thread of its own, so that a test that waits for a process does not hold it up.

use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};

use super::frame::{Frame, Message};
use super::rule::{Rule, Rules, Subscriptions, Way, sid_of};
use crate::harness::Farm;

/// A proxy that ends with the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    _end: oneshot::Sender<()>,
}

#[derive(Default)]
struct State {
    rules: Rules,
    /// Every frame that came, before any rule.
    seen: Vec<(Way, Frame)>,
    connections: usize,
    newest: Option<Connection>,
}

/// Where frames of one client leave.
#[derive(Clone)]
struct Connection {
    to_server: mpsc::UnboundedSender<Frame>,
    to_client: mpsc::UnboundedSender<Frame>,
    subscriptions: Arc<Mutex<Subscriptions>>,
    cut: Arc<Notify>,
}

impl Connection {
    fn send(&self, frames: Vec<(Way, Frame)>) {
        for (way, frame) in frames {
            let outlet = match way {
                Way::ToServer => &self.to_server,
                Way::ToClient => &self.to_client,
            };
            // Whoever has gone gets nothing more.
            let _ = outlet.send(frame);
        }
    }
}

impl Proxy {
    /// Stands between `farm` and whoever has the configuration `file`, from its next start on.
    pub(crate) fn before(farm: &Farm, file: &str) -> Self {
        let proxy = Self::start(farm.port);
        let config = farm.path(file);
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace(
            &format!("nats://127.0.0.1:{}", farm.port),
            &format!("nats://127.0.0.1:{}", proxy.port),
        );
        std::fs::write(config, text).unwrap();
        proxy
    }

    fn start(server: u16) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let (end, ended) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = listen(listener, server, shared) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            state,
            _end: end,
        }
    }

    /// From now on these rules hold, and no other. What the ones before held back is let go.
    pub(crate) fn set(&self, rules: Vec<Rule>) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.rules, Rules::new(rules));
        if let Some(connection) = &state.newest {
            connection.send(before.release());
        }
    }

    /// From now on everything passes as it is.
    pub(crate) fn be_honest(&self) {
        self.set(Vec::new());
    }

    /// Ends the connection; the client may come again.
    pub(crate) fn cut(&self) {
        if let Some(connection) = self.lock().newest.take() {
            connection.cut.notify_waiters();
        }
    }

    /// How often a client has come.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// The logins that clients have sent.
    pub(crate) fn logins(&self) -> Vec<serde_json::Value> {
        let state = self.lock();
        let logins = state.seen.iter().filter_map(|(_, frame)| match frame {
            Frame::Connect(json) => serde_json::from_slice(json).ok(),
            Frame::Info(_) | Frame::Message(_) | Frame::Line(_) => None,
        });
        logins.collect()
    }

    /// The messages that came that way, with `part` in their subject.
    pub(crate) fn seen(&self, wanted: Way, part: &str) -> Vec<Message> {
        let state = self.lock();
        let seen = state.seen.iter().filter_map(|(way, frame)| match frame {
            Frame::Message(message) if *way == wanted && message.subject.contains(part) => {
                Some(message.clone())
            }
            Frame::Message(_) | Frame::Info(_) | Frame::Connect(_) | Frame::Line(_) => None,
        });
        seen.collect()
    }

    /// Sends the client a line of the protocol.
    pub(crate) fn say(&self, line: &str) {
        if let Some(connection) = &self.lock().newest {
            connection.send(vec![(Way::ToClient, Frame::Line(line.into()))]);
        }
    }

    /// Delivers a message as if the slave's consumer had, in answer to what it last asked for.
    pub(crate) fn deliver(&self, mut message: Message) {
        let pulls = self.seen(Way::ToServer, "$JS.API.CONSUMER.MSG.NEXT.");
        let inbox = pulls.last().unwrap().reply.clone().unwrap();
        let state = self.lock();
        let connection = state.newest.as_ref().unwrap();
        let subscriptions = connection.subscriptions.lock().unwrap();
        message.sid = sid_of(&subscriptions, &inbox).map(str::to_owned);
        assert!(message.sid.is_some(), "nobody listens on {inbox}");
        connection.send(vec![(Way::ToClient, Frame::Message(message))]);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn listen(listener: StdListener, server: u16, state: Arc<Mutex<State>>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(stand_between(client, server, Arc::clone(&state)));
    }
}

async fn stand_between(client: TcpStream, server: u16, state: Arc<Mutex<State>>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_client, client) = client.into_split();
    let (from_server, server) = server.into_split();
    let (to_server, server_queue) = mpsc::unbounded_channel();
    let (to_client, client_queue) = mpsc::unbounded_channel();
    let connection = Connection {
        to_server,
        to_client,
        subscriptions: Arc::default(),
        cut: Arc::default(),
    };
    {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.newest = Some(connection.clone());
    }
    tokio::select! {
        () = carry(from_client, Way::ToServer, &connection, &state) => {}
        () = carry(from_server, Way::ToClient, &connection, &state) => {}
        () = write(client, client_queue) => {}
        () = write(server, server_queue) => {}
        () = connection.cut.notified() => {}
    }
}

async fn carry(mut from: OwnedReadHalf, way: Way, connection: &Connection, state: &Mutex<State>) {
    let mut buffer = BytesMut::new();
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        while let Some(frame) = Frame::take(&mut buffer) {
            if let Frame::Line(line) = &frame {
                note_subscription(line, connection);
            }
            let mut state = state.lock().unwrap();
            state.seen.push((way, frame.clone()));
            let subscriptions = connection.subscriptions.lock().unwrap();
            connection.send(state.rules.apply(way, frame, &subscriptions));
        }
    }
}

fn note_subscription(line: &[u8], connection: &Connection) {
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let mut subscriptions = connection.subscriptions.lock().unwrap();
    match words[..] {
        ["SUB", subject, .., sid] => {
            subscriptions.insert(sid.to_owned(), subject.to_owned());
        }
        ["UNSUB", sid] => {
            subscriptions.remove(sid);
        }
        _ => {}
    }
}

async fn write(mut to: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Frame>) {
    while let Some(frame) = queue.recv().await {
        if to.write_all(&frame.to_bytes()).await.is_err() {
            return;
        }
    }
}
