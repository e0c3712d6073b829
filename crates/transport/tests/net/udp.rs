//! Datagrams.

use std::io;

use tokio::net::UdpSocket;
use transport::{
    Fault, FlowId, TransportKind,
    net::{DropReason, Listen, NetError, NetEvent, SendError},
};

use crate::support::{LOOPBACKS, Rig, request, soon};

#[tokio::test]
async fn a_request_is_answered_where_it_came_from() {
    for address in LOOPBACKS {
        let mut rig = Rig::new();
        let server = rig.listen_on(Listen::Udp, address);
        let client = UdpSocket::bind(address).await.unwrap();
        client.send_to(&request("udp"), server).await.unwrap();
        let flow = rig.echo("udp").await;
        assert_eq!(flow.kind, TransportKind::Udp);
        assert_eq!(flow.local, server);
        assert_eq!(flow.remote, client.local_addr().unwrap());
        let mut buffer = [0; 2048];
        let (length, from) = soon(client.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((&buffer[..length], from), (request("udp").as_ref(), server));
        let counters = rig.counters(TransportKind::Udp);
        assert_eq!((counters.messages_in, counters.messages_out), (1, 1));
        assert_eq!(counters.bytes_out, request("udp").len() as u64);
        rig.ends_silent().await;
    }
}

#[tokio::test]
async fn a_wildcard_listener_answers_from_the_address_it_was_asked_at() {
    for (wildcard, target) in
        [("0.0.0.0:0", "127.0.0.2"), ("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")]
    {
        let mut rig = Rig::new();
        let mut server = rig.listen_on(Listen::Udp, wildcard);
        server.set_ip(target.parse().unwrap());
        let any = if target.contains(':') { LOOPBACKS[1] } else { LOOPBACKS[0] };
        let client = UdpSocket::bind(any).await.unwrap();
        // A connected socket, as a phone's, takes answers from this address only.
        client.connect(server).await.unwrap();
        client.send(&request("wild")).await.unwrap();
        assert_eq!(rig.echo("wild").await.local, server);
        let mut buffer = [0; 2048];
        let length = soon(client.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..length], request("wild").as_ref());
    }
}

#[tokio::test]
async fn ipv4_and_ipv6_wildcards_share_a_port() {
    let rig = Rig::new();
    let port = rig.listen_on(Listen::Udp, "[::]:0").port();
    rig.listen_on(Listen::Udp, &format!("0.0.0.0:{port}"));
    let port = rig.listen_on(Listen::Tcp, "[::]:0").port();
    rig.listen_on(Listen::Tcp, &format!("0.0.0.0:{port}"));
}

#[tokio::test]
async fn rfc5626_8_a_binding_request_is_answered() {
    for address in LOOPBACKS {
        let mut rig = Rig::new();
        let server = rig.listen_on(Listen::Udp, address);
        let client = UdpSocket::bind(address).await.unwrap();
        let mut binding = [0; 20];
        binding[1] = 1;
        binding[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
        client.send_to(&binding, server).await.unwrap();
        let mut buffer = [0; 100];
        let (length, from) = soon(client.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((length % 12, &buffer[..2], from), (8, &[1, 1][..], server));
        client.send_to(&request("after"), server).await.unwrap();
        rig.echo("after").await;
        let counters = rig.counters(TransportKind::Udp);
        assert_eq!((counters.keep_alives_in, counters.messages_in), (1, 1));
    }
}

#[tokio::test]
async fn keep_alives_are_counted_and_dropped() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Udp);
    let client = UdpSocket::bind(LOOPBACKS[0]).await.unwrap();
    for keep_alive in [&b"\r\n\r\n"[..], b"\r\n", b"\0\0\0\0", b""] {
        client.send_to(keep_alive, server).await.unwrap();
    }
    client.send_to(&request("after"), server).await.unwrap();
    rig.echo("after").await;
    let counters = rig.counters(TransportKind::Udp);
    assert_eq!((counters.keep_alives_in, counters.messages_in), (4, 1));
}

#[tokio::test]
async fn garbage_is_reported_and_the_next_datagram_is_read() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Udp);
    let client = UdpSocket::bind(LOOPBACKS[0]).await.unwrap();
    client.send_to(b"\x80garbage", server).await.unwrap();
    client.send_to(&request("fine"), server).await.unwrap();
    let (flow, error) = rig.unparsable().await;
    assert_eq!(flow.remote, client.local_addr().unwrap());
    assert_ne!(error.fault(), Fault::Empty);
    rig.echo("fine").await;
    assert_eq!(rig.counters(TransportKind::Udp).unparsable, 1);
}

