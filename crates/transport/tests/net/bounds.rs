//! What happens at the bounds of connections.

use tokio::{io::AsyncWriteExt, net::TcpStream};
use transport::{
    TransportKind,
    net::{CloseReason, DropReason, HttpHandler, Listen},
};

use crate::support::{Rig, read_to_end, request, soon};

#[tokio::test]
async fn a_newcomer_replaces_the_oldest_connection_that_said_nothing() {
    let mut rig = Rig::with(|config| config.connections_max = 2);
    let server = rig.listen(Listen::Tcp);
    let mut talker = TcpStream::connect(server).await.unwrap();
    talker.write_all(&request("talker")).await.unwrap();
    let talking = rig.opened().await;
    rig.message().await;
    let mut silent = TcpStream::connect(server).await.unwrap();
    let silent_flow = rig.opened().await;
    let mut newcomer = TcpStream::connect(server).await.unwrap();
    // Opened and Closed come from two tasks, in either order.
    let newcomer_flow = {
        let mut opened = None;
        let mut closed = None;
        while opened.is_none() || closed.is_none() {
            match rig.event().await {
                transport::net::NetEvent::Opened { flow } => opened = Some(flow),
                transport::net::NetEvent::Closed { flow, reason } => {
                    closed = Some((flow.id, reason));
                }
                other => panic!("unexpected {other:?}"),
            }
            // The evicted one lingers until its peer hears the end.
            if opened.is_some() && closed.is_none() {
                assert_eq!(read_to_end(&mut silent).await, b"");
                silent.shutdown().await.unwrap();
            }
        }
        assert_eq!(closed, Some((silent_flow.id, CloseReason::Evicted)));
        opened.unwrap()
    };
    newcomer.write_all(&request("newcomer")).await.unwrap();
    assert_eq!(rig.message().await.0, newcomer_flow);
    // Now that both have spoken, nobody makes room.
    let mut refused = TcpStream::connect(server).await.unwrap();
    assert_eq!(read_to_end(&mut refused).await, b"");
    assert_eq!(rig.dropped(TransportKind::Tcp, DropReason::ConnectionsMax), 1);
    talker.write_all(&request("still")).await.unwrap();
    assert_eq!(rig.message().await.0, talking);
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let mut rig = Rig::with(|config| config.connections_per_address_max = 1);
    let server = rig.listen_on(Listen::Tcp, "0.0.0.0:0").port();
    let first = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    rig.opened().await;
    let mut second = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    assert_eq!(read_to_end(&mut second).await, b"");
    assert_eq!(rig.dropped(TransportKind::Tcp, DropReason::AddressMax), 1);
    drop(first);
    rig.closed().await;
    let _third = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    rig.opened().await;
}

#[tokio::test]
async fn a_browser_over_the_bound_is_told_to_come_back() {
    let rig = Rig::with(|config| config.connections_max = 0);
    let server = rig.listen(Listen::Http(HttpHandler::none()));
    let mut client = TcpStream::connect(server).await.unwrap();
    let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
}

#[tokio::test]
async fn a_thousand_connections_come_and_go() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    for _ in 0..10 {
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(soon(TcpStream::connect(server)).await.unwrap());
            rig.opened().await;
        }
        assert_eq!(rig.network.connections(), 100);
        drop(clients);
        for _ in 0..100 {
            assert_eq!(rig.closed().await.1, CloseReason::Peer);
        }
    }
    let counters = rig.counters(TransportKind::Tcp);
    assert_eq!((counters.connections_opened, counters.connections_open), (1000, 0));
    rig.ends_silent().await;
}
