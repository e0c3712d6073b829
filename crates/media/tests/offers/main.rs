//! Offers as real clients write them, and what we make of them; then offers that no one writes.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use media::codec::{CODECS, Codec};
use media::sdp::{
    Capabilities, Direction, DtlsRole, DtmfFormat, Fingerprint, HashFunction, LocalDescription,
    LocalIce, Negotiated, NegotiationFault, RemoteMedia, RemoteWebRtc, SDES_PROFILES, Security,
    negotiate, negotiate_answer, offer, offered_codecs, parse,
};
use media::srtp::SdesKey;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

macro_rules! offer_of {
    ($name:literal) => {
        include_str!(concat!($name, ".sdp"))
    };
}

mod keys;
mod ours;

#[test]
fn chromium_gets_opus_over_dtls_srtp() {
    let negotiated = agree(offer_of!("chromium"));
    assert_eq!((negotiated.codec, negotiated.payload_type), (Codec::Opus, 111));
    assert_eq!(negotiated.dtmf, dtmf(110, 48_000));
    let remote = webrtc(&negotiated);
    assert_eq!((remote.ufrag.as_str(), remote.pwd.len()), ("x7Gk", 24));
    assert_eq!((remote.role, remote.is_lite), (DtlsRole::Passive, false));
    let candidates: Vec<_> = remote.candidates.iter().map(|c| c.address.to_string()).collect();
    assert_eq!(candidates, ["198.51.100.7:46154"], "the .local and the TCP one are left out");
    assert_eq!(
        negotiated.answer(&local()),
        lines(&[
            "v=0",
            "o=sidetone 7 3 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.1",
            "t=0 0",
            "a=ice-lite",
            "a=group:BUNDLE 0",
            "m=audio 10000 UDP/TLS/RTP/SAVPF 111 110",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=rtpmap:110 telephone-event/48000",
            "a=fmtp:110 0-15",
            "a=ptime:20",
            "a=sendrecv",
            "a=mid:0",
            "a=rtcp-mux",
            "a=ice-ufrag:ufrag",
            "a=ice-pwd:passwordpasswordpassword",
            "a=candidate:1 1 udp 2130706431 192.0.2.1 10000 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 10000 typ host",
            "a=end-of-candidates",
            &format!("a=fingerprint:{}", Fingerprint::of(HashFunction::Sha256, b"ours")),
            "a=setup:passive",
            "a=msid:sidetone audio",
            "a=ssrc:99 cname:cname",
            "a=ssrc:99 msid:sidetone audio",
        ])
    );
}

#[test]
fn sections_that_are_not_the_audio_are_refused_in_place() {
    let negotiated = agree(offer_of!("chromium_video_data"));
    assert_eq!(negotiated.direction, Direction::SendOnly);
    let answer = negotiated.answer(&local());
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
    assert!(
        answer.contains("m=video 10000 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=inactive\r\n"),
        "{answer}"
    );
    assert!(answer.contains("m=audio 10000 UDP/TLS/RTP/SAVPF 111 110\r\n"), "{answer}");
    assert!(answer.ends_with(
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=inactive\r\n"
    ));
}

#[test]
fn firefox_gets_opus_with_events_at_8000_hz() {
    let negotiated = agree(offer_of!("firefox"));
    assert_eq!((negotiated.codec, negotiated.payload_type), (Codec::Opus, 109));
    assert_eq!(negotiated.dtmf, dtmf(101, 8000));
    let remote = webrtc(&negotiated);
    assert_eq!(remote.fingerprints.len(), 1, "the session's");
    assert_eq!(remote.candidates.len(), 1, "of the component of RTP");
}

#[test]
fn an_offer_without_candidates_and_with_its_role_chosen_is_answered() {
    let negotiated = agree(offer_of!("sipjs_no_candidates"));
    assert_eq!((negotiated.codec, negotiated.direction), (Codec::Pcmu, Direction::Inactive));
    assert!(webrtc(&negotiated).candidates.is_empty());
    let answer = negotiated.answer(&local());
    assert!(answer.contains("m=audio 10000 RTP/SAVPF 0 126\r\n"), "{answer}");
    assert!(answer.contains("a=setup:passive\r\n") && !answer.contains("a=msid"), "{answer}");
}

