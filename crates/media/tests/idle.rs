//! A plane without calls costs nothing: alone in its process, since it reads the process's threads.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use media::{
    codec::Codec,
    net::{MediaConfig, MediaPlane},
    prompt::Track,
    sdp::{self, Capabilities},
    shard::{Command, LegEvent, LegParameters, PlayToken, Repeat},
};

#[test]
fn an_idle_plane_takes_no_time_before_and_after_its_calls() {
    let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let config = MediaConfig { shards: 2, addresses, webrtc_port: 0, ..MediaConfig::default() };
    let plane = MediaPlane::start(config).unwrap();
    assert_idle();
    for shard in [0, 1, 0, 1] {
        call(&plane, shard);
    }
    std::thread::park_timeout(Duration::from_millis(400));
    assert_idle();
    plane.shutdown();
}

/// Plays a little to a peer on loopback and closes.
fn call(plane: &MediaPlane, shard: u16) {
    let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n"
    );
    let offer = sdp::parse(offer.as_bytes()).unwrap();
    let negotiated = sdp::negotiate(&offer, &Capabilities::default()).unwrap();
    let mut parameters = LegParameters::answering(negotiated);
    parameters.signalling_remote = Some(Ipv4Addr::LOCALHOST.into());
    parameters.shard = Some(shard);
    // A deadline that passes when the leg is gone.
    parameters.quiet_after = Duration::from_millis(300);
    let mut leg = plane.open(parameters).unwrap();
    let frames = vec![Bytes::from_static(&[0; 160]); 5].into();
    let track = Arc::new(Track { codec: Codec::Pcmu, frames });
    leg.command(Command::Play { track, repeat: Repeat::Once, token: PlayToken(1) }).unwrap();
    while !matches!(leg.events.blocking_recv(), Some(LegEvent::PlayDone { .. })) {}
    leg.command(Command::Close).unwrap();
    while !matches!(leg.events.blocking_recv(), Some(LegEvent::Closed(_)) | None) {}
}

fn assert_idle() {
    let before = thread_ticks();
    std::thread::park_timeout(Duration::from_millis(500));
    let ticks = thread_ticks() - before;
    assert!(ticks <= 1, "{ticks} clock ticks");
}

/// Clock ticks of CPU that all threads of this process named `media-` have used.
fn thread_ticks() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let ticks = |stat: String| -> Option<u64> {
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let is_media = head.contains("(media-");
        is_media.then(|| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
    };
    stats.filter_map(ticks).sum()
}
