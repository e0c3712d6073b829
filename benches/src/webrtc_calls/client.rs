//! One WebRTC caller: a WebSocket, a call on it, and a peer connection.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use transport::{Flow, FlowId, Framing, Limits, Message, TransportKind, Uri};

use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_TELEPHONE_EVENT,
};
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription,
};

use super::{Heard, Outcome, Shared, WebRtcOptions, lock};
use crate::net::wall_ns;
use crate::stream::Header;
use crate::uac::{Event, Output, Settings, Uac};

/// Places a call, stays until it is stopped, and hangs up.
pub(super) async fn call(
    options: Arc<WebRtcOptions>,
    call_id: String,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    deadline: tokio::time::Instant,
) -> Outcome {
    let events = Arc::new(Events::new(Arc::clone(&shared)));
    let mut outcome = Outcome::default();
    let placed = tokio::time::timeout_at(
        deadline + ENDING_MAX,
        place(&options, call_id, &events, stopped, deadline, &mut outcome),
    );
    match placed.await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => outcome.failure = Some(failure),
        Err(_) => outcome.failure = Some("the call did not end in time".to_owned()),
    }
    outcome.media_seen = std::mem::take(&mut *lock(&events.heard));
    if outcome.failure.is_none() && outcome.media_seen.first.is_none() {
        outcome.failure = Some("no packet was heard".to_owned());
    }
    if outcome.failure.is_some() {
        shared.failed.fetch_add(1, Ordering::Relaxed);
    }
    outcome
}

async fn place(
    options: &WebRtcOptions,
    call_id: String,
    events: &Arc<Events>,
    stopped: watch::Receiver<bool>,
    deadline: tokio::time::Instant,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let (peer, track) = peer_connection(Arc::clone(events)).await.map_err(|e| e.to_string())?;
    let result = async {
        let offer = offer(&*peer, events).await.map_err(|error| error.to_string())?;
        let mut line = Line::open(options, call_id, &offer).await?;
        let answer = line.answer(deadline).await?;
        outcome.setup = Some(line.invited.elapsed());
        events.shared.answered.fetch_add(1, Ordering::Relaxed);
        let answered = Instant::now();
        let answer = RTCSessionDescription::answer(answer).map_err(|error| error.to_string())?;
        peer.set_remote_description(answer).await.map_err(|error| error.to_string())?;
        let talk = async {
            if options.is_talking {
                talk(&track, events, &mut outcome.sent).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = line.stay(stopped, deadline) => {
                let ended = result?;
                outcome.ended = ended == Event::Ended;
                outcome.hung_up = ended == Event::HungUp;
            }
            () = talk => {}
        }
        let connected = *lock(&events.connected_at);
        outcome.connect = connected.map(|at| at.saturating_duration_since(answered));
        let first = lock(&events.heard).first;
        outcome.media = first.map(|at| at.saturating_duration_since(answered));
        Ok(())
    }
    .await;
    // The call's fate is known; a client that does not close cleanly does not change it.
    drop(peer.close().await);
    result
}

/// What the peer connection tells.
struct Events {
    shared: Arc<Shared>,
    gathered: Notify,
    connected: Notify,
    connected_at: Mutex<Option<Instant>>,
    heard: Mutex<Heard>,
}

impl Events {
    fn new(shared: Arc<Shared>) -> Events {
        Events {
            shared,
            gathered: Notify::new(),
            connected: Notify::new(),
            connected_at: Mutex::new(None),
            heard: Mutex::new(Heard::default()),
        }
    }

    fn handle_packet(&self, packet: &rtp::Packet) {
        let header = Header {
            sequence_number: packet.header.sequence_number,
            rtp_timestamp: packet.header.timestamp,
            ssrc: packet.header.ssrc,
        };
        let mut heard = lock(&self.heard);
        let Heard { stream, pacing, first } = &mut *heard;
        if stream.handle_packet(&header, pacing, wall_ns()) {
            self.shared.packets.fetch_add(1, Ordering::Relaxed);
        }
        if first.is_none() {
            *first = Some(Instant::now());
            self.shared.heard.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The handler that the peer connection calls; it shares the events with the call's task.
struct Handler(Arc<Events>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            lock(&self.0.connected_at).get_or_insert_with(Instant::now);
            self.0.connected.notify_one();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let events = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    events.handle_packet(&packet);
                }
            }
        });
    }
}

