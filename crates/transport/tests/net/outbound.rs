//! Flows to peers that have not come to us: connections that we make, and look-ups.

use std::sync::Arc;
use std::time::Duration;

use transport::net::{Listen, NetError, NetEvent};
use transport::routing::{NextHop, next_hop};
use transport::{TransportKind, Uri};

use crate::support::{LOOPBACKS, Rig, certificate, request, soon};

#[tokio::test]
async fn rfc3261_18_1_1_a_connection_that_we_made_is_used_again() {
    let mut server = Rig::new();
    let mut client = Rig::new();
    let address = server.listen(Listen::Tcp);
    let first = client.network.connect(TransportKind::Tcp, address).await.unwrap();
    assert_eq!(client.opened().await, first);
    assert_eq!(client.network.connect(TransportKind::Tcp, address).await.unwrap(), first);
    assert!(client.network.is_open(first.id));
    client.network.send(&first, request("one")).unwrap();
    server.opened().await;
    server.echo("one").await;
    assert_eq!(client.message().await.0, first);
    client.network.close(first.id);
    client.closed().await;
    assert!(!client.network.is_open(first.id));
    let second = client.network.connect(TransportKind::Tcp, address).await.unwrap();
    assert_ne!(second.id, first.id, "a closed one is not");
}

#[tokio::test]
async fn rfc3261_26_3_1_a_tls_peer_must_have_the_certificate_of_its_name() {
    let mut server = Rig::new();
    let (config, connector) = certificate();
    let address = server.listen(Listen::Tls(config));
    let trusting = Rig::with(|c| c.tls_client = Some(Arc::clone(connector.config())));
    let hop = |host: &str| hop(&format!("sips:{host}:{}", address.port()));
    let by_address = trusting.network.route(&hop("127.0.0.1")).await.unwrap();
    assert_eq!((by_address.kind, by_address.remote), (TransportKind::Tls, address));
    server.opened().await;
    trusting.network.send(&by_address, request("tls")).unwrap();
    assert_eq!(server.message().await.1.call_id(), "tls");
    let by_name = trusting.network.route(&hop("localhost")).await.unwrap();
    assert_ne!(by_name.id, by_address.id, "the certificate was checked for another name");
    let wrong = trusting.network.route(&hop("ip6-localhost.localdomain")).await;
    assert!(wrong.is_err(), "{wrong:?}");

    let (_, stranger) = certificate();
    let untrusting = Rig::with(|c| c.tls_client = Some(Arc::clone(stranger.config())));
    let error = untrusting.network.route(&hop("127.0.0.1")).await.unwrap_err();
    assert!(matches!(error, NetError::Connect { .. }), "{error}");
    let without = Rig::new();
    assert!(without.network.route(&hop("127.0.0.1")).await.is_err());
    assert_eq!(without.network.connections(), 0);
}

#[tokio::test]
async fn rfc3263_4_2_a_name_is_looked_up_and_each_address_tried() {
    let mut server = Rig::new();
    let address = server.listen(Listen::Tcp);
    let client = Rig::new();
    let hop = hop(&format!("sip:localhost:{};transport=tcp", address.port()));
    assert_eq!(client.network.route(&hop).await.unwrap().remote, address);
    server.opened().await;
    let none = client
        .network
        .route(&next_hop(&"sip:nobody.invalid".parse().unwrap()).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(none, NetError::Resolve { .. }), "{none}");
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_is_given_up() {
    let deaf = tokio::net::TcpListener::bind(LOOPBACKS[0]).await.unwrap();
    let (_, connector) = certificate();
    let client = Rig::with(|config| {
        config.tls_client = Some(Arc::clone(connector.config()));
        config.handshake_timeout = Duration::from_millis(200);
    });
    let address = deaf.local_addr().unwrap();
    let connected = soon(client.network.connect(TransportKind::Tls, address)).await;
    assert!(connected.is_err(), "{connected:?}");
}

#[tokio::test]
async fn datagrams_leave_from_the_listener_that_the_peer_is_nearest_to() {
    let mut rig = Rig::new();
    rig.listen_on(Listen::Udp, "127.0.0.2:0");
    let near = rig.listen_on(Listen::Udp, "127.0.0.1:0");
    let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let remote = peer.local_addr().unwrap();
    let flow = rig.network.connect(TransportKind::Udp, remote).await.unwrap();
    assert_eq!(flow.local, near);
    peer.send_to(&request("udp"), near).await.unwrap();
    assert!(matches!(rig.event().await, NetEvent::Message { flow: heard, .. } if heard == flow));
}

fn hop(uri: &str) -> NextHop {
    next_hop(&uri.parse::<Uri>().unwrap()).unwrap()
}
