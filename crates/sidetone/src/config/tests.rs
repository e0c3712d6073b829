use super::*;

#[test]
fn the_sample_file_shows_the_embedded_default() {
    let sample = include_str!("../../../../config/sidetone.toml");
    assert_eq!(Config::parse(sample, "sidetone.toml".as_ref()).unwrap(), Config::default());
}

#[test]
fn the_office_has_two_browsers_and_two_phones_on_the_default_ports() {
    let sample = include_str!("../../../../config/office.toml");
    let config = Config::parse(sample, "office.toml".as_ref()).unwrap();
    assert_eq!(config.listen, Config::default().listen);
    let names: Vec<_> = config.users.keys().map(String::as_str).collect();
    assert_eq!(names, ["198", "199", "3001", "3002"]);
    for (name, user) in &config.users {
        assert_eq!(user.password.as_ref(), Some(&format!("{name}pass")));
    }
}

#[test]
fn the_ports_of_the_guides_can_be_listened_on() {
    let sample = include_str!("../../../../config/guides.toml");
    let config = Config::parse(sample, "guides.toml".as_ref()).unwrap();
    let listens = |kind, port| {
        config.listen.iter().any(|l| l.kind == kind && l.address == Address::localhost(port))
    };
    assert!(listens(ListenKind::Http, 5067) && listens(ListenKind::Https, 7444));
    assert!(listens(ListenKind::Http, 8088) && listens(ListenKind::Https, 8089));
}

#[test]
fn a_file_overrides_key_by_key() {
    let config = Config::parse("[media]\nshards = 3\n", "x.toml".as_ref()).unwrap();
    assert_eq!(config.media.shards, 3);
    assert_eq!(config.media.webrtc_port, Media::default().webrtc_port);
    assert_eq!(config.listen, Config::default().listen);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = Config::parse("[media]\nshard = 3\n", "x.toml".as_ref()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("x.toml:2: ") && text.contains("shard"), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_key_and_what_it_must_be() {
    for (text, says) in [
        (
            "[media]\nshards = 'two'\n",
            "x.toml:2: media.shards is string \"two\"; it must be a whole",
        ),
        ("[sip]\nt1_ms = -1\n", "x.toml:2: sip.t1_ms is integer `-1`; it must be a whole"),
        ("state_dir = 5\n", "x.toml:1: state_dir is integer `5`; it must be text in quotes"),
        ("[users]\n199 = 'x'\n", "x.toml:2: users.199 is string \"x\"; it must be a section"),
        (
            "[media]\ncodecs = 'opus'\n",
            "x.toml:2: media.codecs is string \"opus\"; it must be a list",
        ),
        ("[media]\ncodecs = ['g729']\n", "x.toml:2: media.codecs[0]: unknown variant `g729`"),
        ("[[listen]]\nkind = 'udp'\n", "x.toml:1: listen[0]: missing field `address`"),
        ("[media\n", "x.toml:1: unclosed table"),
        (
            "[control]\naddress = 'localhost:8090'\n",
            "x.toml:2: control.address: \"localhost:8090\" is not an address with a port such as",
        ),
        (
            "[media]\naddresses = ['pbx']\n",
            "x.toml:2: media.addresses: \"pbx\" is not an address such as",
        ),
        (
            "[[listen]]\nkind = ['udp']\n",
            "x.toml:2: listen[0].kind must be one of \"udp\", \"tcp\"",
        ),
        ("[listen]\nkind = 'udp'\n", "x.toml:1: [listen] is a single section; write [[listen]]"),
        ("[media]\nshards = 1\nshards = 2\n", "x.toml:3: shards is there twice; keep one"),
        (
            "[users]\n\"a\\u0007\" = 5\n",
            "x.toml:2: users.a\\u{7} is integer `5`; it must be a section",
        ),
    ] {
        let error = Config::parse(text, "x.toml".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn everything_that_is_impossible_is_told_at_once() {
    let text = "[sip]\nt1_ms = 0\n[media]\nopus_complexity = 11\n[users.1]\ncontexts = []\n";
    let error = Config::parse(text, "x.toml".as_ref()).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines.iter().all(|line| line.starts_with("x.toml: ")), "{error}");
}

#[test]
fn origins_are_taken_as_browsers_send_them() {
    let text = "[web]\norigins = ['https://a.example', 'http://[::1]:8088', 'null', 'ionic://localhost']\n";
    Config::parse(text, "x.toml".as_ref()).unwrap();
}

#[test]
fn impossible_values_are_refused_with_a_sentence() {
    for (text, says) in [
        ("[media]\nrtp_port_min = 20000\nrtp_port_max = 10000\n", "rtp_port_min"),
        ("[media]\ncodecs = []\n", "codecs"),
        ("[media]\naddresses = ['10.0.0.1', '10.0.0.2']\n", "addresses"),
        ("[media]\nopus_complexity = 11\n", "opus_complexity"),
        ("[media]\nopus_transcode_complexity = 11\n", "opus_transcode_complexity"),
        ("listen = []\n", "listen"),
        ("[tls]\nkey = 'k.pem'\n", "certificate"),
        ("[limits]\ncalls_max = 0\n", "calls_max"),
        ("[sip]\nt1_ms = 0\n", "t1_ms"),
        ("[calls]\nwebrtc_silence_s = 0\n", "webrtc_silence_s"),
        ("[calls]\nplain_silence_s = 0\n", "plain_silence_s"),
        ("[calls]\nduration_max_s = 99999999999\n", "duration_max_s"),
        ("[calls]\nunanswered_max_s = 0\n", "unanswered_max_s"),
        ("[calls]\nring_timeout_s = 0\n", "ring_timeout_s"),
        ("[calls]\nring_step_s = 0\n", "ring_step_s"),
        ("[calls]\nfork_max = 0\n", "fork_max"),
        ("[media]\nconnect_timeout_s = 0\n", "connect_timeout_s"),
        ("[media]\nshards = 65\n", "shards"),
        ("[media]\nwebrtc_port = 12000\n", "webrtc_port"),
        ("[web]\nping_interval_s = 0\n", "ping_interval_s"),
        ("[sip]\nsession_expires_min_s = 10\n", "session_expires_min_s"),
        ("[recordings]\nduration_max_s = 0\n", "recordings.duration_max_s"),
        ("[webhook]\nsecret = 'short'\n", "webhook.secret"),
        ("[sip]\nserver = ' '\n", "sip.server"),
        ("[media]\nstun_server = 'stun.example.com'\n", "media.stun_server"),
        ("[media]\nstun_server = '127.0.0.1:99999'\n", "media.stun_server"),
        ("[web]\norigins = ['https://a.example/']\n", "web.origins"),
        ("[web]\norigins = ['https://a.example', 'HTTPS://b.example']\n", "web.origins"),
        ("[web]\norigins = ['https://a.example:443']\n", "web.origins"),
        ("[web]\norigins = ['*']\n", "web.origins"),
    ] {
        let error = Config::parse(text, "x.toml".as_ref()).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{text}: {error}");
    }
}
