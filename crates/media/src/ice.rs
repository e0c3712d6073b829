//! The ICE-lite responder (RFC 8445 §2.5).
