//! The NATS client protocol, as far as somebody in the middle must understand it: one frame after the other, and back.

use bytes::{Buf as _, BytesMut};

/// What goes over the wire in one piece.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Frame {
    /// What the server says of itself, as JSON; the nonce to be signed is in it.
    Info(Vec<u8>),
    /// How the client logs in, as JSON.
    Connect(Vec<u8>),
    /// PUB, HPUB, MSG or HMSG.
    Message(Message),
    /// Every other line, such as SUB, PING or -ERR.
    Line(Vec<u8>),
}

/// A message on its way to the server or to a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    /// The subscription that it is delivered for; none on the way to the server.
    pub(crate) sid: Option<String>,
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    /// The whole block of headers, from `NATS/1.0` to the empty line.
    pub(crate) headers: Option<String>,
    pub(crate) payload: Vec<u8>,
}

const END: &[u8] = b"\r\n";

impl Frame {
    /// Takes the next frame out of `buffer`; none if it is not there as a whole yet.
    pub(crate) fn take(buffer: &mut BytesMut) -> Option<Self> {
        let end = buffer.windows(2).position(|pair| pair == END)?;
        let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (delivered, with_headers) = match verb {
            "PUB" => (false, false),
            "HPUB" => (false, true),
            "MSG" => (true, false),
            "HMSG" => (true, true),
            _ => {
                let line = buffer.split_to(end).to_vec();
                buffer.advance(END.len());
                return Some(Self::of_line(line));
            }
        };
        let mut words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let total: usize = words.pop()?.parse().ok()?;
        let head: usize = if with_headers {
            words.pop()?.parse().ok()?
        } else {
            0
        };
        if buffer.len() < end + END.len() + total + END.len() {
            return None;
        }
        buffer.advance(end + END.len());
        let mut payload = buffer.split_to(total).to_vec();
        buffer.advance(END.len());
        let headers: Vec<u8> = payload.drain(..head).collect();
        let mut words = words.into_iter().map(str::to_owned);
        Some(Self::Message(Message {
            subject: words.next()?,
            sid: if delivered { words.next() } else { None },
            reply: words.next(),
            headers: with_headers.then(|| String::from_utf8_lossy(&headers).into_owned()),
            payload,
        }))
    }

    fn of_line(line: Vec<u8>) -> Self {
        let after = |verb: &[u8]| line.strip_prefix(verb).map(<[u8]>::to_vec);
        if let Some(info) = after(b"INFO ") {
            Self::Info(info)
        } else if let Some(connect) = after(b"CONNECT ") {
            Self::Connect(connect)
        } else {
            Self::Line(line)
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Info(json) => [b"INFO ", json.as_slice(), END].concat(),
            Self::Connect(json) => [b"CONNECT ", json.as_slice(), END].concat(),
            Self::Line(line) => [line.as_slice(), END].concat(),
            Self::Message(message) => message.to_bytes(),
        }
    }
}

impl Message {
    fn to_bytes(&self) -> Vec<u8> {
        let verb = match (&self.sid, &self.headers) {
            (None, None) => "PUB",
            (None, Some(_)) => "HPUB",
            (Some(_), None) => "MSG",
            (Some(_), Some(_)) => "HMSG",
        };
        let headers = self.headers.as_deref().unwrap_or_default();
        let total = headers.len() + self.payload.len();
        let head = self.headers.as_ref().map(|_| headers.len().to_string());
        let words = [
            Some(verb.to_owned()),
            Some(self.subject.clone()),
            self.sid.clone(),
            self.reply.clone(),
            head,
            Some(total.to_string()),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let line = words.join(" ");
        [line.as_bytes(), END, headers.as_bytes(), &self.payload, END].concat()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.as_deref().unwrap_or_default().lines();
        lines
            .filter_map(|line| line.split_once(':'))
            .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

#[test]
fn a_frame_is_taken_only_as_a_whole_and_is_written_as_it_was_read() {
    let wire: &[u8] = b"INFO {\"nonce\":\"x\"}\r\nCONNECT {}\r\nPING\r\nSUB a.* 7\r\nPUB a.b 2\r\nhi\r\n\
        PUB a.b c.d 0\r\n\r\nHPUB a.b c.d 16 18\r\nNATS/1.0\r\nA:\r\n\r\nhi\r\nMSG a.b 7 2\r\n\r\n\r\n\
        HMSG a.b 7 c.d 26 26\r\nNATS/1.0 204 EOB\r\nA: b\r\n\r\n\r\n-ERR 'no'\r\n";
    let mut buffer = BytesMut::new();
    let mut written = Vec::new();
    let mut frames = 0;
    for byte in wire {
        buffer.extend_from_slice(&[*byte]);
        while let Some(frame) = Frame::take(&mut buffer) {
            frames += 1;
            written.extend(frame.to_bytes());
        }
    }
    assert_eq!(frames, 10, "{}", String::from_utf8_lossy(&written));
    assert_eq!(
        String::from_utf8_lossy(&written),
        String::from_utf8_lossy(wire)
    );
}
