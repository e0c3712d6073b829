//! SIP on TCP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use transport::{
    TransportKind,
    net::{CloseReason, Listen, NetConfig, NetError, NetEvent, Network, SendError},
};

use crate::support::{LOOPBACKS, Rig, expect_bytes, read_to_end, request, request_with_body, soon};

#[tokio::test]
async fn a_request_is_answered_on_its_connection() {
    for address in LOOPBACKS {
        let mut rig = Rig::new();
        let server = rig.listen_on(Listen::Tcp, address);
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(&request("tcp")).await.unwrap();
        let opened = rig.opened().await;
        assert_eq!((opened.kind, opened.local), (TransportKind::Tcp, server));
        assert_eq!(opened.remote, client.local_addr().unwrap());
        assert_eq!(rig.echo("tcp").await, opened);
        expect_bytes(&mut client, &request("tcp")).await;
        drop(client);
        assert_eq!(rig.closed().await, (opened.id, CloseReason::Peer));
        let counters = rig.counters(TransportKind::Tcp);
        assert_eq!((counters.messages_in, counters.messages_out), (1, 1));
        assert_eq!((counters.connections_opened, counters.connections_open), (1, 0));
        assert_eq!(counters.connections_closed[CloseReason::Peer as usize].1, 1);
        // Neither a late close nor the shutdown closes it twice.
        rig.network.close(opened.id);
        rig.ends_silent().await;
    }
}

#[tokio::test]
async fn messages_may_arrive_in_any_pieces() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    client.set_nodelay(true).unwrap();
    rig.opened().await;
    for byte in request_with_body("pieces", "body") {
        client.write_all(&[byte]).await.unwrap();
    }
    let (_, message) = rig.message().await;
    assert_eq!((message.call_id(), message.body()), ("pieces", Bytes::from("body")));
    let all: Vec<u8> = (0..200).flat_map(|n| request(&format!("p{n}"))).collect();
    client.write_all(&all).await.unwrap();
    for n in 0..200 {
        assert_eq!(rig.message().await.1.call_id(), format!("p{n}"));
    }
}

#[tokio::test]
async fn rfc5626_4_4_1_a_keep_alive_is_answered() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    client.write_all(b"\r\n\r\n").await.unwrap();
    expect_bytes(&mut client, b"\r\n").await;
    rig.opened().await;
    assert_eq!(rig.counters(TransportKind::Tcp).keep_alives_in, 1);
}

#[tokio::test]
async fn a_flood_of_keep_alives_ends_the_connection() {
    let mut rig = Rig::with(|config| config.keep_alives_max = 3);
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    client.write_all(&b"\r\n\r\n".repeat(4)).await.unwrap();
    rig.opened_and_closed(CloseReason::KeepAliveFlood).await;
}

#[tokio::test]
async fn garbage_is_answered_before_the_connection_ends() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    let mut bytes = b"not SIP at all\r\n\r\n".to_vec();
    bytes.extend(b"x".repeat(100_000));
    client.write_all(&bytes).await.unwrap();
    let flow = rig.opened().await;
    rig.unparsable().await;
    rig.network.send(&flow, Bytes::from("the answer")).unwrap();
    rig.network.close(flow.id);
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"the answer");
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Unparsable));
}

#[tokio::test]
async fn garbage_without_an_answer_ends_the_connection_too() {
    let mut rig = Rig::with(|config| config.linger = Duration::from_millis(50));
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    client.write_all(b"not SIP at all\r\n\r\n").await.unwrap();
    let flow = rig.opened().await;
    rig.unparsable().await;
    assert_eq!(read_to_end(&mut client).await, b"");
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Unparsable));
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_at_the_limit() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    let mut head = b"OPTIONS sip:a SIP/2.0\r\nX: ".to_vec();
    head.extend(b"y".repeat(70_000));
    client.write_all(&head).await.unwrap();
    rig.opened().await;
    assert_eq!(rig.unparsable().await.1.reason(), "head_too_large");
}

