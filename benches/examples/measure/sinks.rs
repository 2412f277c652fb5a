//! The receiving end: endpoints in one thread that answer 200 and know which events came, and how old.
//!
//! `GET /` on any of them says in JSON how many came and when the last did; `GET /times` also says how old they
//! were, and forgets that. Either ends the connection.

use crate::event::marks;
use crate::load::content_length;
use crate::options::{ProgramError, ProgramOptions};
use crate::{micros_between, monotonic, percentile};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};

/// Free bytes of a buffer before it is read into.
const FREE_BYTES: usize = 64 << 10;
/// Events are numbered up to here.
const EVENTS_MAX: u64 = 1 << 30;

#[derive(Default)]
struct SeenEvents {
    bits: Vec<u64>,
    unique: u64,
    repeated: u64,
    last: u64,
    micros: Vec<u32>,
}

struct SinkConnection {
    stream: TcpStream,
    socket: usize,
    /// Its whole length may be read into; the first `filled` bytes were.
    buffer: Vec<u8>,
    filled: usize,
    /// How long the request is that has begun, once its head is there.
    whole: Option<usize>,
}

/// Serves until the process is ended.
pub(crate) fn serve(options: &ProgramOptions) -> Result<(), ProgramError> {
    let count: usize = options.number("count", 1)?;
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for index in 0..count {
        let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
        let registry = poll.registry();
        registry.register(&mut listener, Token(index), Interest::READABLE)?;
        addresses.push(listener.local_addr()?.to_string());
        listeners.push(listener);
    }
    println!("listens {}", addresses.join(" "));
    let mut seen: Vec<SeenEvents> = (0..count).map(|_| SeenEvents::default()).collect();
    let mut connections = HashMap::new();
    let mut next = count;
    let mut events = Events::with_capacity(1_024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(token) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let registry = poll.registry();
                    registry.register(&mut stream, Token(next), Interest::READABLE)?;
                    connections.insert(next, SinkConnection::new(stream, token));
                    next += 1;
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&token) else {
                continue;
            };
            let socket = connection.socket;
            if !connection.serve(&mut seen[socket]).unwrap_or(false) {
                connections.remove(&token);
            }
        }
    }
}

impl SinkConnection {
    fn new(stream: TcpStream, socket: usize) -> Self {
        Self {
            stream,
            socket,
            buffer: vec![0; 2 * FREE_BYTES],
            filled: 0,
            whole: None,
        }
    }

    /// Reads all there is and answers what is whole; whether the connection goes on.
    fn serve(&mut self, seen: &mut SeenEvents) -> std::io::Result<bool> {
        loop {
            let wanted = self.whole.unwrap_or_default().max(self.filled + FREE_BYTES);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted.next_power_of_two(), 0);
            }
            let free = &mut self.buffer[self.filled..];
            let room = free.len();
            let read = match self.stream.read(free) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            self.filled += read;
            if !self.answer_whole(seen)? {
                return Ok(false);
            }
            // epoll(7): a stream that gave less than was asked for has no more.
            if read < room {
                return Ok(true);
            }
        }
    }

    /// Answers the requests that are there as a whole; whether there may be more.
    fn answer_whole(&mut self, seen: &mut SeenEvents) -> std::io::Result<bool> {
        let mut at = 0;
        let mut goes_on = true;
        loop {
            let rest = &self.buffer[at..self.filled];
            let Some(head) = memchr::memmem::find(rest, b"\r\n\r\n").map(|end| end + 4) else {
                break;
            };
            let whole = head + content_length(&rest[..head]);
            if rest.len() < whole {
                self.whole = Some(whole);
                break;
            }
            let body = if rest.starts_with(b"GET ") {
                goes_on = false;
                seen.report(rest.starts_with(b"GET /times"))
            } else {
                seen.add_all(&rest[head..whole]);
                String::new()
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            self.stream.write_all(answer.as_bytes())?;
            self.whole = None;
            at += whole;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(goes_on)
    }
}

impl SeenEvents {
    fn add_all(&mut self, body: &[u8]) {
        let now = monotonic();
        self.last = now;
        for (number, moment) in marks(body).filter(|(number, _)| *number < EVENTS_MAX) {
            let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
            if self.bits.len() <= word {
                self.bits.resize((word + 1).next_power_of_two(), 0);
            }
            if self.bits[word] & bit == 0 {
                self.bits[word] |= bit;
                self.unique += 1;
            } else {
                self.repeated += 1;
            }
            self.micros.push(micros_between(moment, now));
        }
    }

    fn report(&mut self, with_times: bool) -> String {
        let counts = format!(
            "\"unique\":{},\"repeated\":{},\"last_ns\":{}",
            self.unique, self.repeated, self.last
        );
        if !with_times {
            return format!("{{{counts}}}");
        }
        let mut micros = std::mem::take(&mut self.micros);
        let p50 = percentile(&mut micros, 0.5);
        let p99 = percentile(&mut micros, 0.99);
        format!("{{{counts},\"p50_us\":{p50},\"p99_us\":{p99}}}")
    }
}
