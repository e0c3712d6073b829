//! Offers of ours, within a session and before, and what peers make of them.

use super::*;

#[test]
fn our_plain_offer_is_answered() {
    let capabilities = Capabilities::default();
    let local = LocalDescription { ice: None, fingerprint: None, ..local() };
    let offered = offer(&local, &capabilities);
    assert!(offered.contains("m=audio 10000 RTP/AVP 111 9 0 8 110 101\r\n"), "{offered}");
    let answered = agree(&offered);
    assert_eq!((answered.codec, answered.dtmf), (Codec::Opus, dtmf(110, 48_000)));
    let answer = parse(answered.answer(&local).as_bytes()).unwrap();
    assert_eq!(negotiate_answer(&answer, &capabilities).unwrap().codec, Codec::Opus);
    let refused = parse(offered.replace("audio 10000", "audio 0").as_bytes()).unwrap();
    let error = negotiate_answer(&refused, &capabilities).unwrap_err();
    assert_eq!(error.fault, NegotiationFault::NoAudio);
}

#[test]
fn our_webrtc_offer_is_answered_by_either_role() {
    let capabilities = Capabilities::default();
    let offered = offer(&local(), &capabilities);
    assert!(offered.contains("a=setup:actpass\r\n") && offered.contains("a=ice-lite\r\n"));
    let answered = agree(&offered);
    assert!(webrtc(&answered).is_lite);
    let answer = answered.answer(&local()).replace("setup:passive", "setup:active");
    let agreed = negotiate_answer(&parse(answer.as_bytes()).unwrap(), &capabilities).unwrap();
    assert_eq!(webrtc(&agreed).role, DtlsRole::Passive);
}

#[test]
fn a_browser_is_offered_all_that_it_needs_in_one_section() {
    assert_eq!(
        offer(&local(), &Capabilities::default()),
        lines(&[
            "v=0",
            "o=sidetone 7 3 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.1",
            "t=0 0",
            "a=ice-lite",
            "a=group:BUNDLE 0",
            "m=audio 10000 UDP/TLS/RTP/SAVPF 111 9 0 8 110 101",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=rtpmap:9 G722/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:110 telephone-event/48000",
            "a=fmtp:110 0-15",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
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
            "a=setup:actpass",
            "a=msid:sidetone audio",
            "a=ssrc:99 cname:cname",
            "a=ssrc:99 msid:sidetone audio",
        ])
    );
}

#[test]
fn the_codec_of_the_other_leg_wins_over_any_order() {
    let preferring = |codec| Capabilities { preferred: Some(codec), ..Capabilities::default() };
    let chromium = parse(offer_of!("chromium").as_bytes()).unwrap();
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus] {
        assert_eq!(negotiate(&chromium, &preferring(codec)).unwrap().codec, codec);
        let offered = offer(&phone(), &preferring(codec));
        assert_eq!(agree(&offered).codec, codec, "it is offered first: {offered}");
    }
    let sipp = parse(offer_of!("sipp").as_bytes()).unwrap();
    assert_eq!(negotiate(&sipp, &preferring(Codec::Opus)).unwrap().codec, Codec::Pcmu);
    let forbidden = Capabilities { codecs: vec![Codec::Pcmu], ..preferring(Codec::Opus) };
    assert_eq!(negotiate(&chromium, &forbidden).unwrap().codec, Codec::Pcmu);
    assert!(offer(&phone(), &forbidden).contains("m=audio 10000 RTP/AVP 0 101\r\n"));
}

#[test]
fn what_a_caller_offers_is_known_in_its_order() {
    let offered = |offer: &str, capabilities: &Capabilities| {
        offered_codecs(&parse(offer.as_bytes()).unwrap(), capabilities)
    };
    let all = Capabilities::default();
    assert_eq!(
        offered(offer_of!("chromium"), &all),
        [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma]
    );
    assert_eq!(offered(offer_of!("yealink"), &all), [Codec::G722, Codec::Pcma, Codec::Pcmu]);
    let narrow = Capabilities { codecs: vec![Codec::Pcmu], ..all.clone() };
    assert_eq!(offered(offer_of!("yealink"), &narrow), [Codec::Pcmu]);
    assert_eq!(offered("v=0\r\n", &all), []);
}