async fn peer_connection(
    events: Arc<Events>,
) -> webrtc::error::Result<(Box<dyn PeerConnection>, Arc<TrackLocalStaticRTP>)> {
    let (media, codec) = opus_only()?;
    let peer = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_handler(Arc::new(Handler(events)))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await?;
    let track = track(codec, rand::random());
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    peer.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await?;
    Ok((Box::new(peer), track))
}

/// What a client can do: Opus, and events for digits as every browser has them. For want of those a
/// server that bridges the call searches its audio for tones.
///
/// # Errors
/// What the `webrtc` crate says.
pub fn opus_only() -> webrtc::error::Result<(MediaEngine, RTCRtpCodec)> {
    let mut media = MediaEngine::default();
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    };
    let parameters = RTCRtpCodecParameters { rtp_codec: codec.clone(), payload_type: PAYLOAD_TYPE };
    media.register_codec(parameters, RtpCodecKind::Audio)?;
    let events = RTCRtpCodec {
        mime_type: MIME_TYPE_TELEPHONE_EVENT.to_owned(),
        clock_rate: 48_000,
        ..RTCRtpCodec::default()
    };
    let events = RTCRtpCodecParameters { rtp_codec: events, payload_type: EVENT_PAYLOAD_TYPE };
    media.register_codec(events, RtpCodecKind::Audio)?;
    Ok((media, codec))
}

/// A local audio track with this SSRC.
#[must_use]
pub fn track(codec: RTCRtpCodec, ssrc: u32) -> MediaStreamTrack {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec,
        ..Default::default()
    };
    let (stream, name) = ("bench".to_owned(), "audio".to_owned());
    MediaStreamTrack::new(stream, name.clone(), name, RtpCodecKind::Audio, vec![encoding])
}

/// The offer, once its candidates are known.
async fn offer(peer: &dyn PeerConnection, events: &Events) -> webrtc::error::Result<String> {
    let offer = peer.create_offer(None).await?;
    peer.set_local_description(offer).await?;
    // A client whose gathering does not end offers what it has.
    drop(tokio::time::timeout(GATHERING_MAX, events.gathered.notified()).await);
    let description = peer.local_description().await;
    Ok(description.map(|description| with_events(&description.sdp)).unwrap_or_default())
}

/// Adds the events for digits, which the `webrtc` crate leaves out of the offer of a track.
fn with_events(offer: &str) -> String {
    let mut text = String::with_capacity(offer.len() + 80);
    for line in offer.lines() {
        text.push_str(line);
        if line.starts_with("m=audio ") {
            text.push_str(&format!(" {EVENT_PAYLOAD_TYPE}"));
        } else if line.starts_with(&format!("a=rtpmap:{PAYLOAD_TYPE} ")) {
            let events = format!("\r\na=rtpmap:{EVENT_PAYLOAD_TYPE} telephone-event/48000");
            text.push_str(&events);
        }
        text.push_str("\r\n");
    }
    text
}

/// Sends a packet every 20 ms once connected.
async fn talk(track: &TrackLocalStaticRTP, events: &Events, sent: &mut u64) {
    use webrtc::media_stream::Track;

    events.connected.notified().await;
    let Some(ssrc) = track.ssrcs().await.first().copied() else { return };
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    let mut header = rtp::Header {
        version: 2,
        payload_type: PAYLOAD_TYPE,
        ssrc,
        sequence_number: rand::random(),
        timestamp: rand::random(),
        ..Default::default()
    };
    for payload in events.shared.said.iter().cycle() {
        clock.tick().await;
        header.sequence_number = header.sequence_number.wrapping_add(1);
        header.timestamp = header.timestamp.wrapping_add(super::SAMPLES);
        let packet = rtp::Packet { header: header.clone(), payload: payload.clone() };
        if track.write_rtp(packet).await.is_err() {
            return;
        }
        *sent += 1;
    }
}

