//! The receiving end: as little as answers 200 and knows which events came, and when.
//!
//! It is told what to do by lines on standard input: `SOCKET refuse|503|hang|slow|ok`, and `report`, which
//! it answers with a line `unique repeated p50 p99` a socket and forgets the times.

use crate::{BenchError, monotonic, percentile};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

const HEAD_MAX: usize = 16 << 10;
/// Events are longer than this; what is found begins the next search so much later.
const SKIP: usize = 600;
const ID: &[u8] = b"\"id\":\"e";
const ID_DIGITS: usize = 10;
/// From the first digit of the id to that of the time.
const TO_TIME: usize = ID_DIGITS + b"\",\"sentat\":\"".len();
const TIME_DIGITS: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReceiveMode {
    Ok,
    Refuse,
    Busy,
    Hang,
    Slow,
}

#[derive(Default)]
struct ReceivedCounts {
    bits: Vec<u64>,
    unique: u64,
    repeated: u64,
    micros: Vec<u32>,
}

/// Serves so many sockets; says their addresses in its first line.
pub(crate) async fn serve(sockets: usize) -> Result<(), BenchError> {
    LocalSet::new().run_until(serve_here(sockets)).await
}

async fn serve_here(sockets: usize) -> Result<(), BenchError> {
    let mut modes = Vec::new();
    let mut all = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..sockets {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        addresses.push(address.to_string());
        let (mode, watched) = watch::channel(ReceiveMode::Ok);
        let seen = Rc::new(RefCell::new(ReceivedCounts::default()));
        tokio::task::spawn_local(listen(listener, address, watched, Rc::clone(&seen)));
        modes.push(mode);
        all.push(seen);
    }
    println!("{}", addresses.join(" "));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "report" {
            println!("{}", all.iter().map(report).collect::<Vec<_>>().join(" "));
            continue;
        }
        let (socket, word) = line.split_once(' ').ok_or("SOCKET MODE")?;
        let mode = match word {
            "ok" => ReceiveMode::Ok,
            "refuse" => ReceiveMode::Refuse,
            "503" => ReceiveMode::Busy,
            "hang" => ReceiveMode::Hang,
            "slow" => ReceiveMode::Slow,
            _ => return Err(format!("no mode {word:?}").into()),
        };
        modes[socket.parse::<usize>()?].send_replace(mode);
    }
    Ok(())
}

fn report(seen: &Rc<RefCell<ReceivedCounts>>) -> String {
    let mut seen = seen.borrow_mut();
    let mut micros = std::mem::take(&mut seen.micros);
    let (p50, p99) = (percentile(&mut micros, 0.5), percentile(&mut micros, 0.99));
    format!("{} {} {p50} {p99}", seen.unique, seen.repeated)
}

async fn listen(
    first: TcpListener,
    address: SocketAddr,
    mut mode: watch::Receiver<ReceiveMode>,
    seen: Rc<RefCell<ReceivedCounts>>,
) -> Result<(), std::io::Error> {
    let mut listener = Some(first);
    loop {
        if *mode.borrow_and_update() == ReceiveMode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await?);
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return Ok(()) },
            accepted = accept => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(connection(stream, mode.clone(), Rc::clone(&seen)));
            }
        }
    }
}

/// Ends when the socket's mode changes, as those that hang or refuse must.
async fn connection(
    stream: TcpStream,
    mut watched: watch::Receiver<ReceiveMode>,
    seen: Rc<RefCell<ReceivedCounts>>,
) {
    let mode = *watched.borrow_and_update();
    tokio::select! {
        _ = watched.changed() => {}
        _ = exchange(stream, mode, &seen) => {}
    }
}

async fn exchange(
    mut stream: TcpStream,
    mode: ReceiveMode,
    seen: &RefCell<ReceivedCounts>,
) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(256 << 10);
    loop {
        let head = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if buffer.len() > HEAD_MAX || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let length = crate::post::content_length(&buffer[..head]);
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        match mode {
            ReceiveMode::Ok | ReceiveMode::Refuse => {}
            ReceiveMode::Slow => tokio::time::sleep(Duration::from_millis(500)).await,
            ReceiveMode::Hang => std::future::pending().await,
            ReceiveMode::Busy => {
                let busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(busy).await?;
                buffer.drain(..head + length);
                continue;
            }
        }
        note(&buffer[head..head + length], &mut seen.borrow_mut());
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await?;
        buffer.drain(..head + length);
    }
}

fn note(body: &[u8], seen: &mut ReceivedCounts) {
    let now = monotonic();
    let mut at = 0;
    while at + ID.len() < body.len() {
        if !body[at..].starts_with(ID) {
            at += 1;
            continue;
        }
        let digits = at + ID.len();
        let index = number(&body[digits..digits + ID_DIGITS]) as usize;
        let sent = number(&body[digits + TO_TIME..digits + TO_TIME + TIME_DIGITS]);
        let (word, bit) = (index / 64, 1 << (index % 64));
        if seen.bits.len() <= word {
            seen.bits.resize(word + 1024, 0);
        }
        if seen.bits[word] & bit == 0 {
            seen.bits[word] |= bit;
            seen.unique += 1;
        } else {
            seen.repeated += 1;
        }
        let micros = now.saturating_sub(sent) / 1000;
        seen.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
        at += SKIP;
    }
}

fn number(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit & 15))
}