#[test]
fn rfc3264_6_1_an_answer_with_other_payload_types_is_heeded_each_way() {
    let answer = lines(&[
        "v=0",
        "c=IN IP4 192.0.2.9",
        "m=audio 4000 RTP/AVP 96 97 100",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 telephone-event/48000",
        "a=rtpmap:100 telephone-event/8000",
    ]);
    let answer = parse(answer.as_bytes()).unwrap();
    let agreed = negotiate_answer(&answer, &Capabilities::default()).unwrap();
    assert_eq!((agreed.payload_type, agreed.local_payload_type), (96, 111));
    assert_eq!((agreed.dtmf, agreed.local_dtmf), (dtmf(97, 48_000), dtmf(110, 48_000)));
    assert_eq!(agreed.local_dtmf_other, dtmf(101, 8000), "either may be sent");
    let again = agreed.offer(&phone(), &Capabilities::default());
    assert!(again.contains("m=audio 10000 RTP/AVP 111 9 0 8 110 101\r\n"), "{again}");
}

#[test]
fn an_answer_may_take_a_part_of_what_was_offered() {
    let answer = lines(&["v=0", "c=IN IP4 192.0.2.9", "m=audio 4000 RTP/AVP 8"]);
    let answer = parse(answer.as_bytes()).unwrap();
    let agreed = negotiate_answer(&answer, &Capabilities::default()).unwrap();
    assert_eq!((agreed.codec, agreed.dtmf, agreed.local_dtmf), (Codec::Pcma, None, None));
    let only_opus = Capabilities { codecs: vec![Codec::Opus], ..Capabilities::default() };
    let error = negotiate_answer(&answer, &only_opus).unwrap_err();
    assert_eq!(error.fault, NegotiationFault::NoCodec);
}

#[test]
fn rfc3264_8_an_offer_within_a_session_keeps_its_sections_and_numbers() {
    let agreed = agree(offer_of!("chromium_video_data"));
    let only_opus = Capabilities { codecs: vec![Codec::Opus], ..Capabilities::default() };
    let again = agreed.offer(&local(), &only_opus);
    assert!(again.contains("a=group:BUNDLE 0 1\r\n"), "{again}");
    assert!(
        again.contains("m=video 10000 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=inactive\r\n"),
        "{again}"
    );
    assert!(again.contains("m=audio 10000 UDP/TLS/RTP/SAVPF 111 110\r\n"), "{again}");
    assert!(again.contains("a=mid:1\r\n") && again.contains("a=setup:actpass\r\n"), "{again}");
    let answer = agree(&again).answer(&local());
    let answer = parse(answer.as_bytes()).unwrap();
    let agreed_again = agreed.negotiate_answer(&answer, &only_opus).unwrap();
    assert_eq!((agreed_again.codec, agreed_again.payload_type), (Codec::Opus, 111));
    let sections = |text: &str| text.matches("m=").count();
    assert_eq!(sections(&agreed_again.offer(&local(), &only_opus)), sections(&again));
}

#[test]
fn rfc3264_8_3_2_a_payload_type_keeps_its_meaning_within_a_session() {
    // The peer's 111 is DTMF, its 101 is Opus: ours must not be mistaken for them.
    let offered = lines(&[
        "v=0",
        "c=IN IP4 192.0.2.9",
        "m=audio 4000 RTP/AVP 0 111",
        "a=rtpmap:111 telephone-event/8000",
    ]);
    let again = agree(&offered).offer(&phone(), &Capabilities::default());
    assert!(again.contains("a=rtpmap:111 telephone-event/8000\r\n"), "{again}");
    assert!(again.contains("a=rtpmap:96 opus/48000/2\r\n"), "{again}");
}

#[test]
fn a_leg_may_do_without_events() {
    let tones = Capabilities { telephone_events: false, ..Capabilities::default() };
    assert!(!offer(&phone(), &tones).contains("telephone-event"));
    let agreed = negotiate(&parse(offer_of!("baresip").as_bytes()).unwrap(), &tones).unwrap();
    assert_eq!((agreed.dtmf, agreed.local_dtmf), (None, None));
    assert!(!agreed.answer(&phone()).contains("telephone-event"));
}

#[test]
fn hold_is_offered_and_resumed() {
    let agreed = agree(offer_of!("sipp"));
    let hold = LocalDescription { direction: Direction::SendOnly, ..phone() };
    let all = Capabilities::default();
    let offered = agreed.offer(&hold, &all);
    assert!(offered.contains("a=sendonly\r\n"), "{offered}");
    let answer = parse(agree(&offered).answer(&phone()).as_bytes()).unwrap();
    let held = agreed.negotiate_answer(&answer, &all).unwrap();
    assert_eq!(held.direction, Direction::SendOnly);
    let answer = parse(agree(&held.offer(&phone(), &all)).answer(&phone()).as_bytes()).unwrap();
    assert_eq!(held.negotiate_answer(&answer, &all).unwrap().direction, Direction::SendRecv);
}

