//! What two phones hear of each other, and of the server, through the real binary.

use std::thread;
use std::time::Duration;

use crate::client::{Client, status};
use crate::phone::{Heard, Phone};
use crate::server::Server;

const USER: &str = "[users.3001]\npassword = '3001pass'\npublic = true\ncontexts = ['public']\n\
                    [dialplan]\nfile = 'plan.xml'\n";

const PLAN: &str = r#"<include><context name="public">
    <extension name="users">
      <condition field="destination_number" expression="^(3001)$">
        <action application="set" data="ringback=%(2000,100,620)"/>
        <action application="bridge" data="user/$1"/>
      </condition>
    </extension>
  </context></include>"#;

/// A server, who calls, and a phone that the call reaches.
fn office() -> (Server, Phone, Phone) {
    let server = Server::start_with_files(USER, |folder| {
        std::fs::write(folder.join("plan.xml"), PLAN).unwrap();
    });
    let address = server.address("udp");
    let (caller, callee) = (Phone::udp(address), Phone::udp(address));
    let mut registrant = Client::udp_on(callee.socket(), address, "3001", "3001pass");
    assert_eq!(status(&registrant.register_with_password()), 200);
    (server, caller, callee)
}

/// Calls until the caller can hear something; the INVITE that the callee got.
fn ring(caller: &mut Phone, callee: &mut Phone, status: &str, has_media: bool) -> String {
    caller.begin("3001", "0");
    let invite = callee.take_call();
    callee.respond(&invite, status, has_media);
    caller.take_early_media();
    invite
}

/// Both say their tone for a second; what each one heard of it.
fn talk(caller: &mut Phone, callee: &mut Phone) -> (Heard, Heard) {
    let second = Duration::from_secs(1);
    // One second for each pair of ears, so that what is said is heard while it is said.
    let (said, heard_by_callee) = thread::scope(|scope| {
        let said = scope.spawn(|| caller.say_tone(500.0, second));
        let heard = callee.listen(second);
        (said.join().unwrap(), heard)
    });
    assert_eq!(said, 50);
    let heard_by_caller = thread::scope(|scope| {
        scope.spawn(|| callee.say_tone(800.0, second));
        caller.listen(second)
    });
    (heard_by_caller, heard_by_callee)
}

fn assert_tone(heard: &Heard, frequency_hz: f64) {
    assert!(heard.packets >= 45, "{} packets in a second", heard.packets);
    let found = heard.frequency_hz();
    assert!((found - frequency_hz).abs() < 6.0, "{found} Hz instead of {frequency_hz}");
}

#[test]
fn ringback_then_each_other_then_music_on_hold_and_each_other_again() {
    let (_server, mut caller, mut callee) = office();
    let invite = ring(&mut caller, &mut callee, "180 Ringing", false);
    // What it is, is found out later: it plays on meanwhile.
    let ringback = caller.listen(Duration::from_secs(1));
    callee.respond(&invite, "200 OK", true);
    caller.take_answer();
    callee.take_request("ACK ");
    assert_tone(&ringback, 620.0);
    caller.listen(Duration::from_millis(200));
    assert_eq!(caller.listen(Duration::from_millis(300)).packets, 0, "the ringback has ended");
    let (by_caller, by_callee) = talk(&mut caller, &mut callee);
    assert_tone(&by_caller, 800.0);
    assert_tone(&by_callee, 500.0);

    assert!(caller.change("sendonly").contains("\r\na=recvonly\r\n"));
    // What was under way when the hold came.
    callee.listen(Duration::from_millis(200));
    let music = callee.listen(Duration::from_secs(2));
    assert!((95..=105).contains(&music.packets), "{} packets in 2 s", music.packets);
    assert!(music.level() > 300.0, "music of level {}", music.level());
    assert_eq!(caller.listen(Duration::from_millis(300)).packets, 0, "the holder hears nothing");

    assert!(caller.change("sendrecv").contains("\r\na=sendrecv\r\n"));
    callee.listen(Duration::from_millis(200));
    assert_eq!(callee.listen(Duration::from_millis(300)).packets, 0, "the music has ended");
    let (by_caller, by_callee) = talk(&mut caller, &mut callee);
    assert_tone(&by_caller, 800.0);
    assert_tone(&by_callee, 500.0);

    caller.hang_up();
    let bye = callee.take_request("BYE ");
    assert!(bye.contains("\r\nReason: Q.850;cause=16;text=\"NORMAL_CLEARING\"\r\n"), "{bye}");
}

#[test]
fn what_a_phone_says_before_it_answers_is_heard_instead_of_ringback() {
    let (_server, mut caller, mut callee) = office();
    let invite = ring(&mut caller, &mut callee, "183 Session Progress", true);
    let early = thread::scope(|scope| {
        scope.spawn(|| callee.say_tone(800.0, Duration::from_millis(1_500)));
        caller.listen(Duration::from_millis(300));
        caller.listen(Duration::from_secs(1))
    });
    assert_tone(&early, 800.0);
    callee.respond(&invite, "486 Busy Here", false);
    let refused = caller.final_response();
    assert!(refused.starts_with("SIP/2.0 486 "), "{refused}");
}

#[test]
fn rfc3261_18_2_2_who_picks_up_after_its_connection_closed_is_told_that_it_is_over() {
    let server = Server::start_with_files(USER, |folder| {
        std::fs::write(folder.join("plan.xml"), PLAN).unwrap();
    });
    let mut caller = Phone::udp(server.address("udp"));
    let mut callee = Phone::tcp(server.address("tcp"));
    let mut registrant = Client::tcp_on(callee.connection(), "3001", "3001pass");
    assert_eq!(status(&registrant.register_with_password()), 200);
    caller.begin("3001", "0");
    let invite = callee.take_call();
    callee.respond(&invite, "180 Ringing", false);
    caller.take_early_media();
    callee.reconnect();
    let refused = caller.final_response();
    assert!(refused.starts_with("SIP/2.0 480 "), "{refused}");
    callee.respond(&invite, "200 OK", true);
    callee.take_request("ACK ");
    callee.take_request("BYE ");
}