#[tokio::test]
async fn a_peer_that_only_ends_its_half_is_still_answered() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    client.write_all(&request("half")).await.unwrap();
    client.shutdown().await.unwrap();
    let flow = rig.opened().await;
    rig.message().await;
    // By now the end of the peer's half has been read.
    sleep(Duration::from_millis(20)).await;
    rig.network.send(&flow, request("half")).unwrap();
    assert_eq!(read_to_end(&mut client).await, request("half"));
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Peer));
}

#[tokio::test]
async fn silence_and_unfinished_messages_end_the_connection() {
    let short = Duration::from_millis(250);
    let cases: [(&[u8], usize, CloseReason); 4] = [
        (b"", 0, CloseReason::MessageTimeout),
        (b"\r\n\r\n", 0, CloseReason::MessageTimeout),
        (&request_with_body("a", "whole"), 1, CloseReason::Idle),
        (&[&request("b")[..], b"OPTIONS"].concat(), 1, CloseReason::MessageTimeout),
    ];
    for (bytes, messages, reason) in cases {
        let mut rig = Rig::with(|config| {
            config.message_timeout = short;
            config.idle_timeout = short;
        });
        let server = rig.listen(Listen::Tcp);
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let flow = rig.opened().await;
        for _ in 0..messages {
            rig.message().await;
        }
        assert_eq!(rig.closed().await, (flow.id, reason));
    }
}

#[tokio::test]
async fn trickling_bytes_buy_no_time() {
    for before in [&b""[..], &request("first")] {
        let mut rig = Rig::with(|config| config.message_timeout = Duration::from_millis(300));
        let server = rig.listen(Listen::Tcp);
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(before).await.unwrap();
        let flow = rig.opened().await;
        if !before.is_empty() {
            rig.message().await;
        }
        let trickle = async {
            while client.write_all(b"O").await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            // The connection has ended, and Closed is on its way.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            closed = rig.closed() => assert_eq!(closed, (flow.id, CloseReason::MessageTimeout)),
            () = trickle => {}
        }
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    client.write_all(&request("slow")).await.unwrap();
    let flow = rig.opened().await;
    rig.message().await;
    let piece = Bytes::from(vec![b'x'; 60_000]);
    // The kernel's own buffers take some megabytes first.
    let mut sent = 0;
    while let Ok(()) = rig.network.send(&flow, piece.clone()) {
        sent += piece.len();
        assert!(sent < 100_000_000, "nothing bounds what waits for this peer");
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.closed().await, (flow.id, CloseReason::SlowReader));
    assert_eq!(rig.network.send(&flow, piece), Err(SendError::NoFlow));
}

#[tokio::test]
async fn a_peer_that_reads_nothing_for_the_write_timeout_is_cut_off() {
    let mut rig = Rig::with(|config| {
        config.write_timeout = Duration::from_millis(50);
        config.queue_bytes_max = 100_000_000;
    });
    let server = rig.listen(Listen::Tcp);
    let _client = TcpStream::connect(server).await.unwrap();
    let flow = rig.opened().await;
    rig.network.send(&flow, vec![b'x'; 50_000_000].into()).unwrap();
    assert_eq!(rig.closed().await, (flow.id, CloseReason::SlowReader));
}

#[tokio::test]
async fn what_was_written_no_longer_counts_as_queued() {
    let piece = request("piece");
    let mut rig = Rig::with(|config| config.queue_bytes_max = 2 * piece.len());
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    let flow = rig.opened().await;
    for _ in 0..10 {
        rig.network.send(&flow, piece.clone()).unwrap();
        expect_bytes(&mut client, &piece).await;
    }
}

#[tokio::test]
async fn one_message_over_the_queue_bound_still_passes_an_idle_connection() {
    let mut rig = Rig::with(|config| config.queue_bytes_max = 100);
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    let flow = rig.opened().await;
    rig.network.send(&flow, request("long")).unwrap();
    expect_bytes(&mut client, &request("long")).await;
}

#[tokio::test]
async fn a_stalled_consumer_stalls_the_peers_and_loses_nothing() {
    let (sender, mut events) = mpsc::channel(1);
    let network = Network::new(NetConfig::default(), sender);
    let server = network.listen(Listen::Tcp, LOOPBACKS[0].parse().unwrap()).unwrap();
    let client = Arc::new(TcpStream::connect(server).await.unwrap());
    let body = "b".repeat(60_000);
    let piece = request_with_body("stall", &body);
    let writer = client.clone();
    let written = async move {
        let mut sent = 0;
        loop {
            writer.writable().await.unwrap();
            let from = sent % piece.len();
            if let Ok(length) = writer.try_write(&piece[from..]) {
                sent += length;
            }
            if sent >= 100_000_000 {
                return;
            }
        }
    };
    let stalled = timeout(Duration::from_millis(300), written).await;
    assert!(stalled.is_err(), "a stalled consumer must stop the peer");
    assert!(matches!(soon(events.recv()).await, Some(NetEvent::Opened { .. })));
    for _ in 0..10 {
        let event = soon(events.recv()).await;
        assert!(matches!(event, Some(NetEvent::Message { message, .. }) if message.body() == body));
    }
}

#[tokio::test]
async fn closing_delivers_what_is_queued() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    let flow = rig.opened().await;
    for n in 0..20 {
        rig.network.send(&flow, request(&n.to_string())).unwrap();
    }
    rig.network.close(flow.id);
    let all: Vec<u8> = (0..20).flat_map(|n| request(&n.to_string())).collect();
    expect_bytes(&mut client, &all).await;
    assert_eq!(soon(client.read(&mut [0])).await.unwrap(), 0);
    drop(client);
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Local));
}

