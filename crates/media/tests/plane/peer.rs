//! A peer connection of the `webrtc` crate: another implementation than ours of everything.

use std::sync::Arc;

use bytes::Bytes;
use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::configuration::media_engine::MIME_TYPE_OPUS,
    rtp,
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
        RtpCodecKind,
    },
};
use tokio::sync::{Mutex, Notify, mpsc};
use webrtc::{
    media_stream::{
        track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP},
        track_remote::{TrackRemote, TrackRemoteEvent},
    },
    peer_connection::{
        MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
        RTCIceGatheringState, RTCSessionDescription,
    },
};

const SSRC: u32 = 0x0bad_cafe;
const PAYLOAD_TYPE: u8 = 111;

pub struct Peer {
    connection: Box<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    gathered: Arc<Notify>,
    payloads: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    sent: Mutex<u16>,
}

struct Handler {
    gathered: Arc<Notify>,
    payloads: mpsc::UnboundedSender<Vec<u8>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let payloads = self.payloads.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let _ = payloads.send(packet.payload.to_vec());
                }
            }
        });
    }
}

impl Peer {
    pub async fn new() -> Self {
        let codec = RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: Vec::new(),
        };
        let mut media = MediaEngine::default();
        let parameters =
            RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type: PAYLOAD_TYPE };
        media.register_codec(parameters, RtpCodecKind::Audio).unwrap();
        let gathered = Arc::new(Notify::new());
        let (sender, payloads) = mpsc::unbounded_channel();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_handler(Arc::new(Handler { gathered: Arc::clone(&gathered), payloads: sender }))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap();
        let coding = RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() };
        let encoding =
            RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..Default::default() };
        let name = || "audio".to_owned();
        let kind = RtpCodecKind::Audio;
        let track = MediaStreamTrack::new(name(), name(), name(), kind, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await.unwrap();
        let (payloads, sent) = (Mutex::new(payloads), Mutex::new(0));
        Self { connection: Box::new(connection), track, gathered, payloads, sent }
    }

    pub async fn offer(&self) -> String {
        let offer = self.connection.create_offer(None).await.unwrap();
        self.connection.set_local_description(offer).await.unwrap();
        let gathered = self.gathered.notified();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(3), gathered).await;
        self.connection.local_description().await.unwrap().sdp
    }

    pub async fn accept(&self, answer: String) {
        let answer = RTCSessionDescription::answer(answer).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }

    /// The next payloads that it hears.
    pub async fn heard(&self, count: usize) -> Vec<Vec<u8>> {
        let mut payloads = self.payloads.lock().await;
        let mut heard = Vec::new();
        while heard.len() < count {
            let next = tokio::time::timeout(std::time::Duration::from_secs(10), payloads.recv());
            heard.push(next.await.expect("nothing more was heard").unwrap());
        }
        heard
    }

    pub async fn say(&self, payload: Vec<u8>) {
        let mut sent = self.sent.lock().await;
        let header = rtp::Header {
            version: 2,
            payload_type: PAYLOAD_TYPE,
            ssrc: SSRC,
            sequence_number: *sent,
            timestamp: u32::from(*sent) * 960,
            ..Default::default()
        };
        *sent += 1;
        let packet = rtp::Packet { header, payload: Bytes::from(payload) };
        self.track.write_rtp(packet).await.unwrap();
    }

    pub async fn close(&self) {
        self.connection.close().await.unwrap();
    }
}
