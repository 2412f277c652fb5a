//! The load: one thread, requests made beforehand, only numbers and moments are written over.
//!
//! Without a rate each connection posts as soon as it is answered, and what is refused is posted again. With a
//! rate requests are sent when they are due, as far as connections go; what is refused is counted and dropped.
//! An event's moment is then that at which it was due, or with `moments=sent` that at which it was sent.

use crate::event::EventTemplate;
use crate::options::{ProgramError, ProgramOptions};
use crate::{micros_between, monotonic, percentile};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
/// How long a refused request waits.
const REFUSED_PAUSE: u64 = SECOND / 200;
/// The poll's clock is good to a millisecond: a request that is sent so late was not held up.
const LATE: u64 = SECOND / 500;
/// Without an answer for so long the run has failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One connection with its request.
struct LoadConnection {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where each event of the request begins.
    events_at: Vec<usize>,
    written: usize,
    answer: Vec<u8>,
    is_busy: bool,
    sent_at: u64,
}

struct LoadRun {
    address: SocketAddr,
    template: EventTemplate,
    poll: Poll,
    connections: Vec<LoadConnection>,
    idle: VecDeque<usize>,
    /// Those that were refused, and when they are to be sent again.
    refused: VecDeque<(u64, usize)>,
    schedule: LoadSchedule,
    posted: PostedCounts,
}

/// What is still to be sent, and when.
struct LoadSchedule {
    events: u64,
    batch: u64,
    areas: u64,
    /// The number of the first event.
    first: u64,
    /// How many were sent.
    next: u64,
    began: u64,
    /// Nanoseconds from one request to the next; none: as fast as they are answered.
    step: Option<u64>,
    /// What is sent late bears the moment that it was due.
    keeps_due: bool,
}

#[derive(Default)]
struct PostedCounts {
    acknowledged: u64,
    dropped: u64,
    refusals: u64,
    micros: Vec<u32>,
    ended: u64,
}

/// Posts everything, then prints one line.
pub(crate) fn run(options: &ProgramOptions) -> Result<(), ProgramError> {
    let mut load = LoadRun::open(options)?;
    load.run()?;
    let posted = &mut load.posted;
    println!(
        "posted {{\"acknowledged\":{},\"dropped\":{},\"refusals\":{},\"seconds\":{:.6},\
         \"began_ns\":{},\"ack_p50_us\":{},\"ack_p99_us\":{}}}",
        posted.acknowledged,
        posted.dropped,
        posted.refusals,
        (posted.ended - load.schedule.began) as f64 / SECOND as f64,
        load.schedule.began,
        percentile(&mut posted.micros, 0.5),
        percentile(&mut posted.micros, 0.99),
    );
    Ok(())
}

impl LoadRun {
    fn open(options: &ProgramOptions) -> Result<Self, ProgramError> {
        let address = options.text("address").ok_or("address=ADDRESS")?.parse()?;
        let batch: u64 = options.number("batch", 1)?;
        let rate: u64 = options.number("rate", 0)?;
        let template = EventTemplate::new(options.number("bytes", 1_024)?);
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for index in 0..options.number("connections", 128)? {
            let request = PreparedRequest::new(&template, batch as usize, address);
            connections.push(LoadConnection {
                stream: connect(address, poll.registry(), index)?,
                request: request.bytes,
                events_at: request.events_at,
                written: 0,
                answer: Vec::with_capacity(4_096),
                is_busy: false,
                sent_at: 0,
            });
        }
        Ok(Self {
            address,
            template,
            poll,
            idle: (0..connections.len()).collect(),
            connections,
            refused: VecDeque::new(),
            schedule: LoadSchedule {
                events: options.number("events", 1)?,
                batch,
                areas: options.number("areas", 1_000)?,
                first: options.number("first", 0)?,
                next: 0,
                began: monotonic(),
                step: (rate > 0).then(|| SECOND * batch / rate),
                keeps_due: rate > 0 && options.text("moments") != Some("sent"),
            },
            posted: PostedCounts::default(),
        })
    }

    fn run(&mut self) -> Result<(), ProgramError> {
        let mut events = Events::with_capacity(1_024);
        while self.posted.acknowledged + self.posted.dropped < self.schedule.events {
            let wait = self.send_what_is_due()?;
            self.poll.poll(&mut events, Some(wait))?;
            if events.is_empty() && wait == SILENCE_MAX {
                return Err("no answer came in time".into());
            }
            for event in &events {
                let index = event.token().0;
                if event.is_writable() {
                    self.connections[index].send()?;
                }
                if event.is_readable() {
                    self.receive(index, event.is_read_closed())?;
                }
            }
        }
        self.posted.ended = monotonic();
        Ok(())
    }