#[tokio::test]
async fn shutdown_delivers_what_is_queued_and_frees_the_port() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let mut client = TcpStream::connect(server).await.unwrap();
    let flow = rig.opened().await;
    rig.network.send(&flow, request("bye")).unwrap();
    let network = rig.network.clone();
    let reader = tokio::spawn(async move { read_to_end(&mut client).await });
    soon(network.shutdown()).await;
    assert_eq!(reader.await.unwrap(), request("bye"));
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Shutdown));
    assert_eq!(network.connections(), 0);
    assert!(TcpStream::connect(server).await.is_err());
}

#[tokio::test]
async fn a_reset_is_told_from_an_orderly_end() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Tcp);
    let client = TcpStream::connect(server).await.unwrap();
    rig.opened().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(rig.closed().await.1, CloseReason::Reset);
}

#[tokio::test]
async fn a_connection_can_be_made_to_a_peer() {
    let mut rig = Rig::new();
    let peer = TcpListener::bind(LOOPBACKS[0]).await.unwrap();
    let remote = peer.local_addr().unwrap();
    let flow = rig.network.connect(TransportKind::Tcp, remote).await.unwrap();
    assert_eq!(rig.opened().await, flow);
    let (mut stream, from) = soon(peer.accept()).await.unwrap();
    assert_eq!((flow.remote, flow.local), (remote, from));
    rig.network.send(&flow, request("out")).unwrap();
    expect_bytes(&mut stream, &request("out")).await;
    stream.write_all(&request("back")).await.unwrap();
    assert_eq!(rig.message().await.1.call_id(), "back");
    drop((peer, stream));
    rig.closed().await;
    let refused = rig.network.connect(TransportKind::Tcp, remote).await.unwrap_err();
    assert!(matches!(refused, NetError::Connect { .. }), "{refused}");
    let unsupported = rig.network.connect(TransportKind::Ws, remote).await.unwrap_err();
    assert!(matches!(unsupported, NetError::Connect { .. }), "{unsupported}");
}