#[test]
fn a_passive_offerer_makes_us_the_active_one() {
    let offer = offer_of!("chromium").replace("setup:actpass", "setup:passive");
    let negotiated = agree(&offer);
    assert_eq!(webrtc(&negotiated).role, DtlsRole::Active);
    assert!(negotiated.answer(&local()).contains("a=setup:active\r\n"));
}

#[test]
fn rfc8842_5_3_who_goes_on_with_an_association_keeps_its_role() {
    let offer = offer_of!("chromium");
    let passive = agree(&offer.replace("setup:actpass", "setup:passive"));
    let role = |offer: &str| webrtc(&agree(offer).continuing(Some(&passive))).role;
    assert_eq!(role(offer), DtlsRole::Active);
    assert_eq!(role(&offer.replace("setup:actpass", "setup:active")), DtlsRole::Passive);
    let (before, hash) = offer.split_once("a=fingerprint:sha-256 ").unwrap();
    let other = format!("{before}a=fingerprint:sha-256 00{}", &hash[2..]);
    assert_eq!(role(&other), DtlsRole::Passive, "another certificate, another association");
    assert_eq!(webrtc(&agree(offer).continuing(None)).role, DtlsRole::Passive);
}

#[test]
fn rfc9143_7_3_1_the_section_whose_transport_carries_the_bundle_is_not_refused() {
    let (before, audio) = offer_of!("chromium_video_data").split_once("m=audio 9 ").unwrap();
    let (audio, after) = audio.split_once("m=application").unwrap();
    let is_of_transport = |line: &str| {
        let keys = ["a=ice-", "a=fingerprint", "a=setup", "a=candidate", "a=rtcp-mux"];
        keys.iter().any(|key| line.starts_with(key))
    };
    let bare: String = audio
        .lines()
        .filter(|line| !is_of_transport(line))
        .fold(String::new(), |text, line| text + line + "\r\n");
    // As Chromium writes it, and as Firefox does where all is to be bundled.
    let full = offer_of!("chromium_video_data").to_owned();
    let bare = format!("{before}m=audio 0 {bare}a=bundle-only\r\nm=application{after}");
    for offer in [full, bare] {
        let negotiated = agree(&offer);
        assert_eq!(webrtc(&negotiated).ufrag, "EsAw");
        let answer = negotiated.answer(&local());
        let (session, sections) =
            answer.split_once("m=video 10000 UDP/TLS/RTP/SAVPF 96\r\n").unwrap();
        assert!(session.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
        let (video, audio) = sections.split_once("m=audio 10000 ").unwrap();
        for line in ["mid:0", "inactive", "rtpmap:96 VP8/90000", "setup:passive", "rtcp-mux"] {
            assert!(video.contains(&format!("a={line}\r\n")), "{line}: {answer}");
        }
        assert!(video.contains("a=candidate:") && !video.contains("msid"), "{answer}");
        assert!(audio.contains("a=mid:1\r\n") && audio.contains("m=application 0 "), "{answer}");
    }
}

#[test]
fn baresip_gets_opus_over_plain_rtp() {
    let negotiated = agree(offer_of!("baresip"));
    assert_eq!((negotiated.codec, negotiated.payload_type), (Codec::Opus, 96));
    assert_eq!(negotiated.packet_time_ms, Some(20));
    assert_eq!(plain(&negotiated), ("192.0.2.10:17462".into(), "192.0.2.10:17463".into(), false));
    assert_eq!(
        negotiated.answer(&local()),
        lines(&[
            "v=0",
            "o=sidetone 7 3 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.1",
            "t=0 0",
            "m=audio 10000 RTP/AVP 96 101",
            "a=rtpmap:96 opus/48000/2",
            "a=fmtp:96 minptime=10;useinbandfec=1",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            "a=sendrecv",
        ])
    );
}

#[test]
fn linphone_gets_pcmu_and_its_ice_is_declined() {
    let negotiated = agree(offer_of!("linphone"));
    assert_eq!((negotiated.codec, negotiated.dtmf), (Codec::Pcmu, dtmf(100, 8000)));
    let answer = negotiated.answer(&local());
    assert!(answer.contains("m=audio 10000 RTP/AVPF 0 100\r\n"), "{answer}");
    assert!(answer.contains("m=video 0 RTP/AVPF 96\r\n"), "{answer}");
    assert!(!answer.contains("a=ice") && !answer.contains("a=candidate"), "{answer}");
}

#[test]
fn phones_get_their_first_codec_that_is_allowed() {
    for (offer, codec, dtmf) in [
        (offer_of!("sipp"), Codec::Pcmu, None),
        (offer_of!("sipp_ipv6"), Codec::Pcma, None),
        (offer_of!("yealink"), Codec::G722, dtmf(101, 8000)),
    ] {
        let negotiated = agree(offer);
        assert_eq!((negotiated.codec, negotiated.dtmf), (codec, dtmf));
    }
    let only_pcmu = Capabilities { codecs: vec![Codec::Pcmu], ..Capabilities::default() };
    let yealink = parse(offer_of!("yealink").as_bytes()).unwrap();
    assert_eq!(negotiate(&yealink, &only_pcmu).unwrap().codec, Codec::Pcmu);
    assert_eq!(plain(&agree(offer_of!("sipp_ipv6"))).0, "[::1]:6000");
}

#[test]
fn sdes_is_passed_over_for_a_section_that_can_be_done() {
    let offer = offer_of!("grandstream_savp");
    let negotiated = agree(offer);
    assert_eq!(plain(&negotiated).0, "192.0.2.52:5006");
    let answer = negotiated.answer(&local());
    assert!(answer.contains("m=audio 0 RTP/SAVP 0 8 101\r\na=inactive\r\nm=audio 10000 RTP/AVP 8"));
    let sdes_only = offer.split("m=audio 5006").next().unwrap();
    let error = refuse(sdes_only, &Capabilities::default());
    assert_eq!(error.fault, NegotiationFault::SdesNotAllowed);
    assert_eq!(
        error.warning_text(),
        "302 sidetone \"SRTP with keys in the session description (SDES) is not allowed\""
    );
}

#[test]
fn rfc3261_20_43_a_warning_names_the_codecs_offered_and_allowed() {
    let error = refuse(offer_of!("g729_only"), &Capabilities::default());
    assert_eq!(error.fault, NegotiationFault::NoCodec);
    assert_eq!(
        error.warning_text(),
        "305 sidetone \"offered G729/8000, G723/8000; allowed opus/48000/2, G722/8000, \
         PCMU/8000, PCMA/8000\""
    );
    let hostile = lines(&[
        "v=0",
        "c=IN IP4 192.0.2.1",
        "m=audio 5004 RTP/AVP 96",
        "a=rtpmap:96 \"\\\u{1}\u{e9}name-that-is-much-too-long-to-repeat/8000",
    ]);
    let error = refuse(&hostile, &Capabilities::default());
    assert_eq!(error.offered, ["????name-that-is-much-too-long-t"]);
}

#[test]
fn rfc3264_8_4_an_unspecified_address_is_a_hold() {
    let negotiated = agree(offer_of!("hold_2543"));
    assert_eq!(negotiated.direction, Direction::RecvOnly);
    assert!(negotiated.answer(&local()).contains("a=recvonly\r\n"));
}

#[test]
fn rfc3264_6_1_the_direction_is_mirrored_and_narrowed_by_ours() {
    for (offered, ours, answered) in [
        ("sendrecv", Direction::SendRecv, "sendrecv"),
        ("sendonly", Direction::SendRecv, "recvonly"),
        ("recvonly", Direction::SendRecv, "sendonly"),
        ("inactive", Direction::SendRecv, "inactive"),
        ("sendrecv", Direction::SendOnly, "sendonly"),
        ("sendonly", Direction::SendOnly, "inactive"),
    ] {
        let negotiated = agree(&format!("{}a={offered}\r\n", offer_of!("sipp")));
        let answer = negotiated.answer(&LocalDescription { direction: ours, ..local() });
        assert!(answer.ends_with(&format!("a={answered}\r\n")), "{offered} and {ours}: {answer}");
    }
}

#[test]
fn rfc5761_5_1_1_rtcp_mux_is_accepted_on_plain_rtp() {
    let negotiated = agree(&format!("{}a=rtcp-mux\r\n", offer_of!("sipp")));
    assert_eq!(plain(&negotiated), ("127.0.0.1:6000".into(), "127.0.0.1:6000".into(), true));
    let local = LocalDescription { rtcp_port: 20_001, ..local() };
    let answer = negotiated.answer(&local);
    assert!(answer.contains("a=rtcp-mux\r\n") && !answer.contains("a=rtcp:"), "{answer}");
    let answer = agree(offer_of!("sipp")).answer(&local);
    assert!(answer.contains("a=rtcp:20001\r\n") && !answer.contains("a=rtcp-mux"), "{answer}");
}

#[test]
fn events_follow_the_clock_of_the_codec() {
    let offer = offer_of!("chromium").replace("SAVPF 111 63 9 0 8", "SAVPF 0 111 63 9 8");
    let negotiated = agree(&offer);
    assert_eq!((negotiated.codec, negotiated.dtmf), (Codec::Pcmu, dtmf(126, 8000)));
    let strange =
        offer_of!("sipp").replace("AVP 0", "AVP 0 96") + "a=rtpmap:96 telephone-event/16000";
    assert_eq!(agree(&strange).dtmf, None);
}

#[test]
fn what_is_not_allowed_or_missing_is_said() {
    use NegotiationFault as Fault;
    let chromium = offer_of!("chromium");
    let sipp = offer_of!("sipp");
    let without = |line: &str| -> String {
        chromium.lines().filter(|l| !l.starts_with(line)).map(|l| format!("{l}\r\n")).collect()
    };
    let all = Capabilities::default();
    let plain = Capabilities { allow_webrtc: false, ..all.clone() };
    let webrtc = Capabilities { allow_plain: false, ..all.clone() };
    let unknown = Fault::UnknownProfile { profile: "TCP/RTP/AVP".into() };
    for (offer, capabilities, fault, code) in [
        (chromium.to_owned(), &plain, Fault::WebRtcNotAllowed, 302),
        (sipp.to_owned(), &webrtc, Fault::PlainNotAllowed, 302),
        (without("a=ice-ufrag"), &all, Fault::Missing("ice-ufrag"), 399),
        (without("a=ice-pwd"), &all, Fault::Missing("ice-pwd"), 399),
        (without("a=fingerprint"), &all, Fault::Missing("fingerprint"), 399),
        (without("a=rtcp-mux"), &all, Fault::Missing("rtcp-mux"), 399),
        (without("m=audio"), &all, Fault::NoAudio, 304),
        (sipp.replace("audio 6000", "audio 0"), &all, Fault::NoAudio, 304),
        (sipp.replace("c=IN IP4 127.0.0.1\n", ""), &all, Fault::Missing("c="), 399),
        (sipp.replace("c=IN IP4 127.0.0.1", "c=IN IP4 pc.example"), &all, Fault::HostName, 301),
        (
            sipp.replace("c=IN IP4 127.0.0.1", "c=IN IP4 239.1.1.1"),
            &all,
            Fault::NetworkAddress,
            301,
        ),
        (sipp.replace("RTP/AVP", "TCP/RTP/AVP"), &all, unknown, 302),
    ] {
        let error = refuse(&offer, capabilities);
        assert_eq!((&error.fault, error.warning_code()), (&fault, code), "{offer}");
    }
}

#[test]
fn rtc_sdp_reads_our_answers_as_we_do() {
    for offer in OFFERS {
        let Ok(negotiated) = negotiate(&parse(offer.as_bytes()).unwrap(), &Capabilities::default())
        else {
            continue;
        };
        let answer = negotiated.answer(&local());
        let mut reader = std::io::Cursor::new(answer.as_bytes());
        let theirs = rtc::sdp::SessionDescription::unmarshal(&mut reader).unwrap();
        assert_eq!(theirs.marshal(), answer);
        assert_eq!(parse(answer.as_bytes()).unwrap().to_string(), answer);
    }
}

/// How long it takes to read an offer and to agree on it, or to say why not.
#[allow(clippy::disallowed_methods, reason = "the time it takes is what is tested")]
fn time_of(offer: &str) -> Duration {
    let once = || {
        let start = Instant::now();
        let offer = parse(offer.as_bytes()).unwrap();
        let _ = negotiate(&offer, &Capabilities::default()).map_err(|error| error.warning_text());
        let _ = offered_codecs(&offer, &Capabilities::default());
        start.elapsed()
    };
    (0..5).map(|_| once()).min().unwrap()
}

#[test]
fn an_offer_of_many_numbers_and_many_mappings_takes_no_longer_than_another_of_its_length() {
    let offer = |format: &str, mapping: &str| {
        let mappings = format!("a=rtpmap:{mapping} x/8\r\n").repeat(1_900);
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
        format!("{head}m=audio 4000 RTP/AVP{}\r\n{mappings}", format!(" {format}").repeat(7_800))
    };
    let plain = time_of(&offer("0", "0"));
    for (format, mapping) in [("99", "9"), ("99", "99"), ("250", "9"), ("x", "9")] {
        let took = time_of(&offer(format, mapping));
        assert!(took < 6 * plain, "{format} and {mapping}: {took:?}, others {plain:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_offer_is_answered_in_full_or_refused(
        which in 0..OFFERS.len(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        swap in any::<(proptest::sample::Index, proptest::sample::Index)>(),
    ) {
        let mut lines: Vec<&str> = OFFERS[which].lines().collect();
        let (first, second) = (swap.0.index(lines.len()), swap.1.index(lines.len()));
        lines.swap(first, second);
        let mut bytes = lines.join("\r\n").into_bytes();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(offer) = parse(&bytes) {
            check_answer(&offer.to_string())?;
        }
    }

    #[test]
    fn any_sections_are_answered_in_order_or_refused(
        sections in proptest::collection::vec(
            (
                prop_oneof!["audio", "video", "application", "[a-z]{1,6}"],
                prop_oneof!["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "UDP/TLS/RTP/SAVPF", "x/y"],
                proptest::collection::vec(0u8..=130, 1..8),
                proptest::collection::vec(
                    prop_oneof![
                        "rtcp-mux", "mid:[0-9]{0,2}", "ice-ufrag:[a-z]{3,5}", "ice-pwd:[a-z]{21,23}",
                        "rtpmap:(96|0|101) (opus/48000/2|telephone-event/8000|PCMA/8000)",
                        "setup:(active|passive|actpass|holdconn)", "(sendonly|recvonly|inactive)",
                        "rtcp:[0-9]{0,6}( IN IP4 127[.]0[.]0[.]1)?", "crypto:1 AES", "ptime:[0-9.]{0,4}",
                        Just(format!("fingerprint:{}", Fingerprint::of(HashFunction::Sha1, b""))),
                    ],
                    0..10,
                ),
            ),
            0..6,
        ),
    ) {
        let mut text = String::from("v=0\r\nc=IN IP4 192.0.2.9\r\na=group:BUNDLE 0 1 2\r\n");
        for (media, proto, formats, attributes) in sections {
            let formats: Vec<String> = formats.iter().map(u8::to_string).collect();
            text += &format!("m={media} 4000 {proto} {}\r\n", formats.join(" "));
            attributes.iter().for_each(|attribute| text += &format!("a={attribute}\r\n"));
        }
        check_answer(&text)?;
    }
}

/// If `offer` is accepted, the answer has its sections, one of them alive, with a codec and payload
/// types of the offer.
fn check_answer(offer: &str) -> Result<(), TestCaseError> {
    let Ok(negotiated) = negotiate(&parse(offer.as_bytes()).unwrap(), &Capabilities::default())
    else {
        return Ok(());
    };
    let answer = negotiated.answer(&local());
    prop_assert_eq!(parse(answer.as_bytes()).unwrap().to_string(), answer.clone());
    let media_lines = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("m="));
        lines.map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    };
    let (offered, answered) = (media_lines(offer), media_lines(&answer));
    prop_assert_eq!(offered.len(), answered.len());
    let alive = answered.iter().filter(|line| line[1] != "0").count();
    let is_carried = alive == 2 && answer.contains("a=group:BUNDLE");
    prop_assert!(alive == 1 || is_carried, "{}", answer);
    let wanted = negotiated.payload_type.to_string();
    let has_it = |line: &Vec<String>| line[1] != "0" && line[3] == wanted;
    prop_assert!(answered.iter().any(has_it), "{}", answer);
    for (offered, answered) in offered.iter().zip(&answered) {
        // Media types and protocols are not case sensitive to us, and are written as they are known.
        prop_assert!(
            offered[0].eq_ignore_ascii_case(&answered[0]),
            "{} {}",
            offered[0],
            answered[0]
        );
        prop_assert!(
            offered[2].eq_ignore_ascii_case(&answered[2]),
            "{} {}",
            offered[2],
            answered[2]
        );
        prop_assert!(answered[3..].iter().all(|format| offered[3..].contains(format)));
    }
    Ok(())
}

const OFFERS: [&str; 12] = [
    offer_of!("chromium"),
    offer_of!("chromium_video_data"),
    offer_of!("firefox"),
    offer_of!("sipjs_no_candidates"),
    offer_of!("baresip"),
    offer_of!("linphone"),
    offer_of!("sipp"),
    offer_of!("sipp_ipv6"),
    offer_of!("yealink"),
    offer_of!("grandstream_savp"),
    offer_of!("g729_only"),
    offer_of!("hold_2543"),
];

fn agree(offer: &str) -> Negotiated {
    negotiate(&parse(offer.as_bytes()).unwrap(), &Capabilities::default()).unwrap()
}

fn refuse(offer: &str, capabilities: &Capabilities) -> media::sdp::NegotiationError {
    negotiate(&parse(offer.as_bytes()).unwrap(), capabilities).unwrap_err()
}

fn webrtc(negotiated: &Negotiated) -> &RemoteWebRtc {
    let RemoteMedia::WebRtc(remote) = &negotiated.remote else { panic!("not WebRTC") };
    remote
}

fn plain(negotiated: &Negotiated) -> (String, String, bool) {
    let RemoteMedia::Plain { rtp, rtcp, rtcp_mux } = &negotiated.remote else {
        panic!("not plain")
    };
    (rtp.to_string(), rtcp.to_string(), *rtcp_mux)
}

fn dtmf(payload_type: u8, clock_rate_hz: u32) -> Option<DtmfFormat> {
    Some(DtmfFormat { payload_type, clock_rate_hz })
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

fn local() -> LocalDescription {
    let mut random = StdRng::seed_from_u64(1);
    LocalDescription {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        rtp_port: 10_000,
        rtcp_port: 10_001,
        ice: Some(LocalIce {
            ufrag: "ufrag".into(),
            pwd: "passwordpasswordpassword".into(),
            candidates: vec![
                "192.0.2.1:10000".parse().unwrap(),
                "[2001:db8::1]:10000".parse().unwrap(),
            ],
        }),
        fingerprint: Some(Fingerprint::of(HashFunction::Sha256, b"ours")),
        ssrc: 99,
        cname: "cname".into(),
        session_id: 7,
        session_version: 3,
        direction: Direction::SendRecv,
        sdes: SDES_PROFILES.map(|profile| SdesKey::random(profile, &mut random)).into(),
        opus_rate_hz_max: None,
    }
}

/// A leg of plain RTP.
fn phone() -> LocalDescription {
    LocalDescription { ice: None, fingerprint: None, ..local() }
}
