//! The torture messages of RFC 4475 and RFC 5118 against sockets instead of a parser.

use std::path::Path;
use std::time::Duration;

use crate::agent::Agent;
use crate::live::Live;
use crate::metrics::{Metrics, wait_for_calls};
use crate::request::{Request, status};
use crate::start;

#[test]
fn torture_messages_harm_nobody_on_any_transport() {
    let server = start("");
    let before = Metrics::of(&server);
    let live = Live::start(&server);
    let messages = messages();
    assert_eq!(messages.len(), 49 + 12);

    let mut udp = Agent::udp(server.address("udp"));
    for message in &messages {
        udp.send(message);
    }
    let connect = [("tcp", Agent::tcp as fn(_) -> _), ("http", Agent::ws)];
    for (kind, connect) in connect {
        let mut agent = connect(server.address(kind));
        for message in &messages {
            // A stream that carried what is no message has lost its framing and is closed.
            if agent.try_send(message).is_err() || agent.try_ask(&options(), SOON).is_none() {
                agent = connect(server.address(kind));
            }
        }
        assert_eq!(status(&connect(server.address(kind)).ask(&options())), 200);
    }
    assert_eq!(status(&udp.ask(&options())), 200);

    live.finish();
    let after = wait_for_calls(&server, 0);
    let refused = |transport: &str| {
        let label = format!("transport=\"{transport}\"");
        after.sum("sidetone_sip_parse_errors_total", &[&label])
    };
    for transport in ["udp", "tcp", "ws"] {
        assert!(refused(transport) > 10.0, "{} refused on {transport}", refused(transport));
    }
    assert_eq!(before.series(), after.series(), "series came or went");
    assert_eq!(after.sum("sidetone_sip_connections_closed_total", &["reason=\"fault\""]), 0.0);
}

fn options() -> Request {
    Request::new("OPTIONS", "anybody")
}

fn messages() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transport/tests/torture");
    let folders = ["rfc4475", "rfc5118"].map(|rfc| std::fs::read_dir(root.join(rfc)).unwrap());
    let mut paths: Vec<_> =
        folders.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What a connection that lives answers within.
const SOON: Duration = Duration::from_millis(1500);
