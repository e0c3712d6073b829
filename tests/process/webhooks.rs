//! Webhooks of the dialplan: who is asked, what comes of each answer, and what is run without one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::phone::Phone;
use crate::server::Server;

const SECRET: &str = "a secret that only these two have";

/// A request as it came.
struct Request {
    path: String,
    head: String,
    body: Vec<u8>,
}

/// Answers each request as its path says.
struct Hook {
    address: SocketAddr,
    requests: Receiver<Request>,
}

impl Hook {
    fn start() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut seen = 0;
            for stream in listener.incoming().map_while(Result::ok) {
                let request = read(&stream);
                seen += u32::from(request.path == "/flaky");
                let (path, is_again) = (request.path.clone(), seen > 1);
                if sender.send(request).is_err() {
                    return;
                }
                std::thread::spawn(move || answer(stream, &path, is_again));
            }
        });
        Hook { address, requests }
    }
}

fn read(mut stream: &TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length: usize = header(&head, "content-length").parse().unwrap();
            if bytes.len() >= end + 4 + length {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                return Request { path, head, body: bytes[end + 4..].to_vec() };
            }
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the request is cut");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

fn answer(mut stream: TcpStream, path: &str, is_again: bool) {
    let (status, body) = match path {
        "/busy" => ("200 OK", r#"["respond 486"]"#.to_owned()),
        "/tone" => {
            let tone =
                r#"{"actions": ["answer", {"run": "playback tone_stream://%(1000,0,440)"}]}"#;
            ("200 OK", tone.to_owned())
        }
        "/flaky" if is_again => ("200 OK", r#"["respond 486"]"#.to_owned()),
        "/flaky" | "/broken" => ("500 Internal Server Error", String::new()),
        "/gone" => ("404 Not Found", r#"["respond 486"]"#.to_owned()),
        "/moved" => ("302 Found\r\nLocation: /busy", String::new()),
        "/huge" => ("200 OK", format!("[{}\"respond 486\"]", " ".repeat(100_000))),
        "/garbage" => ("200 OK", "<html>".to_owned()),
        "/verb" => ("200 OK", r#"["respnod 486"]"#.to_owned()),
        "/slow" => {
            // Never answers: it waits until the server gives up.
            let _ = stream.read(&mut [0]);
            return;
        }
        other => panic!("{other} was asked for"),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // A reader that has seen enough closes early.
    let _ = stream.write_all((head + &body).as_bytes());
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

/// A server with a number of the same name for each of these URLs.
fn serve(urls: &[(&str, String)]) -> Server {
    let extensions: String = urls
        .iter()
        .map(|(number, url)| {
            format!(
                "<extension name=\"{number}\"><condition field=\"destination_number\" expression=\"^{number}$\">\n\
                 <action application=\"set\" data=\"greeting=hi\"/>\n\
                 <action application=\"webhook\" data=\"{url}\"><action application=\"respond\" data=\"603\"/></action>\n\
                 </condition></extension>\n"
            )
        })
        .collect();
    let name = format!("sidetone-webhooks-{}-{}.xml", std::process::id(), urls[0].0);
    let plan = std::env::temp_dir().join(name);
    std::fs::write(&plan, format!("<include>{extensions}</include>")).unwrap();
    let plan_path = plan.display();
    let server = Server::start(&format!(
        "[dialplan]\nfile = '{plan_path}'\n[webhook]\nsecret = '{SECRET}'\n"
    ));
    std::fs::remove_file(plan).unwrap();
    server
}

#[test]
fn a_webhook_decides_or_its_fallback_does() {
    let hook = Hook::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = |path: &str| format!("http://{}{path}", hook.address);
    let mut urls: Vec<(&str, String)> =
        ["busy", "flaky", "broken", "gone", "moved", "huge", "garbage", "verb"]
            .map(|number| (number, at(&format!("/{number}"))))
            .to_vec();
    urls.push(("slow", format!("{} 400", at("/slow"))));
    urls.push(("dead", format!("http://{closed}/")));
    let server = serve(&urls);
    for (number, status, tries) in [
        ("busy", "486", 1),
        ("flaky", "486", 2),
        ("broken", "603", 2),
        ("gone", "603", 1),
        ("moved", "603", 1),
        ("huge", "603", 1),
        ("garbage", "603", 1),
        ("verb", "603", 1),
        ("slow", "603", 1),
        ("dead", "603", 0),
    ] {
        let began = Instant::now();
        let refusal = Phone::udp(server.address("udp")).invite_refused(number, "0 101");
        assert!(refusal.starts_with(&format!("SIP/2.0 {status} ")), "{number}: {refusal}");
        assert!(began.elapsed() < Duration::from_secs(2), "{number}: {:?}", began.elapsed());
        let requests: Vec<Request> = hook.requests.try_iter().collect();
        assert_eq!(requests.len(), tries, "{number}");
        let ids: Vec<&str> = requests.iter().map(|r| header(&r.head, "webhook-id")).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "both tries have one identifier");
    }
    let (_, metrics) = server.get("/metrics");
    for (result, count) in
        [("answered", 4), ("status", 3), ("timeout", 1), ("connection", 1), ("unusable", 1)]
    {
        let line = format!("sidetone_webhook_requests_total{{result=\"{result}\"}} {count}");
        assert!(metrics.lines().any(|l| l == line), "{line} is missing");
    }
    assert!(metrics.contains("sidetone_webhook_duration_seconds_count 10"));
}

#[test]
fn a_request_is_signed_and_its_answer_is_heard() {
    let hook = Hook::start();
    let server = serve(&[("tone", format!("http://{}/tone", hook.address))]);
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("tone");
    let heard = phone.listen(Duration::from_millis(500));
    assert!((heard.frequency_hz() - 440.0).abs() < 4.0, "{} Hz", heard.frequency_hz());

    let Request { head, body, .. } = hook.requests.recv_timeout(Duration::from_secs(5)).unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(sent["facts"]["destination_number"], "tone");
    assert_eq!(sent["facts"]["caller_id_number"], "phone");
    assert_eq!(sent["facts"]["network_addr"], "127.0.0.1");
    assert_eq!(sent["variables"]["greeting"], "hi");
    let (id, timestamp) = (header(&head, "webhook-id"), header(&head, "webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &body].concat();
    let signature = header(&head, "webhook-signature").strip_prefix("v1,").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now - timestamp.parse::<u64>().unwrap() < 60);
}

#[test]
fn who_hangs_up_meanwhile_is_not_kept_waiting() {
    let hook = Hook::start();
    let server = serve(&[("slow", format!("http://{}/slow 30000", hook.address))]);
    let mut phone = Phone::udp(server.address("udp"));
    phone.invite_cancelled("slow", || {
        hook.requests.recv_timeout(Duration::from_secs(5)).unwrap();
    });
    let end = Instant::now() + Duration::from_secs(5);
    let line = "sidetone_webhook_requests_total{result=\"abandoned\"} 1";
    while !server.get("/metrics").1.lines().any(|l| l == line) {
        assert!(Instant::now() < end, "the request outlives the call");
    }
}
