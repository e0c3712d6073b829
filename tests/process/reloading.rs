//! A changed configuration is taken as a whole or not at all, and calls that are up go on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::client::{Client, status};
use crate::phone::Phone;
use crate::server::Server;

impl Server {
    /// Replaces a text of a file beside the configuration.
    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Exit code of `sidetone reload`, and what it says.
    fn reload(&self) -> (i32, String) {
        let mut command = self.command(&["reload", "--address", self.control()]);
        let config = self.folder.join("config.toml");
        let output = command.arg("--config").arg(config).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap().trim_end().to_owned())
    }

    fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    fn wait_for_metric(&self, series: &str, is_there: impl Fn(f64) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_there(self.metric(series)) {
            assert!(Instant::now() < end, "{series} is {}", self.metric(series));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn users_come_and_go_by_a_reload() {
    let server = Server::start("[users.201]\npassword = 'first'\n");
    let mut old = Client::udp(server.address("udp"), "201", "first");
    assert_eq!(status(&old.register_with_password()), 200);
    let mut new = Client::udp(server.address("udp"), "202", "second");
    assert_eq!(status(&new.register_with_password()), 401);

    server.change(
        "config.toml",
        "[users.201]\npassword = 'first'",
        "[users.202]\npassword = 'second'",
    );
    assert_eq!(server.reload(), (0, "reloaded".to_owned()));
    assert_eq!(status(&new.register_with_password()), 200);
    assert_eq!(status(&old.register_with_password()), 401);
    server.wait_for_metric("sidetone_registrations{transport=\"udp\"}", |bound| bound == 1.0);
}

#[test]
fn who_registered_with_a_password_that_has_changed_is_registered_no_longer() {
    let server = Server::start(
        "[users.201]\npassword = 'first'\n[users.202]\npassword = 'stays'\n[users.203]\n\
         password = 'third'\n",
    );
    for (user, password) in [("201", "first"), ("202", "stays"), ("203", "third")] {
        let mut phone = Client::udp(server.address("udp"), user, password);
        assert_eq!(status(&phone.register_with_password()), 200);
    }
    server.change("config.toml", "'first'", "'another'");
    assert_eq!(server.reload(), (0, "reloaded".to_owned()));
    server.wait_for_metric("sidetone_registrations{transport=\"udp\"}", |bound| bound == 2.0);
}

#[test]
fn a_live_call_finishes_on_the_plan_it_started_with() {
    let server = started_with_plan("600");
    let mut live = Phone::udp(server.address("udp"));
    live.call("7");
    assert!((live.listen(Duration::from_millis(500)).frequency_hz() - 600.0).abs() < 8.0);

    server.change("plan.xml", "600", "900");
    assert_eq!(server.reload(), (0, "reloaded".to_owned()));
    // The first tone ends, and the call goes on to where its own plan leads.
    live.listen(Duration::from_secs(2));
    let heard = live.listen(Duration::from_millis(500));
    assert!((heard.frequency_hz() - 600.0).abs() < 8.0, "{} Hz", heard.frequency_hz());
    assert_eq!(heard.lost, 0);
    let mut next = Phone::udp(server.address("udp"));
    next.call("8");
    let heard = next.listen(Duration::from_millis(500));
    assert!((heard.frequency_hz() - 900.0).abs() < 8.0, "{} Hz", heard.frequency_hz());
    next.hang_up();
    live.hang_up();
}

#[test]
fn a_mistake_changes_nothing_and_is_told_as_at_start() {
    let server = started_with_plan("600");
    let applied = "sidetone_config_last_reload_successful";
    let at = "sidetone_config_last_reload_success_timestamp_seconds";
    let (first, started) = (server.metric(applied), server.metric(at));
    assert_eq!(first, 1.0);
    let config = std::fs::read_to_string(server.folder.join("config.toml")).unwrap();
    let plan = std::fs::read_to_string(server.folder.join("plan.xml")).unwrap();
    let transfer = "transfer\" data=\"8 XML public\"";
    for (file, from, to, says) in [
        ("plan.xml", "transfer", "transfre", "plan.xml:5: the application \"transfre\""),
        (
            "plan.xml",
            transfer,
            "bridge\" data=\"sofia/external/1@192.0.2.1\"",
            "the public context",
        ),
        ("config.toml", "[media]", "[users.9]\n[media]", "users.9: no password"),
        ("config.toml", "[media]", "[media]\nshard = 1", "unknown field `shard`"),
        ("config.toml", "[media]", "[log]\nlevel = \"loud\"\n[media]", "log.level"),
        ("config.toml", "plan.xml", "none.xml", "none.xml: cannot read the dialplan"),
        ("config.toml", "[control]", "[control", "config.toml:"),
    ] {
        server.change(file, from, to);
        // What is new and right is not taken with what is wrong.
        server.change("plan.xml", "600", "900");
        let (code, said) = server.reload();
        assert_eq!(code, 1, "{said}");
        assert!(said.starts_with("sidetone: ") && said.contains(says), "{said}");
        std::fs::write(server.folder.join("config.toml"), &config).unwrap();
        std::fs::write(server.folder.join("plan.xml"), &plan).unwrap();
    }
    assert_eq!((server.metric(applied), server.metric(at)), (0.0, started));
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("8");
    let heard = phone.listen(Duration::from_millis(500));
    assert!((heard.frequency_hz() - 600.0).abs() < 8.0, "{} Hz", heard.frequency_hz());
    phone.hang_up();
    assert_eq!(server.reload(), (0, "reloaded".to_owned()));
    assert_eq!(server.metric(applied), 1.0);
    assert!(server.metric(at) > started);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let server = Server::start("[web]\nping_interval_s = 20\n");
    let change = "[web]\nping_interval_s = 30\n[users.7]\npassword = 'x'\n";
    server.change("config.toml", "[web]\nping_interval_s = 20\n", change);
    let (code, said) = server.reload();
    assert_eq!((code, &*said), (0, "reloaded; restart Sidetone for what has changed in web"));
    let mut client = Client::udp(server.address("udp"), "7", "x");
    assert_eq!(status(&client.register_with_password()), 200);
}

#[test]
fn sighup_reloads() {
    let server = Server::start("");
    let at = "sidetone_config_last_reload_success_timestamp_seconds";
    let started = server.metric(at);
    server.change("config.toml", "[media]", "[users.7]\npassword = 'x'\n[media]");
    server.signal("HUP");
    server.wait_for_metric(at, |time| time > started);
    let mut client = Client::udp(server.address("udp"), "7", "x");
    assert_eq!(status(&client.register_with_password()), 200);
}

#[test]
fn only_who_reads_the_state_folder_reloads() {
    let server = Server::start("");
    let token = std::fs::read_to_string(server.folder.join("control.token")).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", token.trim());
    let post = |host: &str, shown: &str| {
        let lines = format!("Host: {host}\r\n{shown}Content-Length: 0\r\n");
        server.request("POST", "/v1/reload", &lines)
    };
    assert_eq!(post(server.control(), "").0, 401);
    assert_eq!(post(server.control(), "Authorization: Bearer wrong\r\n").0, 401);
    assert_eq!(post("evil.example", &right).0, 403);
    assert_eq!(post(server.control(), &right), (200, "{\"restart\":[]}".to_owned()));
    let lines = format!("Host: {}\r\n{right}", server.control());
    assert_eq!(server.request("GET", "/v1/reload", &lines).0, 405);
    // Who only looks is asked nothing.
    assert_eq!(server.request("GET", "/livez", "Host: evil.example\r\n").0, 200);
}

#[test]
fn new_connections_see_a_renewed_certificate_and_open_ones_live_on() {
    let listen = "[[listen]]\nkind = 'https'\naddress = 'localhost:0'\n";
    let tls = "[tls]\ncertificate = 'c.pem'\nkey = 'k.pem'\n";
    let server = Server::start_with_files(&format!("{tls}{listen}"), |folder| {
        let (certificate, key) = pair();
        std::fs::write(folder.join("c.pem"), certificate).unwrap();
        std::fs::write(folder.join("k.pem"), key).unwrap();
    });
    let address = server.address("https");
    let first = shown(address);
    let mut socket = Browser::open(address);
    let failed = "sidetone_tls_reloads_total{result=\"failed\"}";
    let served = "sidetone_tls_reloads_total{result=\"ok\"}";
    assert_eq!((server.metric(failed), server.metric(served)), (0.0, 0.0));

    // A new certificate without its key is not served.
    let (certificate, key) = pair();
    std::fs::write(server.folder.join("c.pem"), certificate).unwrap();
    server.wait_for_metric(failed, |count| count >= 1.0);
    assert_eq!(shown(address), first);
    let (code, said) = server.reload();
    assert!(
        code == 1 && said.contains("c.pem: the certificate cannot be used with its key"),
        "{said}"
    );

    std::fs::write(server.folder.join("k.pem"), key).unwrap();
    server.wait_for_metric(served, |count| count >= 1.0);
    assert_ne!(shown(address), first);
    socket.ping();
    assert_eq!(server.reload(), (0, "reloaded".to_owned()));
}

/// A server whose number 7 plays a tone for 2 s and goes on to 8, which plays it for long.
fn started_with_plan(frequency_hz: &str) -> Server {
    let tone = |ms| {
        format!(
            "<action application=\"playback\" data=\"tone_stream://%({ms},0,{frequency_hz})\"/>"
        )
    };
    let condition =
        |number| format!("<condition field=\"destination_number\" expression=\"^{number}$\">");
    let answer = "<action application=\"answer\"/>";
    let transfer = "<action application=\"transfer\" data=\"8 XML public\"/>";
    let plan = [
        "<include><context name=\"public\">".to_owned(),
        format!("<extension name=\"first\">{}", condition(7)),
        answer.to_owned(),
        tone(2_000),
        transfer.to_owned(),
        "</condition></extension>".to_owned(),
        format!("<extension name=\"second\">{}{answer}", condition(8)),
        tone(20_000),
        "</condition></extension></context></include>".to_owned(),
    ];
    Server::start_with_files("[dialplan]\nfile = 'plan.xml'\n", |folder| {
        std::fs::write(folder.join("plan.xml"), plan.join("\n")).unwrap();
    })
}

/// A certificate and its key in PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The certificate that a new connection is shown.
fn shown(address: SocketAddr) -> Vec<u8> {
    let stream = connect(address);
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

fn connect(address: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// An open WebSocket.
struct Browser(StreamOwned<ClientConnection, TcpStream>);

impl Browser {
    fn open(address: SocketAddr) -> Self {
        let mut stream = connect(address);
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: sip\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Browser(stream)
    }

    /// Sends a ping and waits for its pong (RFC 6455 §5.5).
    fn ping(&mut self) {
        self.0.write_all(&[0x89, 0x81, 0, 0, 0, 0, b'x']).unwrap();
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let mut payload = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut payload).unwrap();
            if head[0] == 0x8a {
                assert_eq!(payload, b"x");
                return;
            }
        }
    }
}

/// Trusts every certificate: the tests look at it themselves.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
