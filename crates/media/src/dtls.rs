//! DTLS-SRTP key agreement (RFC 5764).
