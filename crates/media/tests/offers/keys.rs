//! SRTP keys in session descriptions (RFC 4568), offered and answered.

use super::*;

const KEY: &str = "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

fn with(security: Security) -> Capabilities {
    Capabilities { security, is_confidential: true, ..Capabilities::default() }
}

fn savp(crypto: &[&str]) -> String {
    let crypto: String = crypto.iter().map(|value| format!("a=crypto:{value}\r\n")).collect();
    let offer = offer_of!("sipp").replace("RTP/AVP", "RTP/SAVP") + &crypto;
    offer.replace("KEY", KEY)
}

fn accept(offer: &str, capabilities: &Capabilities) -> Negotiated {
    negotiate(&parse(offer.as_bytes()).unwrap(), capabilities).unwrap()
}

#[test]
fn rfc4568_5_1_2_the_first_usable_key_is_answered_with_ours_of_the_same_suite() {
    let offer = savp(&[
        "1 F8_128_HMAC_SHA1_80 inline:KEY",
        "2 AES_CM_128_HMAC_SHA1_32 inline:KEY|2^20|1:4",
        "3 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^31",
        "4 AES_CM_128_HMAC_SHA1_32 inline:KEY",
    ]);
    for security in [Security::Optional, Security::Required] {
        let agreed = accept(&offer, &with(security));
        let crypto = agreed.crypto.clone().unwrap();
        assert_eq!((crypto.tag, crypto.key.to_base64().as_str()), (3, KEY));
        let answer = agreed.answer(&local());
        let own = local().sdes.into_iter().find(|key| key.profile() == crypto.key.profile());
        let own = own.unwrap().to_base64();
        assert!(answer.contains("m=audio 10000 RTP/SAVP 0\r\n"), "{answer}");
        let line = format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{own}\r\n");
        assert!(answer.contains(&line) && answer.matches("a=crypto").count() == 1, "{answer}");
        assert!(!answer.contains(KEY), "the peer's own key comes back: {answer}");
    }
}