/// A WebSocket with one call on it.
struct Line {
    socket: WebSocketStream<TcpStream>,
    uac: Uac,
    limits: Limits,
    invited: Instant,
}

impl Line {
    async fn open(options: &WebRtcOptions, call_id: String, offer: &str) -> Result<Line, String> {
        let mut request =
            options.url.as_str().into_client_request().map_err(|error| error.to_string())?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let stream = TcpStream::connect(&authority)
            .await
            .map_err(|error| format!("{authority}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let local = stream.local_addr().map_err(|error| error.to_string())?;
        let remote = stream.peer_addr().map_err(|error| error.to_string())?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .map_err(|error| format!("websocket: {error}"))?;
        let settings = settings(&options.number, call_id, local, remote)?;
        let invited = Instant::now();
        let (uac, invite) = Uac::invite(settings, offer.as_bytes(), invited);
        let mut line = Line { socket, uac, limits: Limits::default(), invited };
        line.send(&invite).await?;
        Ok(line)
    }

    /// Waits for the call to be answered.
    async fn answer(&mut self, deadline: tokio::time::Instant) -> Result<String, String> {
        match self.event(deadline).await? {
            Event::Answered(body) => Ok(String::from_utf8_lossy(&body).into_owned()),
            Event::Refused(status) => Err(format!("refused with {status}")),
            other => Err(format!("instead of an answer: {other:?}")),
        }
    }

    /// Stays until the load is stopped, then hangs up; says how the call ended.
    async fn stay(
        &mut self,
        mut stopped: watch::Receiver<bool>,
        deadline: tokio::time::Instant,
    ) -> Result<Event, String> {
        tokio::select! {
            event = self.event(deadline + ENDING_MAX) => return event,
            _ = stopped.wait_for(|&is_stopped| is_stopped) => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        if let Some(bye) = self.uac.bye(Instant::now()) {
            self.send(&bye).await?;
        }
        self.event(tokio::time::Instant::now() + ENDING_MAX).await
    }

    /// Reads until something happens to the call.
    async fn event(&mut self, deadline: tokio::time::Instant) -> Result<Event, String> {
        loop {
            let frame = tokio::time::timeout_at(deadline, self.socket.next())
                .await
                .map_err(|_| "no SIP message in time".to_owned())?
                .ok_or_else(|| "the server closed the websocket".to_owned())?
                .map_err(|error| format!("websocket: {error}"))?;
            let bytes = match frame {
                Frame::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
                Frame::Binary(bytes) => bytes,
                // Pings are answered by the library.
                _ => continue,
            };
            let message = Message::parse(bytes, Framing::WebSocket, &self.limits)
                .map_err(|error| format!("unreadable message: {}", error.reason()))?;
            let Output { transmit, event } = self.uac.handle_message(&message, Instant::now());
            if let Some(bytes) = transmit {
                self.send(&bytes).await?;
            }
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    async fn send(&mut self, bytes: &Bytes) -> Result<(), String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.socket.send(Frame::text(text)).await.map_err(|error| format!("websocket: {error}"))
    }
}

fn settings(
    number: &str,
    call_id: String,
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<Settings, String> {
    // RFC 7118 §5: a browser has no address to name.
    let sent_by = format!("{}.invalid", call_id.replace('.', "-"));
    let contact = Uri::parse(format!("sip:bench@{sent_by};transport=ws").into());
    let target = Uri::parse(format!("sip:{number}@{}", remote.ip()).into());
    Ok(Settings {
        target: target.map_err(|error| error.to_string())?,
        flow: Flow { id: FlowId(0), kind: TransportKind::Ws, local, remote },
        sent_by,
        contact: contact.map_err(|error| error.to_string())?,
        call_id,
    })
}

const PAYLOAD_TYPE: u8 = 111;
const EVENT_PAYLOAD_TYPE: u8 = 110;
const GATHERING_MAX: Duration = Duration::from_secs(3);
const ENDING_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_has_the_events_beside_its_codec() {
        let offer =
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\n";
        let expected = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 110\r\na=rtpmap:111 opus/48000/2\r\n\
                        a=rtpmap:110 telephone-event/48000\r\na=mid:0\r\n";
        assert_eq!(with_events(offer), expected);
    }
}
