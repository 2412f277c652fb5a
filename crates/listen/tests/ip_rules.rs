//! Connections that rules close, over real sockets.
#![allow(clippy::unwrap_used, reason = "test code")]

use http::{Request, Response};
use hyper::body::Incoming;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use twinroute_listen::{
    ClientPeer, HttpLimits, IpMask, IpRule, IpRuleAction, IpRules, ListenAddress, ListeningSocket,
    ServerBody, SocketSettings, serve,
};

fn rule(action: IpRuleAction, mask: &str) -> IpRule {
    IpRule {
        name: mask.to_owned(),
        action,
        ip_mask: IpMask::parse(mask).unwrap(),
    }
}

/// What a client with that address of its own is answered; an error where the connection was closed.
async fn ask(server: SocketAddr, own: Ipv4Addr) -> io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((own, 0).into())?;
    let mut stream = socket.connect(server).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_rejected_address_gets_no_answer_and_others_do() {
    let rules = IpRules::new(
        &[
            rule(IpRuleAction::Accept, "127.0.0.1"),
            rule(IpRuleAction::Reject, "127.0.0.0/30"),
        ],
        "tests",
    );
    let limits = HttpLimits {
        // Whoever is rejected takes none of them.
        connections_max: 1,
        ..HttpLimits::default()
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = ListeningSocket::bind(&address, &SocketSettings::default()).unwrap();
    let ListenAddress::Tcp(server) = *listener.address() else {
        panic!("a TCP address");
    };
    let listener = listener.with_rules(&rules);
    let service =
        |_: Request<Incoming>, _: ClientPeer| async { Response::new(ServerBody::default()) };
    let serving = serve(vec![listener], &limits, service, std::future::pending());
    let asking = async {
        for (own, answered) in [
            ([127, 0, 0, 1], true),
            ([127, 0, 0, 2], false),
            ([127, 0, 0, 3], false),
            ([127, 0, 0, 4], true),
            ([127, 0, 0, 2], false),
            ([127, 0, 0, 1], true),
        ] {
            let answer = ask(server, own.into()).await.unwrap_or_default();
            assert_eq!(
                answer.starts_with("HTTP/1.0 200"),
                answered,
                "{own:?} {answer}"
            );
        }
    };
    tokio::select! {
        () = serving => panic!("it was not told to stop"),
        () = asking => {}
    }
}
