//! Endpoints that take everything: they know each event by its number and answer 200.

use super::load::ID_PREFIX;
use anyhow::Context as _;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Larger bodies than any batch of the router.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A listener that counts what it is sent, until the process ends.
pub(super) struct CountingSink {
    port: u16,
    seen: Arc<Mutex<SeenEvents>>,
}

/// One bit for each event.
#[derive(Default)]
struct SeenEvents {
    bits: Vec<u64>,
    distinct: u64,
}

impl CountingSink {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(SeenEvents::default()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Ok(Self { port, seen })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many different events came.
    pub(super) fn distinct(&self) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.distinct
    }
}

impl SeenEvents {
    fn add(&mut self, number: usize) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1024, 0);
        }
        self.distinct += u64::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }
}

/// Answers the requests of a connection until it ends or makes no sense.
fn serve(stream: TcpStream, seen: &Mutex<SeenEvents>) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut requests = BufReader::with_capacity(256 << 10, stream);
    let mut body = Vec::new();
    loop {
        let length = body_length(&mut requests)?;
        body.resize(length, 0);
        requests.read_exact(&mut body).ok()?;
        let numbers: Vec<usize> = event_numbers(&body).collect();
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.into_iter().for_each(|number| seen.add(number));
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        answers.write_all(answer).ok()?;
    }
}

/// Reads a request's head.
fn body_length(requests: &mut impl std::io::BufRead) -> Option<usize> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end();
        if text.is_empty() {
            return length.filter(|length| *length <= BODY_BYTES_MAX);
        }
        if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
}

/// The numbers in the ids of events, wherever they stand.
fn event_numbers(body: &[u8]) -> impl Iterator<Item = usize> {
    let quotes = body.split(|byte| *byte == b'"');
    quotes.filter_map(|text| {
        let digits = text.strip_prefix(ID_PREFIX.as_bytes())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_known_by_their_numbers() {
        let body = format!(r#"[{{"id":"{ID_PREFIX}7"}},{{"a":"7","id": "{ID_PREFIX}12"}}]"#);
        let numbers: Vec<usize> = event_numbers(body.as_bytes()).collect();
        assert_eq!(numbers, [7, 12]);
        let mut seen = SeenEvents::default();
        numbers
            .iter()
            .chain(&[7])
            .for_each(|number| seen.add(*number));
        assert_eq!(seen.distinct, 2);
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        let mut head = &b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"[..];
        assert_eq!(body_length(&mut head), Some(5));
        assert_eq!(head, b"hello");
        assert_eq!(body_length(&mut &b"GET / HTTP/1.1\r\n"[..]), None);
    }
}
