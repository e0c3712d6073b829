//! Requests as a caller writes them, right until a test says otherwise.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::agent::Agent;

/// One request; every field can be made wrong.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub number: String,
    pub branch: String,
    pub from_tag: String,
    pub to_tag: Option<String>,
    pub call_id: String,
    pub cseq: u32,
    pub headers: Vec<String>,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Request {
    /// A request outside of any dialog.
    pub fn new(method: &str, number: &str) -> Self {
        Request {
            method: method.to_owned(),
            number: number.to_owned(),
            branch: fresh("z9hG4bK"),
            from_tag: fresh("f"),
            to_tag: None,
            call_id: fresh("call"),
            cseq: 1,
            headers: Vec::new(),
            content_type: "application/sdp".to_owned(),
            body: Vec::new(),
        }
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = content_type.to_owned();
        self
    }

    pub fn header(mut self, line: impl Into<String>) -> Self {
        self.headers.push(line.into());
        self
    }

    pub fn cseq(mut self, cseq: u32) -> Self {
        self.cseq = cseq;
        self
    }

    /// A request of the same transaction: an ACK of a refusal, or a CANCEL.
    pub fn same_transaction(&self, method: &str) -> Self {
        let method = method.to_owned();
        Request { method, headers: Vec::new(), body: Vec::new(), ..self.clone() }
    }

    /// As it travels from `agent`.
    pub fn bytes(&self, agent: &Agent) -> Vec<u8> {
        let Request { method, number, branch, from_tag, call_id, cseq, .. } = self;
        let (token, local) = (agent.token(), agent.local());
        let to_tag = self.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let mut head = format!(
            "{method} sip:{number}@server SIP/2.0\r\n\
             Via: SIP/2.0/{token} {local};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:mallory@server>;tag={from_tag}\r\nTo: <sip:{number}@server>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:mallory@{local}>\r\n"
        );
        for line in &self.headers {
            head += &format!("{line}\r\n");
        }
        if !self.body.is_empty() {
            head += &format!("Content-Type: {}\r\n", self.content_type);
        }
        head += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        [head.as_bytes(), &self.body].concat()
    }
}

/// The status of a response; 0 for a request.
pub fn status(message: &str) -> u16 {
    let code = message.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
    code.map_or(0, |code| code.parse().unwrap())
}

/// The first value of a header, as we write its name.
pub fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The tag of the To header.
pub fn to_tag(message: &str) -> Option<String> {
    header(message, "To")?.split(";tag=").nth(1).map(str::to_owned)
}

/// A name that no other request of this run has.
pub fn fresh(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
