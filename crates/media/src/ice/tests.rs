//! Checks as a full agent sends them, made with `rtc::stun`.

use rand::{SeedableRng, rngs::StdRng};
use rtc::{
    crypto::{RTCCryptoProvider, providers::RingProvider},
    stun::{
        attributes::{ATTR_USERNAME, AttrType},
        error_code::{CODE_ROLE_CONFLICT, ErrorCodeAttribute},
        fingerprint::FINGERPRINT,
        integrity::MessageIntegrity,
        message::{
            BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter, TransactionId,
        },
        textattrs::TextAttribute,
    },
};

use super::*;

/// A Binding request as a full agent writes it.
pub(crate) fn check(
    username: &str,
    password: &str,
    priority: u32,
    attributes: &[(u16, &[u8])],
) -> Vec<u8> {
    let provider = RingProvider::new();
    let mut message = Message::new();
    message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId([7; 12]))]).unwrap();
    TextAttribute::new(ATTR_USERNAME, username.into()).add_to(&mut message).unwrap();
    message.add(AttrType(0x0024), &priority.to_be_bytes());
    for (kind, value) in attributes {
        message.add(AttrType(*kind), value);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(password.into(), provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

const USE_CANDIDATE: (u16, &[u8]) = (0x0025, &[]);
const ICE_CONTROLLED: (u16, &[u8]) = (0x8029, &[1, 2, 3, 4, 5, 6, 7, 8]);

struct Fixture {
    ice: IceLite,
    local: IceCredentials,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let local = IceCredentials::random(&mut StdRng::seed_from_u64(1));
        let ice = IceLite::new(local.clone(), Some("them".into()));
        Self { ice, local, now: Instant::now() }
    }

    fn send(&mut self, port: u16, priority: u32, attributes: &[(u16, &[u8])]) -> Checked {
        let username = format!("{}:them", self.local.ufrag);
        let bytes = check(&username, &self.local.pwd, priority, attributes);
        self.now += Duration::from_millis(50);
        let request = Request::parse(&bytes).unwrap();
        self.ice.handle_check(&request, address(port), 0, self.now)
    }

    fn selected(&self) -> Option<u16> {
        self.ice.selected().map(|selected| selected.address.port())
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn kind(checked: &Checked) -> Option<Message> {
    let mut message = Message::new();
    message.write(checked.response.as_ref()?).ok()?;
    Some(message)
}

#[test]
fn credentials_are_random_and_long_enough() {
    let mut random = StdRng::seed_from_u64(1);
    let (a, b) = (IceCredentials::random(&mut random), IceCredentials::random(&mut random));
    assert_ne!(a, b);
    assert_eq!((a.ufrag.len(), a.pwd.len()), (8, 24));
    assert!(!format!("{a:?}").contains(&a.pwd));
}

#[test]
fn a_check_is_answered_and_validates_its_address() {
    let mut fixture = Fixture::new();
    let checked = fixture.send(1, 100, &[]);
    assert_eq!(checked.result, StunResult::Success);
    assert!(checked.is_new && checked.selection_changed);
    assert_eq!(kind(&checked).unwrap().typ, BINDING_SUCCESS);
    assert!(!fixture.send(1, 100, &[]).is_new);
    assert_eq!(fixture.selected(), Some(1));
}

#[test]
fn a_check_with_another_user_or_password_is_dropped() {
    let mut fixture = Fixture::new();
    let (ufrag, pwd) = (fixture.local.ufrag.clone(), fixture.local.pwd.clone());
    for (username, password, result) in [
        (format!("{ufrag}:stranger"), pwd.clone(), StunResult::UnknownUser),
        (format!("{ufrag}x:them"), pwd, StunResult::UnknownUser),
        (format!("{ufrag}:them"), "wrong".into(), StunResult::Integrity),
    ] {
        let bytes = check(&username, &password, 1, &[]);
        let request = Request::parse(&bytes).unwrap();
        let checked = fixture.ice.handle_check(&request, address(1), 0, fixture.now);
        assert_eq!(checked.result, result);
        assert!(checked.response.is_none());
    }
    assert!(fixture.ice.addresses().is_empty());
}

#[test]
fn before_the_answer_any_remote_user_name_is_accepted() {
    let local = IceCredentials { ufrag: "us".into(), pwd: "password".into() };
    let mut ice = IceLite::new(local, None);
    let bytes = check("us:anyone", "password", 1, &[]);
    let request = Request::parse(&bytes).unwrap();
    let checked = ice.handle_check(&request, address(1), 0, Instant::now());
    assert_eq!(checked.result, StunResult::Success);
}

#[test]
fn rfc8445_7_3_1_1_a_controlled_peer_gets_487_from_a_lite_agent() {
    let mut fixture = Fixture::new();
    let checked = fixture.send(1, 100, &[ICE_CONTROLLED]);
    assert_eq!(checked.result, StunResult::RoleConflict);
    let message = kind(&checked).unwrap();
    assert_eq!(message.typ, BINDING_ERROR);
    let mut code = ErrorCodeAttribute::default();
    code.get_from(&message).unwrap();
    assert!(code.code == CODE_ROLE_CONFLICT);
    assert!(fixture.ice.addresses().is_empty());
}

#[test]
fn rfc8445_8_1_1_of_nominated_addresses_the_one_of_highest_priority_is_selected() {
    let mut fixture = Fixture::new();
    fixture.send(1, 100, &[USE_CANDIDATE]);
    fixture.send(2, 200, &[USE_CANDIDATE]);
    assert_eq!(fixture.selected(), Some(2));
    // An agent that nominates every pair does not make us flap.
    for _ in 0..4 {
        fixture.send(1, 100, &[USE_CANDIDATE]);
        fixture.send(2, 200, &[USE_CANDIDATE]);
        assert_eq!(fixture.selected(), Some(2));
    }
}

#[test]
fn a_nomination_of_a_lower_pair_is_followed_when_the_higher_one_falls_silent() {
    let mut fixture = Fixture::new();
    fixture.send(2, 200, &[USE_CANDIDATE]);
    fixture.send(1, 100, &[USE_CANDIDATE]);
    fixture.send(1, 100, &[USE_CANDIDATE]);
    assert_eq!(fixture.selected(), Some(1));
}

#[test]
fn a_pair_checked_without_nomination_gives_way_to_a_nominated_one() {
    let mut fixture = Fixture::new();
    fixture.send(2, 200, &[USE_CANDIDATE]);
    fixture.send(1, 100, &[USE_CANDIDATE]);
    assert_eq!(fixture.selected(), Some(2));
    fixture.send(2, 200, &[]);
    assert_eq!(fixture.selected(), Some(1));
}

#[test]
fn media_from_a_validated_address_is_followed_and_from_another_is_not() {
    let mut fixture = Fixture::new();
    fixture.send(1, 100, &[USE_CANDIDATE]);
    fixture.send(2, 50, &[]);
    assert!(!fixture.ice.follow_media(address(3)));
    assert!(fixture.ice.follow_media(address(2)));
    assert_eq!(fixture.selected(), Some(2));
}

#[test]
fn addresses_are_bounded_and_the_selected_one_stays() {
    let mut fixture = Fixture::new();
    fixture.send(1, 100, &[USE_CANDIDATE]);
    for port in 2..50 {
        let checked = fixture.send(port, 1, &[]);
        assert!(fixture.ice.addresses().len() <= ADDRESSES_MAX);
        let expected = (port > ADDRESSES_MAX as u16).then(|| address(port - 7));
        assert_eq!(checked.replaced, expected);
    }
    assert_eq!(fixture.selected(), Some(1));
}

#[test]
fn rfc8445_9_after_a_restart_both_credentials_work_until_nomination() {
    let mut fixture = Fixture::new();
    fixture.send(1, 100, &[USE_CANDIDATE]);
    let old = fixture.local.clone();
    let new = IceCredentials { ufrag: "new".into(), pwd: "new password".into() };
    assert_eq!(fixture.ice.restart(new.clone(), Some("them2".into())), None);
    assert_eq!(fixture.send(1, 100, &[USE_CANDIDATE]).result, StunResult::Success);
    assert_eq!(fixture.ice.local_ufrags().count(), 2);

    let bytes = check("new:them2", &new.pwd, 1, &[USE_CANDIDATE]);
    let request = Request::parse(&bytes).unwrap();
    let checked = fixture.ice.handle_check(&request, address(2), 0, fixture.now);
    assert_eq!(checked.result, StunResult::Success);
    assert_eq!(checked.retired, Some(old));
    assert_eq!(fixture.selected(), Some(2));
    assert_eq!(fixture.send(1, 100, &[]).result, StunResult::UnknownUser);
}
