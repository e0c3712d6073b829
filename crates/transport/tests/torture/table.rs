//! The one list of what becomes of each message, and why.

/// What becomes of a message that arrives as a datagram at an element that supports no extension.
#[derive(Debug)]
pub enum Expected {
    /// Handed to the layer above, with these values.
    Accepted(&'static [(&'static str, &'static str)]),
    /// Answered with a status, for a reason that is a metric label.
    Refused(u16, &'static str),
    /// Not answered: a response, or nothing that an answer could be made for.
    Dropped(&'static str),
}

/// One message.
pub struct Row {
    /// The folder.
    pub rfc: &'static str,
    /// The section that describes it.
    pub section: &'static str,
    /// The RFC's own name for it.
    pub file: &'static str,
    /// What becomes of it.
    pub expected: Expected,
    /// Why.
    pub reason: &'static str,
}

use Expected::{Accepted, Dropped, Refused};

const fn sip(
    section: &'static str,
    file: &'static str,
    expected: Expected,
    reason: &'static str,
) -> Row {
    Row { rfc: "rfc4475", section, file, expected, reason }
}

const fn ipv6(
    section: &'static str,
    file: &'static str,
    expected: Expected,
    reason: &'static str,
) -> Row {
    Row { rfc: "rfc5118", section, file, expected, reason }
}

/// Every message of RFC 4475 and RFC 5118.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    // 3.1.1 Valid messages.
    sip("3.1.1.1", "wsinv", Accepted(&[
        ("method", "INVITE"), ("to tag", "1918181833n"), ("from name", "J Rosenberg \\\""), ("from tag", "98asjd8"),
        ("Max-Forwards", "0068"), ("cseq", "9"), ("vias", "3"), ("via hosts", "192.0.2.2 spindle.example.com 192.168.255.111"),
        ("via transports", "UDP TCP UDP"), ("branch", "390skdjuw"), ("unique branch", "false"), ("Subject", "none"), ("s", ""),
        ("NewFangledHeader", "newfangled value continued newfangled value"), ("UnknownHeaderWithUnusualValue", ";;,,;;,;"),
        ("contact uri", "sip:jdrosen@example.com"), ("contact params", "3"), ("body bytes", "150"),
    ]), "folding, compact forms, blanks before colons and leading zeros are all legal"),
    sip("3.1.1.2", "intmeth", Accepted(&[
        ("method", "!interesting-Method0123456789_*+`.%indeed'~"),
        ("uri user", "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"), ("uri host", "example.com"),
        ("branch", "z9hG4bK-.!%66*_+`'~"), ("to name", "BEL:\u{7} NUL:\0 DEL:\u{7f}"), ("from name", "token1~` token2'+_ token3*%!.-"),
        ("call-id", "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"), ("Max-Forwards", "255"),
        ("extensionHeader-!.%*+_`'~", "\u{feff}\u{5927}\u{505c}\u{96fb}"),
    ]), "every character that the grammar allows, in every place; the layer above answers 501"),
    sip("3.1.1.3", "esc01", Accepted(&[
        ("uri user", "sips:user@example.com"), ("uri host", "example.net"), ("from uri", "sip:I%20have%20spaces@example.net"),
        ("contact uri", "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31"), ("body bytes", "150"),
    ]), "escapes are data and stay as they are written"),
    sip("3.1.1.4", "escnull", Accepted(&[
        ("from uri", "sip:null-%00-null@example.com"), ("contacts", "2"), ("contact uri", "sip:%00@host5.example.com"),
    ]), "an escaped NUL ends nothing"),
    sip("3.1.1.5", "esc02", Accepted(&[
        ("method", "RE%47IST%45R"), ("to name", "%Z%45"), ("contacts", "2"), ("C%6Fntact", "<sip:alias2@host2.example.com>"),
        ("branch", "z9hG4bK209%fzsnel234"),
    ]), "% outside URIs is a plain character: an unknown method, an unknown header field"),
    sip("3.1.1.6", "lwsdisp", Accepted(&[("from name", "caller"), ("from uri", "sip:caller@example.com"), ("from tag", "323")]),
        "no blank is needed between a display name and <"),
    sip("3.1.1.7", "longreq", Accepted(&[
        ("vias", "34"), ("method", "INVITE"), ("body bytes", "150"), ("received", "192.0.2.5"),
        ("from uri", "sip:amazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallername@example.net"),
    ]), "long, but inside the limits"),
    sip("3.1.1.8", "dblreq", Accepted(&[("method", "REGISTER"), ("call-id", "dblreq.0ha0isndaksdj99sdfafnl3lk233412"), ("body bytes", "0")]),
        "what follows the message in a datagram is ignored (RFC 3261 §18.3)"),
    sip("3.1.1.9", "semiuri", Accepted(&[("uri user", "user;par=u@example.net"), ("uri host", "example.com"), ("accept", "6")]),
        "a semicolon before the @ belongs to the user part"),
    sip("3.1.1.10", "transports", Accepted(&[("vias", "5"), ("via transports", "UDP SCTP TLS UNKNOWN TCP")]),
        "a transport that we do not have was used by somebody else"),
    sip("3.1.1.11", "mpart01", Accepted(&[("method", "MESSAGE"), ("body bytes", "553"), ("from tag", "2fb0dcc9")]),
        "the body is bytes, NUL and CR among them"),
    sip("3.1.1.12", "unreason", Accepted(&[("status", "200"), ("body bytes", "154"),
        ("phrase", "= 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{43d}\u{43e}\u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{442}\u{44c} - \u{43f}\u{440}\u{43e}\u{441}\u{442}\u{43e}\u{435}"),
    ]), "a reason phrase is for people and may say anything"),
    sip("3.1.1.13", "noreason", Accepted(&[("status", "100"), ("phrase", "")]), "a reason phrase may be empty"),
    // 3.1.2 Invalid messages.
    sip("3.1.2.1", "badinv01", Refused(400, "via"), "empty parameters and empty list elements in a Via"),
    sip("3.1.2.2", "clerr", Refused(400, "body_incomplete"), "Content-Length is larger than the datagram"),
    sip("3.1.2.3", "ncl", Refused(400, "content_length"), "Content-Length is negative"),
    sip("3.1.2.4", "scalar02", Refused(400, "cseq"), "CSeq, Max-Forwards and Expires do not fit"),
    sip("3.1.2.5", "scalarlg", Dropped("cseq"), "a response whose CSeq does not fit belongs to no request of ours"),
    sip("3.1.2.6", "quotbal", Refused(400, "to"), "the quote in the To is not closed"),
    sip("3.1.2.7", "ltgtruri", Refused(400, "request_uri"), "a Request-URI has no angle brackets"),
    sip("3.1.2.8", "lwsruri", Refused(400, "start_line"), "a Request-URI has no blank"),
    sip("3.1.2.9", "lwsstart", Refused(400, "start_line"), "one blank, not two, separates the parts of a request line"),
    sip("3.1.2.10", "trws", Refused(400, "start_line"), "nothing follows the version"),
    sip("3.1.2.11", "escruri", Refused(400, "request_uri"), "header fields in a Request-URI are not allowed (RFC 3261 §19.1.1)"),
    sip("3.1.2.12", "baddate", Accepted(&[("Date", "Fri, 01 Jan 2010 16:00:00 EST"), ("body bytes", "150")]),
        "a 400 would be reasonable, says the RFC; but nothing depends on Date, and no call is refused for a wrong clock"),
    sip("3.1.2.13", "regbadct", Refused(400, "contact"), "a URI with a ? needs angle brackets"),
    sip("3.1.2.14", "badaspec", Refused(400, "to"), "no blank inside angle brackets"),
    sip("3.1.2.15", "baddn", Refused(400, "head_incomplete"),
        "the archived file lacks the empty line after its head; with it, the unquoted comma in From is the 400"),
    sip("3.1.2.16", "badvers", Refused(505, "version"), "SIP/7.0 is not spoken here"),
    sip("3.1.2.17", "mismatch01", Refused(400, "cseq_method"), "the CSeq names another method"),
    sip("3.1.2.18", "mismatch02", Refused(400, "cseq_method"), "the CSeq names another method; 400 comes before 501"),
    sip("3.1.2.19", "bigcode", Dropped("start_line"), "not a status code, and a response is never answered"),
    // 3.2 Transaction layer semantics.
    sip("3.2.1", "badbranch", Accepted(&[("branch", "z9hG4bK"), ("unique branch", "false")]),
        "the cookie alone is no transaction identifier: matched as RFC 2543"),
    // 3.3 Application layer semantics.
    sip("3.3.1", "insuf", Refused(400, "missing_header"), "Call-ID, From and To are missing"),
    sip("3.3.2", "unkscm", Refused(416, "uri_scheme"), "nobody knows this scheme"),
    sip("3.3.3", "novelsc", Refused(416, "uri_scheme"), "soap.beep is a scheme, but not one that is called"),
    sip("3.3.4", "unksm2", Accepted(&[("to uri", "isbn:2983792873"), ("from uri", "http://www.example.com"), ("contact uri", "name:John_Smith")]),
        "well formed; whether such a user is known is for the registrar to say"),
    sip("3.3.5", "bext01", Refused(420, "extension"), "none of the required extensions is supported"),
    sip("3.3.6", "invut", Accepted(&[("Content-Type", "application/unknownformat"), ("body bytes", "40")]),
        "the layer that opens bodies answers 415"),
    sip("3.3.7", "regaut01", Accepted(&[("Authorization", "NoOneKnowsThisScheme opaque-data=here")]),
        "an unknown scheme is no credential: the registrar challenges"),
    sip("3.3.8", "multi01", Refused(400, "repeated_header"), "two of CSeq, Call-ID, From, To and Max-Forwards"),
    sip("3.3.9", "mcl01", Refused(400, "content_length"), "two Content-Lengths: the message has no certain end"),
    sip("3.3.10", "bcast", Dropped("via_count"), "a response with a second Via was not meant for us"),
    sip("3.3.11", "zeromf", Accepted(&[("Max-Forwards", "0"), ("next hops", "483")]),
        "an endpoint answers it; only what would be forwarded is a 483"),
    sip("3.3.12", "cparam01", Accepted(&[("contact uri", "sip:+19725552222@gw1.example.net"), ("contact params", "1")]),
        "without angle brackets a parameter is the header's"),
    sip("3.3.13", "cparam02", Accepted(&[("contact uri", "sip:+19725552222@gw1.example.net;unknownparam"), ("contact params", "0")]),
        "inside angle brackets a parameter is the URI's"),
    sip("3.3.14", "regescrt", Accepted(&[("contact uri", "sip:user@example.com?Route=%3Csip:sip.example.com%3E")]),
        "a Contact URI may have header fields"),
    sip("3.3.15", "sdp01", Accepted(&[("Accept", "text/nobodyKnowsThis"), ("body bytes", "150")]),
        "well formed; the layer that answers offers says 406 or goes on"),
    // 3.4 Backward compatibility.
    sip("3.4.1", "inv2543", Accepted(&[("from tag", "none"), ("branch", "none"), ("Max-Forwards", "none"), ("next hops", "70")]),
        "an RFC 2543 caller has no tag, no branch and no Max-Forwards"),
    // RFC 5118.
    ipv6("4.1", "ipv6-good", Accepted(&[("uri host", "[2001:db8::10]"), ("via hosts", "[2001:db8::9:1]"), ("contact ip", "2001:db8::1")]),
        "IPv6 references in brackets"),
    ipv6("4.2", "ipv6-bad", Refused(400, "request_uri"), "an IPv6 address in a URI needs its brackets"),
    ipv6("4.3", "port-ambiguous", Accepted(&[("uri ip", "2001:db8::10:5070"), ("uri port", "none")]),
        "well formed: inside the brackets it is part of the address"),
    ipv6("4.4", "port-unambiguous", Accepted(&[("uri ip", "2001:db8::10"), ("uri port", "5070")]), "after the brackets it is a port"),
    ipv6("4.5", "via-received-param-with-delim", Accepted(&[("received", "2001:db8::9:255"), ("branch", "z9hG4bKas3-111")]),
        "received may have brackets, although the grammar has none"),
    ipv6("4.5", "via-received-param-no-delim", Accepted(&[("received", "2001:db8::9:255"), ("branch", "z9hG4bKas3")]),
        "received without brackets, as the grammar has it"),
    ipv6("4.6", "ipv6-in-sdp", Accepted(&[("uri ip", "2001:db8::10"), ("body bytes", "251")]), "the body is not ours to read"),
    ipv6("4.7", "mult-ip-in-header", Accepted(&[
        ("vias", "3"), ("via hosts", "[2001:db8::9:1] 192.0.2.1 [2001:db8::9:255]"), ("via port", "6050"), ("received", "192.0.2.200"),
    ]), "families may be mixed along the way"),
    ipv6("4.8", "mult-ip-in-sdp", Accepted(&[("method", "INVITE"), ("body bytes", "189")]), "the body is not ours to read"),
    ipv6("4.9", "ipv4-mapped-ipv6", Accepted(&[
        ("via hosts", "[::ffff:192.0.2.10] [::ffff:192.0.2.2]"), ("via port", "19823"), ("contact ip", "::ffff:192.0.2.2"),
    ]), "an IPv4 address inside an IPv6 one"),
    ipv6("4.10", "ipv6-bug-abnf-3-colons", Accepted(&[("uri host", "[2001:db8:::192.0.2.1]"), ("uri ip", "2001:db8::c000:201")]),
        "the grammar of RFC 3261 lets a third colon slip in: tolerated, and copied as it came"),
    ipv6("4.10", "ipv6-correct-abnf-2-colons", Accepted(&[("uri ip", "2001:db8::c000:201")]), "the same address without the slip"),
];
