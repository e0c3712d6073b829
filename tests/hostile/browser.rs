//! A caller with a real WebRTC stack.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_OPUS;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCSessionDescription,
};

use crate::agent::Agent;
use crate::request::{Request, fresh, status, to_tag};
use crate::sdp;
use crate::server::Server;

/// A call over DTLS-SRTP whose packets are deciphered and counted.
pub struct Browser {
    runtime: Runtime,
    peer: Box<dyn PeerConnection>,
    ear: Arc<Ear>,
    agent: Agent,
    invite: Request,
    answer: String,
}

#[derive(Default)]
struct Ear {
    gathered: Notify,
    packets: AtomicUsize,
    /// The first sequence number and the last.
    span: Mutex<Option<(u16, u16)>>,
}

impl Browser {
    /// Calls and waits for the first packet.
    pub fn call(server: &Server, number: &str) -> Self {
        Browser::call_by_way_of(server, number, |port| port)
    }

    /// The same, with media that goes to another address than the server says; `way` is given that.
    pub fn call_by_way_of(
        server: &Server,
        number: &str,
        way: impl FnOnce(SocketAddr) -> SocketAddr,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let ear = Arc::new(Ear::default());
        let (peer, offer) = runtime.block_on(offer(&ear));
        let mut agent = Agent::udp(server.address("udp"));
        let invite = Request::new("INVITE", number).body(offer);
        let answer = agent.ask(&invite);
        assert_eq!(status(&answer), 200, "{answer}");
        let ack = Request { to_tag: to_tag(&answer), ..invite.same_transaction("ACK") };
        agent.send(&ack.bytes(&agent));
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let port = sdp::rtp_address(body).unwrap();
        let body = body.replace(&port.port().to_string(), &way(port).port().to_string());
        let description = RTCSessionDescription::answer(body).unwrap();
        runtime.block_on(peer.set_remote_description(description)).unwrap();
        let end = Instant::now() + Duration::from_secs(8);
        while ear.packets.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < end, "no packet is heard");
            std::thread::sleep(Duration::from_millis(5));
        }
        Browser { runtime, peer, ear, agent, invite, answer }
    }

    /// How many packets have come.
    pub fn packets(&self) -> usize {
        self.ear.packets.load(Ordering::Relaxed)
    }

    /// How many packets between the first and the last have not come.
    pub fn lost(&self) -> usize {
        let span = self.ear.span.lock().unwrap();
        let (first, last) = span.unwrap();
        (usize::from(last.wrapping_sub(first)) + 1).saturating_sub(self.packets())
    }

    /// Fails unless packets keep coming and none is lost; a client that falls behind gets them late.
    pub fn check(&self) {
        let heard = self.hear(Duration::from_secs(1));
        assert!((30..=70).contains(&heard), "{heard} packets in a second");
        assert_eq!(self.lost(), 0, "of {} packets", self.packets());
    }

    /// How many packets come in a while.
    pub fn hear(&self, duration: Duration) -> usize {
        let before = self.packets();
        std::thread::sleep(duration);
        self.packets() - before
    }

    /// Goes without a word; its signalling is still there.
    pub fn vanish(self) -> Agent {
        self.runtime.shutdown_background();
        self.agent
    }

    pub fn hang_up(mut self) {
        let (branch, to_tag) = (fresh("z9hG4bK"), to_tag(&self.answer));
        let bye = Request { to_tag, cseq: 2, branch, ..self.invite.same_transaction("BYE") };
        assert_eq!(status(&self.agent.ask(&bye)), 200);
        self.runtime.block_on(self.peer.close()).unwrap();
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

async fn offer(ear: &Arc<Ear>) -> (Box<dyn PeerConnection>, String) {
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        ..Default::default()
    };
    let parameters = RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type: 111 };
    let mut media = MediaEngine::default();
    media.register_codec(parameters, RtpCodecKind::Audio).unwrap();
    let peer = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_handler(Arc::new(Handler(Arc::clone(ear))))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await
        .unwrap();
    let track = Arc::new(TrackLocalStaticRTP::new(track(codec)));
    peer.add_track(track as Arc<dyn TrackLocal>).await.unwrap();
    let offer = peer.create_offer(None).await.unwrap();
    peer.set_local_description(offer).await.unwrap();
    drop(tokio::time::timeout(Duration::from_secs(3), ear.gathered.notified()).await);
    let description = peer.local_description().await.unwrap();
    (Box::new(peer), description.sdp)
}

fn track(codec: RTCRtpCodec) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(7), ..Default::default() };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..Default::default() };
    let name = || "audio".to_owned();
    MediaStreamTrack::new(name(), name(), name(), RtpCodecKind::Audio, vec![encoding])
}

struct Handler(Arc<Ear>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.gathered.notify_one();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let ear = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let number = packet.header.sequence_number;
                    let mut span = ear.span.lock().unwrap();
                    *span = Some((span.map_or(number, |(first, _)| first), number));
                    ear.packets.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}