#[test]
fn rfc3389_4_comfort_noise_is_taken_where_it_is_offered_with_a_codec_of_its_clock() {
    let with =
        |formats: &str| offer_of!("sipp").replace("RTP/AVP 0", &format!("RTP/AVP {formats}"));
    let agreed = agree(&with("0 13"));
    assert!(agreed.comfort_noise);
    assert!(agreed.answer(&local()).contains("m=audio 10000 RTP/AVP 0 13\r\n"));
    assert!(!agree(&with("0")).comfort_noise);
    let opus = with("96 13") + "a=rtpmap:96 opus/48000/2\r\n";
    assert!(!agree(&opus).comfort_noise);
}

#[test]
fn rfc7587_6_1_what_a_peer_wants_of_opus_is_known_and_said() {
    let chromium = agree(offer_of!("chromium"));
    assert!(chromium.opus.inband_fec && !chromium.opus.stereo);
    assert_eq!(chromium.opus.playback_rate_hz_max, 48_000);
    let local = LocalDescription { opus_rate_hz_max: Some(8000), ..local() };
    let answer = chromium.answer(&local);
    let fmtp = "a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=8000\r\n";
    assert!(answer.contains(fmtp), "{answer}");
    assert_eq!(agree(&offer(&local, &Capabilities::default())).opus.playback_rate_hz_max, 8000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_of_us_agree_whatever_each_may_do(
        (ours, theirs) in (codecs(), codecs()),
        preferred in (proptest::option::of(0..4usize), proptest::option::of(0..4usize)),
        security in (0..3usize, 0..3usize),
        direction in 0..4usize,
        is_webrtc in any::<bool>(),
    ) {
        let capabilities = |codecs: &[Codec], preferred: Option<usize>, security: usize| Capabilities {
            codecs: codecs.to_vec(),
            preferred: preferred.map(|at| CODECS[at]),
            security: [Security::None, Security::Optional, Security::Required][security],
            is_confidential: true,
            ..Capabilities::default()
        };
        let ours = capabilities(&ours, preferred.0, security.0);
        let theirs = capabilities(&theirs, preferred.1, security.1);
        let base = if is_webrtc { local() } else { phone() };
        let direction = DIRECTIONS[direction];
        let offered = offer(&LocalDescription { direction, ..base.clone() }, &ours);
        let offered = parse(offered.as_bytes()).unwrap();
        let answered = match negotiate(&offered, &theirs) {
            Ok(answered) => answered,
            Err(error) => {
                let shared = ours.codecs.iter().any(|codec| theirs.codecs.contains(codec));
                let differ = !is_webrtc && security.0.abs_diff(security.1) == 2;
                prop_assert!(!shared || differ, "{}", error);
                return Ok(());
            }
        };
        let answer = parse(answered.answer(&base).as_bytes()).unwrap();
        let agreed = negotiate_answer(&answer, &ours).unwrap();
        prop_assert_eq!(agreed.codec, answered.codec);
        prop_assert_eq!(agreed.payload_type, answered.local_payload_type);
        prop_assert_eq!(agreed.local_payload_type, answered.payload_type);
        prop_assert_eq!(agreed.local_dtmf, answered.dtmf);
        prop_assert_eq!(agreed.direction, answered.direction.reversed());
        prop_assert_eq!(agreed.crypto.is_some(), answered.crypto.is_some());
        prop_assert_eq!(agreed.crypto.is_some(), !is_webrtc && security.0 > 0 && security.1 > 0);
        // Once more from the other side, within the session.
        let again = parse(answered.offer(&base, &theirs).as_bytes()).unwrap();
        let answered_again = negotiate(&again, &ours).unwrap();
        let answer = parse(answered_again.answer(&base).as_bytes()).unwrap();
        let agreed_again = answered.negotiate_answer(&answer, &theirs).unwrap();
        prop_assert_eq!(agreed_again.crypto.is_some(), agreed.crypto.is_some());
        prop_assert_eq!(agreed_again.codec, answered_again.codec);
    }
}

fn codecs() -> impl Strategy<Value = Vec<Codec>> {
    proptest::sample::subsequence(CODECS.to_vec(), 1..=CODECS.len()).prop_shuffle()
}

const DIRECTIONS: [Direction; 4] =
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