#[tokio::test]
async fn a_peer_can_be_written_to_first() {
    for (listener, peer) in
        [("127.0.0.1:0", "127.0.0.1:0"), ("0.0.0.0:0", "127.0.0.1:0"), ("[::]:0", "[::1]:0")]
    {
        let rig = Rig::new();
        let bound = rig.listen_on(Listen::Udp, listener);
        let peer = UdpSocket::bind(peer).await.unwrap();
        let remote = peer.local_addr().unwrap();
        let flow = rig.network.connect(TransportKind::Udp, remote).await.unwrap();
        assert_eq!((flow.local.ip(), flow.local.port()), (remote.ip(), bound.port()));
        rig.network.send(&flow, request("first")).unwrap();
        let mut buffer = [0; 2048];
        assert_eq!(soon(peer.recv_from(&mut buffer)).await.unwrap().1, flow.local);
    }
}

#[tokio::test]
async fn a_peer_of_another_family_cannot_be_reached() {
    let rig = Rig::new();
    rig.listen(Listen::Udp);
    let remote = "[::1]:5060".parse().unwrap();
    let error = rig.network.connect(TransportKind::Udp, remote).await.unwrap_err();
    assert!(matches!(error, NetError::NoListener { remote: one } if one == remote));
}

#[tokio::test]
async fn what_cannot_be_sent_is_counted() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Udp);
    let client = UdpSocket::bind(LOOPBACKS[0]).await.unwrap();
    client.send_to(&request("big"), server).await.unwrap();
    let mut flow = rig.echo("big").await;
    let refused = rig.network.send(&flow, vec![0; 70_000].into()).unwrap_err();
    assert!(matches!(refused, SendError::Refused(_)), "{refused}");
    assert_eq!(rig.dropped(TransportKind::Udp, DropReason::SendFailed), 1);
    flow.id = FlowId(u64::MAX);
    assert_eq!(rig.network.send(&flow, request("gone")), Err(SendError::NoFlow));
    assert_eq!(rig.dropped(TransportKind::Udp, DropReason::NoFlow), 1);
}

#[tokio::test]
async fn rfc3261_18_4_a_datagram_to_a_closed_port_is_reported_and_costs_nobody_else_one() {
    for address in LOOPBACKS {
        let mut rig = Rig::new();
        let server = rig.listen_on(Listen::Udp, address);
        let peer = UdpSocket::bind(address).await.unwrap();
        let gone = UdpSocket::bind(address).await.unwrap().local_addr().unwrap();
        let to_peer =
            rig.network.connect(TransportKind::Udp, peer.local_addr().unwrap()).await.unwrap();
        let to_gone = rig.network.connect(TransportKind::Udp, gone).await.unwrap();
        for round in 0..10 {
            for name in ["lost", "found", "lost", "found"] {
                let flow = if name == "lost" { to_gone } else { to_peer };
                rig.network.send(&flow, request(name)).unwrap();
            }
            peer.send_to(&request("back"), server).await.unwrap();
            let (mut undelivered, mut received) = (0, 0);
            while undelivered < 2 || received < 1 {
                match rig.event().await {
                    NetEvent::Undelivered { socket, remote, quote } => {
                        assert_eq!((socket, remote), (to_gone.id, gone));
                        assert_eq!(quote, request("lost"));
                        undelivered += 1;
                    }
                    NetEvent::Message { message, .. } => {
                        assert_eq!(message.call_id(), "back");
                        received += 1;
                    }
                    other => panic!("round {round}: {other:?}"),
                }
            }
            let mut buffer = [0; 2048];
            for _ in 0..2 {
                let (length, _) = soon(peer.recv_from(&mut buffer)).await.unwrap();
                assert_eq!(&buffer[..length], request("found").as_ref());
            }
        }
        assert_eq!(rig.dropped(TransportKind::Udp, DropReason::Undelivered), 20);
        assert_eq!(rig.dropped(TransportKind::Udp, DropReason::SendFailed), 0);
        rig.ends_silent().await;
    }
}

#[tokio::test]
async fn a_flood_of_errors_is_counted_and_reported_in_part() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Udp);
    let client = UdpSocket::bind(LOOPBACKS[0]).await.unwrap();
    let gone = UdpSocket::bind(LOOPBACKS[0]).await.unwrap().local_addr().unwrap();
    let flow = rig.network.connect(TransportKind::Udp, gone).await.unwrap();
    for sent in 1..=600 {
        rig.network.send(&flow, request("lost")).unwrap();
        let counted = async {
            while rig.dropped(TransportKind::Udp, DropReason::Undelivered) < sent {
                tokio::task::yield_now().await;
            }
        };
        soon(counted).await;
    }
    client.send_to(&request("after"), server).await.unwrap();
    let mut reported = 0;
    loop {
        match rig.event().await {
            NetEvent::Undelivered { .. } => reported += 1,
            NetEvent::Message { message, .. } => break assert_eq!(message.call_id(), "after"),
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=500).contains(&reported), "{reported} reported");
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_its_address() {
    let rig = Rig::new();
    for listen in [Listen::Udp, Listen::Tcp] {
        let taken = rig.listen(listen.clone());
        let error = rig.network.listen(listen.clone(), taken).unwrap_err();
        let NetError::Listen { kind, address, source } = error else { panic!("{error}") };
        assert_eq!((kind, address), (listen.kind(), taken));
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    }
}