    /// Sends what can be sent now; how long there is nothing more to send.
    fn send_what_is_due(&mut self) -> std::io::Result<Duration> {
        let now = monotonic();
        while let Some(&(due, index)) = self.refused.front()
            && due <= now
        {
            self.refused.pop_front();
            self.connections[index].begin()?;
        }
        while let Some(due) = self.schedule.due()
            && due <= now
            && let Some(index) = self.idle.pop_front()
        {
            let now = monotonic();
            let late = self.schedule.keeps_due && now - due > LATE;
            let moment = if late { due } else { now };
            let connection = &mut self.connections[index];
            for at in &connection.events_at {
                let number = self.schedule.first + self.schedule.next;
                let body = &mut connection.request[*at..];
                let area = number % self.schedule.areas;
                self.template.stamp(body, number, area, moment);
                self.schedule.next += 1;
            }
            connection.sent_at = moment;
            connection.begin()?;
        }
        let due = self.schedule.due().filter(|_| !self.idle.is_empty());
        let again = self.refused.front().map(|(due, _)| *due);
        let next = due.into_iter().chain(again).min();
        Ok(next.map_or(SILENCE_MAX, |next| {
            Duration::from_nanos(next.saturating_sub(now))
        }))
    }

    /// Reads what came. `is_closed`: the other side sends no more, which no read says that stops short of it.
    fn receive(&mut self, index: usize, is_closed: bool) -> Result<(), ProgramError> {
        let connection = &mut self.connections[index];
        let mut is_open = connection.read()? && !is_closed;
        if let Some(status) = connection.status() {
            // An answer to half a request: the other half would be taken for the next one.
            is_open &= connection.written == connection.request.len();
            self.ended(index, (200..300).contains(&status));
        }
        if !is_open {
            let lost = self.connections[index].is_busy;
            let stream = connect(self.address, self.poll.registry(), index)?;
            self.connections[index].stream = stream;
            if lost {
                self.ended(index, false);
            }
        }
        Ok(())
    }

    /// One request of the connection has its answer.
    fn ended(&mut self, index: usize, is_accepted: bool) {
        let now = monotonic();
        let connection = &mut self.connections[index];
        connection.is_busy = false;
        connection.answer.clear();
        if is_accepted {
            self.posted.acknowledged += self.schedule.batch;
            let micros = micros_between(connection.sent_at, now);
            self.posted.micros.push(micros);
            self.idle.push_back(index);
            return;
        }
        self.posted.refusals += 1;
        if self.schedule.step.is_some() {
            self.posted.dropped += self.schedule.batch;
            self.idle.push_back(index);
        } else {
            self.refused.push_back((now + REFUSED_PAUSE, index));
        }
    }
}

impl LoadSchedule {
    /// When the next request is due; none when all were sent.
    fn due(&self) -> Option<u64> {
        let left = self.next < self.events;
        left.then(|| match self.step {
            Some(step) => self.began + self.next / self.batch * step,
            None => 0,
        })
    }
}

impl LoadConnection {
    fn begin(&mut self) -> std::io::Result<()> {
        self.written = 0;
        self.is_busy = true;
        self.send()
    }

    /// Writes as far as the system takes it.
    fn send(&mut self) -> std::io::Result<()> {
        while self.is_busy && self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The end of the connection is seen where it is read.
                Err(error) if is_end(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what there is; whether the connection is still open.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut piece = [0; 4_096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.answer.extend_from_slice(&piece[..read]);
                    // epoll(7): a stream that gave less than was asked for has no more.
                    if read < piece.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if is_end(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// The status of an answer that is there as a whole.
    fn status(&self) -> Option<u16> {
        let head = memchr::memmem::find(&self.answer, b"\r\n\r\n")? + 4;
        let length = content_length(&self.answer[..head]);
        let whole = self.is_busy && self.answer.len() >= head + length;
        let status = std::str::from_utf8(self.answer.get(9..12)?).ok()?;
        whole.then(|| status.parse().ok()).flatten()
    }
}

fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

fn connect(address: SocketAddr, registry: &Registry, index: usize) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut stream, Token(index), interest)?;
    Ok(stream)
}

/// The length of the body that follows a head; 0 when it does not say.
pub(crate) fn content_length(head: &[u8]) -> usize {
    let name = b"content-length:";
    let lines = head.split(|byte| *byte == b'\n');
    let value = lines.filter_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let text = std::str::from_utf8(value).ok()?;
        start
            .eq_ignore_ascii_case(name)
            .then(|| text.trim().parse())
    });
    value.flatten().next().unwrap_or_default()
}

/// A request that is sent over and over.
struct PreparedRequest {
    bytes: Vec<u8>,
    events_at: Vec<usize>,
}

impl PreparedRequest {
    fn new(template: &EventTemplate, batch: usize, address: SocketAddr) -> Self {
        let event = &template.text;
        let (kind, body) = if batch == 1 {
            ("", event.len())
        } else {
            ("-batch", batch * (event.len() + 1) + 1)
        };
        let head = format!(
            "POST /events HTTP/1.1\r\nhost: {address}\r\n\
             content-type: application/cloudevents{kind}+json\r\ncontent-length: {body}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        let mut events_at = Vec::with_capacity(batch);
        for index in 0..batch {
            if batch > 1 {
                bytes.push(if index == 0 { b'[' } else { b',' });
            }
            events_at.push(bytes.len());
            bytes.extend_from_slice(event);
        }
        if batch > 1 {
            bytes.push(b']');
        }
        Self { bytes, events_at }
    }
}
