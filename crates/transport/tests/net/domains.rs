//! The servers of a SIP domain, as a name server of our own tells of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;
use transport::net::{Listen, NetError};
use transport::routing::{NextHop, next_hop};
use transport::{TransportKind, Uri};

use crate::support::{Rig, certificate, soon};

/// A name server that knows some SRV records, and nothing else.
struct NameServer {
    address: SocketAddr,
    queries: Arc<AtomicUsize>,
}

/// The service and domain, then priority, port and target.
type Known = (&'static str, u16, u16, &'static str);

impl NameServer {
    async fn start(known: Vec<Known>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, queries) = (socket.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let asked = Arc::clone(&queries);
        tokio::spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&buffer[..length], &known);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, queries }
    }

    fn rig(&self) -> Rig {
        Rig::with(|config| config.name_servers = vec![self.address])
    }
}

fn answer(query: &[u8], known: &[Known]) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap().into_response();
    let name = message.queries[0].name().clone();
    for (service, priority, port, target) in known {
        if name == Name::from_ascii(format!("{service}.")).unwrap() {
            let target = Name::from_ascii(format!("{}.", target.trim_end_matches('.'))).unwrap();
            let data = RData::SRV(SRV::new(*priority, 0, *port, target));
            message.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
    }
    if message.answers.is_empty() {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    message.to_vec().unwrap()
}

fn hop(uri: &str) -> NextHop {
    next_hop(&uri.parse::<Uri>().unwrap()).unwrap()
}

#[tokio::test]
async fn rfc3263_4_2_the_servers_of_a_domain_are_tried_in_their_order() {
    let mut server = Rig::new();
    let address = server.listen(Listen::Tcp);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let names = NameServer::start(vec![
        ("_sip._tcp.pbx.test", 20, address.port(), "localhost"),
        ("_sip._tcp.pbx.test", 10, closed.port(), "localhost"),
        ("_sip._tcp.pbx.test", 5, 5060, "nobody.invalid"),
    ])
    .await;
    let client = names.rig();
    let flow = soon(client.network.route(&hop("sip:bob@pbx.test;transport=tcp"))).await.unwrap();
    assert_eq!((flow.kind, flow.remote), (TransportKind::Tcp, address));
    server.opened().await;
}

#[tokio::test]
async fn rfc3263_4_1_a_domain_that_has_no_server_for_udp_is_reached_by_tcp() {
    let server = Rig::new();
    let address = server.listen(Listen::Tcp);
    let names =
        NameServer::start(vec![("_sip._tcp.pbx.test", 1, address.port(), "localhost")]).await;
    let client = names.rig();
    client.listen(Listen::Udp);
    let flow = soon(client.network.route(&hop("sip:bob@pbx.test"))).await.unwrap();
    assert_eq!((flow.kind, flow.remote), (TransportKind::Tcp, address));
    let named = soon(client.network.route(&hop("sip:bob@pbx.test;transport=udp"))).await;
    assert!(named.is_err(), "{named:?}");
}

#[tokio::test]
async fn rfc3263_4_2_a_port_or_a_name_of_one_label_is_no_domain() {
    let server = Rig::new();
    let address = server.listen(Listen::Tcp);
    let names = NameServer::start(vec![("_sip._tcp.localhost", 1, 1, "localhost")]).await;
    let client = names.rig();
    let port = address.port();
    let with_port = hop(&format!("sip:localhost:{port};transport=tcp"));
    assert_eq!(soon(client.network.route(&with_port)).await.unwrap().remote, address);
    let _ = soon(client.network.route(&hop("sip:localhost;transport=tcp"))).await;
    let _ = soon(client.network.route(&hop("sip:pbx.test:1;transport=tcp"))).await;
    assert_eq!(names.queries.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn rfc2782_a_domain_can_say_that_it_has_no_server() {
    let names = NameServer::start(vec![("_sip._udp.pbx.test", 0, 0, ".")]).await;
    let client = names.rig();
    client.listen(Listen::Udp);
    let denied = soon(client.network.route(&hop("sip:pbx.test;transport=udp"))).await.unwrap_err();
    assert!(matches!(denied, NetError::Resolve { .. }), "{denied}");
}

#[tokio::test]
async fn rfc5922_4_the_server_of_a_domain_must_have_the_certificate_of_the_domain() {
    let server = Rig::new();
    let (config, connector) = certificate();
    let address = server.listen(Listen::Tls(config));
    let port = address.port();
    let names = NameServer::start(vec![
        ("_sips._tcp.pbx.test", 1, port, "localhost"),
        ("_sips._tcp.other.test", 1, port, "localhost"),
    ])
    .await;
    let client = Rig::with(|config| {
        config.tls_client = Some(Arc::clone(connector.config()));
        config.name_servers = vec![names.address];
    });
    let flow = soon(client.network.route(&hop("sips:bob@pbx.test"))).await.unwrap();
    assert_eq!((flow.kind, flow.remote), (TransportKind::Tls, address));
    let wrong = soon(client.network.route(&hop("sips:bob@other.test"))).await.unwrap_err();
    assert!(matches!(wrong, NetError::Connect { .. }), "{wrong}");
}

#[tokio::test]
async fn a_name_server_that_is_gone_does_not_keep_a_call_for_long() {
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Rig::with(|config| config.name_servers = vec![gone]);
    let error = soon(client.network.route(&hop("sip:nobody.invalid"))).await.unwrap_err();
    assert!(matches!(error, NetError::Resolve { .. }), "{error}");
}
