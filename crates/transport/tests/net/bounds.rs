//! What happens at the bounds of connections.

use std::{env, io, net::TcpStream as StdStream, process::Command, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use transport::{
    Flow, TransportKind,
    net::{CloseReason, DropReason, HttpHandler, Listen, NetEvent},
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
    let evicted = rig.opened().await;
    let mut newcomer = TcpStream::connect(server).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, b"");
    let newcomer_flow = replaced(&mut rig, evicted).await;
    newcomer.write_all(&request("newcomer")).await.unwrap();
    assert_eq!(rig.message().await.0, newcomer_flow);
    // Now that both have spoken, nobody makes room.
    let mut refused = TcpStream::connect(server).await.unwrap();
    assert_eq!(read_to_end(&mut refused).await, b"");
    assert_eq!(rig.dropped(TransportKind::Tcp, DropReason::ConnectionsMax), 1);
    talker.write_all(&request("still")).await.unwrap();
    assert_eq!(rig.message().await.0, talking);
}

/// Who came where another connection was evicted. Opened and Closed come from two tasks, in either
/// order.
async fn replaced(rig: &mut Rig, evicted: Flow) -> Flow {
    match (rig.event().await, rig.event().await) {
        (NetEvent::Opened { flow: opened, .. }, NetEvent::Closed { flow, reason })
        | (NetEvent::Closed { flow, reason }, NetEvent::Opened { flow: opened, .. }) => {
            assert_eq!((flow, reason), (evicted, CloseReason::Evicted));
            opened
        }
        other => panic!("unexpected {other:?}"),
    }
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

/// Runs itself again in a process that may open few files.
#[tokio::test]
async fn running_out_of_descriptors_stops_no_listener() {
    if env::var_os(FEW_DESCRIPTORS).is_none() {
        let name = "bounds::running_out_of_descriptors_stops_no_listener";
        let ran = Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""])
            .arg(env::current_exe().unwrap())
            .arg(name)
            .env(FEW_DESCRIPTORS, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    // The kernel completes these on its own until there is no descriptor left to accept with.
    let mut clients: Vec<StdStream> = Vec::new();
    let exhausted = loop {
        match StdStream::connect(server) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(exhausted.raw_os_error(), Some(EMFILE), "{exhausted}");
    // Here the listener fails to accept.
    sleep(Duration::from_millis(20)).await;
    clients.truncate(3);
    for client in &mut clients {
        io::Write::write_all(client, &request("after")).unwrap();
    }
    let mut messages = 0;
    while messages < 3 {
        messages += usize::from(matches!(rig.event().await, NetEvent::Message { .. }));
    }
}

/// Set in the process that may open few files.
const FEW_DESCRIPTORS: &str = "SIDETONE_TEST_FEW_DESCRIPTORS";
/// "Too many open files", which has no kind of its own.
const EMFILE: i32 = 24;