#[test]
fn a_phone_that_offers_keys_beside_rtp_in_the_clear_gets_srtp() {
    let yealink = offer_of!("yealink");
    let agreed = accept(yealink, &with(Security::Optional));
    assert_eq!(agreed.crypto.as_ref().map(|crypto| crypto.tag), Some(1));
    let answer = agreed.answer(&local());
    assert!(answer.contains(" RTP/AVP ") && answer.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"));
    assert!(accept(yealink, &Capabilities::default()).crypto.is_none());
    let clear = Capabilities { is_confidential: false, ..with(Security::Optional) };
    let answer = accept(yealink, &clear).answer(&local());
    assert!(!answer.contains("a=crypto"), "{answer}");
}

#[test]
fn rfc4568_8_1_keys_that_others_can_read_are_refused() {
    use NegotiationFault as Fault;
    let offer = savp(&["1 AES_CM_128_HMAC_SHA1_80 inline:KEY"]);
    let clear = |security| Capabilities { is_confidential: false, ..with(security) };
    for (offer, capabilities, fault) in [
        (&offer, clear(Security::Optional), Fault::SdesInClear),
        (&offer, clear(Security::Required), Fault::SdesInClear),
        (&offer, with(Security::None), Fault::SdesNotAllowed),
        (&savp(&["1 NULL inline:KEY"]), with(Security::Optional), Fault::NoCryptoSuite),
        (&savp(&[]), with(Security::Optional), Fault::Missing("fingerprint or crypto")),
        (&offer_of!("sipp").to_owned(), with(Security::Required), Fault::PlainNotAllowed),
        (&offer_of!("yealink").to_owned(), clear(Security::Required), Fault::PlainNotAllowed),
    ] {
        let error = refuse(offer, &capabilities);
        assert_eq!(error.fault, fault, "{offer}");
        assert!(!error.warning_text().contains(KEY));
    }
}

#[test]
fn rfc4568_5_1_1_keys_are_offered_as_the_leg_may() {
    let lines_of = |security, is_confidential| {
        let offered = offer(&phone(), &Capabilities { is_confidential, ..with(security) });
        (offered.contains(" RTP/SAVP "), offered.matches("a=crypto:").count())
    };
    assert_eq!(lines_of(Security::None, true), (false, 0));
    assert_eq!(lines_of(Security::Optional, true), (false, 3));
    assert_eq!(lines_of(Security::Required, true), (true, 3));
    assert_eq!(lines_of(Security::Optional, false), (false, 0));
}

#[test]
fn rfc4568_5_1_3_an_answer_takes_one_of_our_keys_or_none() {
    let capabilities = with(Security::Optional);
    let answer = |proto: &str, crypto: &str| {
        let crypto = crypto.replace("KEY", KEY);
        let text = offer_of!("sipp").replace("RTP/AVP", proto) + &crypto;
        negotiate_answer(&parse(text.as_bytes()).unwrap(), &capabilities)
    };
    let taken = answer("RTP/AVP", "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:KEY\r\n").unwrap();
    assert_eq!(taken.crypto.map(|crypto| crypto.tag), Some(2));
    assert!(answer("RTP/AVP", "").unwrap().crypto.is_none());
    // A suite that the tag did not stand for.
    let wrong = answer("RTP/SAVP", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY\r\n");
    assert_eq!(wrong.unwrap_err().fault, NegotiationFault::NoCryptoSuite);
    // Nor is it taken for the clear: who names a key sends with it.
    let wrong = answer("RTP/AVP", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY\r\n");
    assert_eq!(wrong.unwrap_err().fault, NegotiationFault::NoCryptoSuite);
    let required = parse(offer_of!("sipp").as_bytes()).unwrap();
    let error = negotiate_answer(&required, &with(Security::Required)).unwrap_err();
    assert_eq!(error.fault, NegotiationFault::PlainNotAllowed);
}

#[test]
fn rfc4568_7_1_4_an_offer_within_a_session_offers_the_key_in_use() {
    let agreed = accept(
        &savp(&["5 AEAD_AES_128_GCM inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpXw=="]),
        &with(Security::Optional),
    );
    let again = agreed.offer(&phone(), &with(Security::Optional));
    assert!(again.contains("a=crypto:1 AEAD_AES_128_GCM inline:"), "{again}");
    assert_eq!(again.matches("a=crypto").count(), 1);
}

#[test]
fn rfc4028_7_4_a_key_goes_on_when_our_answer_is_repeated_as_an_offer() {
    let capabilities = with(Security::Optional);
    for proto in ["RTP/AVP", "RTP/SAVP"] {
        let line = "1 AES_CM_128_HMAC_SHA1_80 inline:KEY";
        let session = accept(&savp(&[line]).replace("RTP/SAVP", proto), &capabilities);
        assert!(session.answer(&local()).contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 "));
        let answer = savp(&[line]).replace("RTP/SAVP", proto);
        let agreed = session.negotiate_answer(&parse(answer.as_bytes()).unwrap(), &capabilities);
        assert_eq!(agreed.unwrap().crypto, session.crypto, "{proto}");
        // Another tag of that suite was never offered.
        let other = answer.replace("crypto:1", "crypto:7");
        let error = session.negotiate_answer(&parse(other.as_bytes()).unwrap(), &capabilities);
        assert_eq!(error.unwrap_err().fault, NegotiationFault::NoCryptoSuite, "{proto}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_keys_are_passed_over_or_read(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), " -~"), 0..4),
        proto in prop_oneof!["RTP/AVP", "RTP/SAVP", "RTP/SAVPF"],
    ) {
        let offer = savp(&["1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20 WSH=64"]);
        let mut bytes = offer.replace("RTP/SAVP", &proto).into_bytes();
        let from = bytes.len() - 90;
        for (index, byte) in damage {
            let at = from + index.index(90);
            bytes[at] = byte.as_bytes()[0];
        }
        if let Ok(offer) = parse(&bytes)
            && let Ok(agreed) = negotiate(&offer, &with(Security::Optional))
        {
            let answer = agreed.answer(&local());
            prop_assert_eq!(answer.contains("a=crypto:"), agreed.crypto.is_some());
            prop_assert!(parse(answer.as_bytes()).is_ok());
        }
    }
}
