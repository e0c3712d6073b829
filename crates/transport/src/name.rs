//! Header field names: the ones we know, their compact forms, and how they are looked up.

/// Declares [`Name`] from one table: variant, name as we write it, compact form, and whether a second
/// one in a message is refused.
macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident $text:literal $compact:tt $count:ident,)*) => {
        /// A header field name. Reading ignores case and knows the compact forms (RFC 3261 §7.3.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// Any name that has no variant of its own.
            Other,
        }

        impl Name {
            /// Every name that has a variant.
            pub const KNOWN: &'static [Name] = &[$(Name::$variant,)*];

            /// The name as we write it; empty for [`Name::Other`].
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other => "",
                }
            }

            /// Whether a message may carry this header field once only. It says so of those that
            /// are acted on: two User-Agents harm nobody.
            pub fn is_single(self) -> bool {
                match self {
                    $(Name::$variant => names!(@single $count),)*
                    Name::Other => false,
                }
            }

            fn compact(self) -> Option<u8> {
                match self {
                    $(Name::$variant => names!(@compact $compact),)*
                    Name::Other => None,
                }
            }

            const TABLE: &'static [(&'static [u8], Name)] = &[
                $(($text.as_bytes(), Name::$variant),)*
            ];
        }
    };
    (@single one) => { true };
    (@single many) => { false };
    (@compact -) => { None };
    (@compact $letter:literal) => { Some($letter) };
}

names! {
    Accept "Accept" - many,
    AcceptContact "Accept-Contact" b'a' many,
    AcceptEncoding "Accept-Encoding" - many,
    AcceptLanguage "Accept-Language" - many,
    AlertInfo "Alert-Info" - many,
    Allow "Allow" - many,
    AllowEvents "Allow-Events" b'u' many,
    AnswerMode "Answer-Mode" - many,
    AuthenticationInfo "Authentication-Info" - many,
    Authorization "Authorization" - many,
    CallId "Call-ID" b'i' one,
    CallInfo "Call-Info" - many,
    Contact "Contact" b'm' many,
    ContentDisposition "Content-Disposition" - one,
    ContentEncoding "Content-Encoding" b'e' many,
    ContentLanguage "Content-Language" - many,
    ContentLength "Content-Length" b'l' one,
    ContentType "Content-Type" b'c' one,
    CSeq "CSeq" - one,
    Date "Date" - many,
    Diversion "Diversion" - many,
    ErrorInfo "Error-Info" - many,
    Event "Event" b'o' one,
    Expires "Expires" - one,
    FeatureCaps "Feature-Caps" - many,
    FlowTimer "Flow-Timer" - many,
    From "From" b'f' one,
    Geolocation "Geolocation" - many,
    HistoryInfo "History-Info" - many,
    Identity "Identity" b'y' many,
    IdentityInfo "Identity-Info" b'n' many,
    InReplyTo "In-Reply-To" - many,
    InfoPackage "Info-Package" - one,
    Join "Join" - one,
    MaxBreadth "Max-Breadth" - many,
    MaxForwards "Max-Forwards" - one,
    MimeVersion "MIME-Version" - many,
    MinExpires "Min-Expires" - one,
    MinSe "Min-SE" - one,
    Organization "Organization" - many,
    PAccessNetworkInfo "P-Access-Network-Info" - many,
    PAssertedIdentity "P-Asserted-Identity" - many,
    PAssociatedUri "P-Associated-URI" - many,
    PCalledPartyId "P-Called-Party-ID" - many,
    PChargingVector "P-Charging-Vector" - many,
    PEarlyMedia "P-Early-Media" - many,
    PPreferredIdentity "P-Preferred-Identity" - many,
    Path "Path" - many,
    Priority "Priority" - many,
    Privacy "Privacy" - many,
    ProxyAuthenticate "Proxy-Authenticate" - many,
    ProxyAuthenticationInfo "Proxy-Authentication-Info" - many,
    ProxyAuthorization "Proxy-Authorization" - many,
    ProxyRequire "Proxy-Require" - many,
    RAck "RAck" - one,
    RSeq "RSeq" - one,
    Reason "Reason" - many,
    RecordRoute "Record-Route" - many,
    RecvInfo "Recv-Info" - many,
    ReferSub "Refer-Sub" - many,
    ReferTo "Refer-To" b'r' one,
    ReferredBy "Referred-By" b'b' one,
    RejectContact "Reject-Contact" b'j' many,
    RemotePartyId "Remote-Party-ID" - many,
    Replaces "Replaces" - one,
    ReplyTo "Reply-To" - many,
    RequestDisposition "Request-Disposition" b'd' many,
    Require "Require" - many,
    ResourcePriority "Resource-Priority" - many,
    RetryAfter "Retry-After" - one,
    Route "Route" - many,
    SecurityClient "Security-Client" - many,
    SecurityServer "Security-Server" - many,
    SecurityVerify "Security-Verify" - many,
    Server "Server" - many,
    ServiceRoute "Service-Route" - many,
    SessionExpires "Session-Expires" b'x' one,
    SessionId "Session-ID" - many,
    SipEtag "SIP-ETag" - one,
    SipIfMatch "SIP-If-Match" - one,
    Subject "Subject" b's' many,
    SubscriptionState "Subscription-State" - one,
    Supported "Supported" b'k' many,
    TargetDialog "Target-Dialog" - one,
    Timestamp "Timestamp" - many,
    To "To" b't' one,
    Unsupported "Unsupported" - many,
    UserAgent "User-Agent" - many,
    UserToUser "User-to-User" - many,
    Via "Via" b'v' many,
    WwwAuthenticate "WWW-Authenticate" - many,
    Warning "Warning" - many,
    SidetoneTrail "X-Sidetone-Trail" - many,
}

