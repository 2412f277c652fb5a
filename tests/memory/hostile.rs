//! Servers that answer without end.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How an answer begins and what follows it for ever.
#[derive(Clone, Copy)]
pub(crate) struct Endless {
    pub(crate) name: &'static str,
    pub(crate) begin: &'static [u8],
    pub(crate) again: &'static [u8],
}

const X: &[u8] = &[b'x'; 32 << 10];

/// Every part of an HTTP answer without end.
pub(crate) const ANSWERS: [Endless; 13] = [
    Endless {
        name: "a status line",
        begin: b"HTTP/1.1 200 ",
        again: X,
    },
    Endless {
        name: "fields",
        begin: b"HTTP/1.1 200 OK\r\n",
        again:
            b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
    },
    Endless {
        name: "a field",
        begin: b"HTTP/1.1 400 Bad\r\nx: ",
        again: X,
    },
    Endless {
        name: "a body of 200",
        begin: b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n",
        again: X,
    },
    Endless {
        name: "a body of 200 without a length",
        begin: b"HTTP/1.1 200 OK\r\n\r\n",
        again: X,
    },
    Endless {
        name: "chunks of 206",
        begin: b"HTTP/1.1 206 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        again: b"10\r\nxxxxxxxxxxxxxxxx\r\n",
    },
    Endless {
        name: "a body of 400",
        begin: b"HTTP/1.1 400 Bad\r\ncontent-length: 999999999999\r\n\r\n",
        again: X,
    },
    Endless {
        name: "chunks of 403",
        begin: b"HTTP/1.1 403 No\r\ntransfer-encoding: chunked\r\n\r\n",
        again: b"10\r\nxxxxxxxxxxxxxxxx\r\n",
    },
    Endless {
        name: "a body of 503",
        begin: b"HTTP/1.1 503 Busy\r\n\r\n",
        again: X,
    },
    Endless {
        name: "a chunk's extension",
        begin: b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n4;",
        again: X,
    },
    Endless {
        name: "trailers",
        begin: b"HTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        again:
            b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
    },
    Endless {
        name: "informational answers",
        begin: b"",
        again: b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    },
    Endless {
        name: "no HTTP",
        begin: b"",
        again: X,
    },
];

/// A server that answers each connection so; it ends when this is dropped.
pub(crate) struct HostileServer {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl HostileServer {
    pub(crate) async fn start(answer: Endless) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, answer));
                // So that those which ended take nothing.
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Waits for the first bytes of a request; errors mean that the client has hung up.
async fn serve(mut stream: TcpStream, answer: Endless) {
    let mut request = [0; 1_024];
    if stream.read(&mut request).await.is_err() {
        return;
    }
    let (mut reader, mut writer) = stream.into_split();
    let reading = async {
        let mut rest = [0; 1_024];
        while matches!(reader.read(&mut rest).await, Ok(1..)) {}
    };
    let writing = async {
        // Short pieces in large writes.
        let again: Vec<u8> = answer.again.repeat((16 << 10) / answer.again.len() + 1);
        let mut next = answer.begin;
        while writer.write_all(next).await.is_ok() {
            next = &again;
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}
