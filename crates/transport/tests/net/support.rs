//! A network under test, and the bytes that are sent to it.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use transport::{
    Flow, FlowId, Message, ParseError, TransportKind,
    net::{CloseReason, DropReason, Listen, NetConfig, NetCounters, NetEvent, Network},
};

pub const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// A network and the end that its events come out of.
pub struct Rig {
    pub network: Network,
    pub events: mpsc::Receiver<NetEvent>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut NetConfig)) -> Self {
        let mut config = NetConfig::default();
        change(&mut config);
        let (sender, events) = mpsc::channel(64);
        Self { network: Network::new(config, sender), events }
    }

    pub fn listen(&self, listen: Listen) -> SocketAddr {
        self.listen_on(listen, LOOPBACKS[0])
    }

    pub fn listen_on(&self, listen: Listen, address: &str) -> SocketAddr {
        self.network.listen(listen, address.parse().unwrap()).unwrap()
    }

    pub async fn event(&mut self) -> NetEvent {
        soon(self.events.recv()).await.unwrap()
    }

    pub async fn opened(&mut self) -> Flow {
        match self.event().await {
            NetEvent::Opened { flow, .. } => flow,
            other => panic!("expected Opened, got {other:?}"),
        }
    }

    pub async fn message(&mut self) -> (Flow, Message) {
        match self.event().await {
            NetEvent::Message { flow, message } => (flow, message),
            other => panic!("expected Message, got {other:?}"),
        }
    }

    pub async fn unparsable(&mut self) -> (Flow, ParseError) {
        match self.event().await {
            NetEvent::Unparsable { flow, error, .. } => (flow, error),
            other => panic!("expected Unparsable, got {other:?}"),
        }
    }

    pub async fn closed(&mut self) -> (FlowId, CloseReason) {
        match self.event().await {
            NetEvent::Closed { flow, reason } => (flow.id, reason),
            other => panic!("expected Closed, got {other:?}"),
        }
    }

    /// Opened and then Closed for this reason, with nothing in between.
    pub async fn opened_and_closed(&mut self, reason: CloseReason) {
        let id = self.opened().await.id;
        assert_eq!(self.closed().await, (id, reason));
    }

    /// Receives the message of this Call-ID and answers it with its own bytes.
    pub async fn echo(&mut self, call_id: &str) -> Flow {
        let (flow, message) = self.message().await;
        assert_eq!(message.call_id(), call_id);
        self.network.send(&flow, message.bytes().clone()).unwrap();
        flow
    }

    pub fn counters(&self, kind: TransportKind) -> NetCounters {
        self.network.counters().into_iter().find(|counters| counters.kind == kind).unwrap()
    }

    pub fn dropped(&self, kind: TransportKind, reason: DropReason) -> u64 {
        let dropped = self.counters(kind).dropped;
        dropped.into_iter().find(|(one, _)| *one == reason).unwrap().1
    }

    /// Shuts down and expects that nothing is reported any more.
    pub async fn ends_silent(mut self) {
        soon(self.network.shutdown()).await;
        drop(self.network);
        if let Some(event) = soon(self.events.recv()).await {
            panic!("expected nothing, got {event:?}");
        }
    }
}

/// A certificate for the loopback addresses: what the server is given, and a client that trusts it.
pub fn certificate() -> (Arc<ServerConfig>, TlsConnector) {
    let names = ["localhost", "127.0.0.1", "::1", "pbx.test"].map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}

/// Connects and shakes hands.
pub async fn connect_tls(connector: &TlsConnector, server: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(server).await.unwrap();
    soon(connector.connect(server.ip().into(), stream)).await.unwrap()
}

/// Fails instead of hanging.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(10), future).await.expect("should not take so long")
}

/// A request of this Call-ID without a body.
pub fn request(call_id: &str) -> Bytes {
    request_with_body(call_id, "")
}

pub fn request_with_body(call_id: &str, body: &str) -> Bytes {
    let length = body.len();
    format!(
        "OPTIONS sip:sidetone.test SIP/2.0\r\n\
         Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK{call_id}\r\n\
         From: <sip:a@example.test>;tag=1\r\n\
         To: <sip:b@example.test>\r\n\
         Call-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Content-Length: {length}\r\n\
         \r\n\
         {body}"
    )
    .into()
}

/// Reads exactly these bytes.
pub async fn expect_bytes(stream: &mut (impl AsyncRead + Unpin), expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    soon(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(expected));
}

/// Reads all that comes until the peer ends the stream; a reset ends it too.
pub async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before a reset counts.
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    bytes
}