impl Name {
    /// Looks a name up, in any case, in its long or compact form.
    pub fn parse(bytes: &[u8]) -> Name {
        if let [letter] = bytes {
            let letter = letter.to_ascii_lowercase();
            return Self::KNOWN
                .iter()
                .copied()
                .find(|name| name.compact() == Some(letter))
                .unwrap_or(Name::Other);
        }
        let mut slot = hash(bytes);
        while let Some(&entry) = SLOTS.get(slot) {
            let Some((text, name)) = Self::TABLE.get(usize::from(entry)) else {
                return Name::Other;
            };
            // Most write it as it is written here.
            if *text == bytes || text.eq_ignore_ascii_case(bytes) {
                return *name;
            }
            slot = (slot + 1) % SLOT_COUNT;
        }
        Name::Other
    }
}

const SLOT_COUNT: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Open addressing over [`Name::TABLE`], built at compile time. Never full, so probing ends.
static SLOTS: [u8; SLOT_COUNT] = {
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut entry = 0;
    while entry < Name::TABLE.len() {
        let mut slot = hash(Name::TABLE[entry].0);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = entry as u8;
        entry += 1;
    }
    slots
};

/// Length, ends and middle tell the known names apart well enough.
const fn hash(bytes: &[u8]) -> usize {
    let length = bytes.len();
    if length == 0 {
        return 0;
    }
    let first = bytes[0].to_ascii_lowercase() as usize;
    let middle = bytes[length / 2].to_ascii_lowercase() as usize;
    let last = bytes[length - 1].to_ascii_lowercase() as usize;
    (length * 67 + first * 31 + middle * 7 + last * 131) % SLOT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for &name in Name::KNOWN {
            assert_eq!(Name::parse(name.as_str().as_bytes()), name);
            assert_eq!(Name::parse(name.as_str().to_uppercase().as_bytes()), name);
            assert_eq!(Name::parse(name.as_str().to_lowercase().as_bytes()), name);
        }
    }

    #[test]
    fn rfc3261_7_3_3_compact_forms_are_the_same_header() {
        let pairs = [
            ("v", Name::Via),
            ("F", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("l", Name::ContentLength),
            ("c", Name::ContentType),
            ("e", Name::ContentEncoding),
            ("s", Name::Subject),
            ("k", Name::Supported),
            ("x", Name::SessionExpires),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("o", Name::Event),
            ("u", Name::AllowEvents),
        ];
        for (text, name) in pairs {
            assert_eq!(Name::parse(text.as_bytes()), name, "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_other() {
        for text in ["", "q", "X-Anything", "Vias", "NewFangledHeader"] {
            assert_eq!(Name::parse(text.as_bytes()), Name::Other);
        }
    }
}
