//! Servers that answer every call: an echo over plain RTP, and a WebRTC sender.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message as Frame;
use transport::{
    Flow, FlowId, Framing, Limits, Message, Method, Name, ResponseWriter, TransportKind,
};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription,
};

/// Answers over UDP with one status and echoes RTP, dropping every n-th packet.
pub struct PlainUas {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl PlainUas {
    pub fn start(status: u16, drop_every: u32) -> PlainUas {
        let open = || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            socket
        };
        let (sip, rtp) = (open(), open());
        let (address, media) = (sip.local_addr().unwrap(), rtp.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let (stop_sip, stop_rtp) = (Arc::clone(&stop), Arc::clone(&stop));
        let sip = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop_sip.load(Ordering::Relaxed) {
                let Ok((length, from)) = sip.recv_from(&mut buffer) else { continue };
                let request = read(Bytes::copy_from_slice(&buffer[..length]), Framing::Datagram);
                let flow = flow(TransportKind::Udp, address, from);
                let sdp = format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio {} RTP/AVP 0\r\n",
                    media.port()
                );
                if let Some(response) = respond(&request, &flow, status, &sdp) {
                    sip.send_to(&response, from).unwrap();
                }
            }
        });
        let rtp = thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut count = 0_u32;
            while !stop_rtp.load(Ordering::Relaxed) {
                let Ok((length, from)) = rtp.recv_from(&mut buffer) else { continue };
                count += 1;
                if drop_every == 0 || !count.is_multiple_of(drop_every) {
                    rtp.send_to(&buffer[..length], from).unwrap();
                }
            }
        });
        PlainUas { address, stop, threads: vec![sip, rtp] }
    }
}

impl Drop for PlainUas {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// Answers over WebSocket with a peer connection that sends 50 packets a second.
pub struct WebRtcUas {
    pub address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl WebRtcUas {
    pub fn start() -> WebRtcUas {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, remote)) = listener.accept().await {
                tokio::spawn(serve(stream, flow(TransportKind::Ws, address, remote)));
            }
        });
        WebRtcUas { address, _runtime: runtime }
    }
}

#[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
async fn serve(stream: tokio::net::TcpStream, flow: Flow) {
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

    let accept = |request: &Request, mut response: Response| {
        let protocol = request.headers().get("sec-websocket-protocol").unwrap().clone();
        assert_eq!(protocol, "sip");
        response.headers_mut().insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, accept).await.unwrap();
    let mut peer = None;
    while let Some(Ok(Frame::Text(text))) = socket.next().await {
        let request = read(Bytes::copy_from_slice(text.as_bytes()), Framing::WebSocket);
        let mut answer = String::new();
        if *request.method() == Method::Invite {
            let offer = String::from_utf8(request.body().to_vec()).unwrap();
            let (connection, sdp) = answer_with_media(offer).await;
            (peer, answer) = (Some(connection), sdp);
        }
        if let Some(response) = respond(&request, &flow, 200, &answer) {
            let text = String::from_utf8(response.to_vec()).unwrap();
            socket.send(Frame::text(text)).await.unwrap();
        }
    }
    drop(peer);
}

struct Handler {
    gathered: Arc<Notify>,
    connected: Arc<Notify>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.connected.notify_one();
        }
    }
}

async fn answer_with_media(offer: String) -> (Arc<dyn PeerConnection>, String) {
    let (gathered, connected) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = Handler { gathered: Arc::clone(&gathered), connected: Arc::clone(&connected) };
    let (media, codec) = benches::webrtc_calls::opus_only().unwrap();
    let peer: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_handler(Arc::new(handler))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap(),
    );
    let track = benches::webrtc_calls::track(codec, 77);
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    peer.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await.unwrap();
    peer.set_remote_description(RTCSessionDescription::offer(offer).unwrap()).await.unwrap();
    let answer = peer.create_answer(None).await.unwrap();
    peer.set_local_description(answer).await.unwrap();
    gathered.notified().await;
    let sdp = peer.local_description().await.unwrap().sdp;
    tokio::spawn(async move {
        connected.notified().await;
        let mut header = rtc::rtp::Header {
            version: 2,
            payload_type: 111,
            ssrc: 77,
            sequence_number: 65_500,
            ..Default::default()
        };
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        loop {
            clock.tick().await;
            let payload = Bytes::from_static(&[0xf8, 0xff, 0xfe]);
            let packet = rtc::rtp::Packet { header: header.clone(), payload };
            if track.write_rtp(packet).await.is_err() {
                return;
            }
            header.sequence_number = header.sequence_number.wrapping_add(1);
            header.timestamp = header.timestamp.wrapping_add(960);
        }
    });
    (peer, sdp)
}

fn flow(kind: TransportKind, local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow { id: FlowId(1), kind, local, remote }
}

fn read(bytes: Bytes, framing: Framing) -> Message {
    Message::parse(bytes, framing, &Limits::default()).unwrap()
}

/// The response to a request; none to an ACK.
fn respond(request: &Message, flow: &Flow, status: u16, sdp: &str) -> Option<Bytes> {
    let status = match request.method() {
        Method::Ack => return None,
        Method::Invite => status,
        _ => 200,
    };
    let contact = format!("<sip:{}>", flow.local);
    let response =
        ResponseWriter::to(request, flow, status).to_tag("uas").header(Name::Contact, contact);
    Some(response.body("application/sdp", sdp.as_bytes()).finish())
}
