//! The media plane: session descriptions, RTP and SRTP, ICE-lite and DTLS, codecs, and the shards
//! that move every packet.
//!
//! It knows nothing of SIP: a session description arrives as bytes and leaves as a `String`, and
//! whoever signals decides when. Everything except [`net`] is sans-I/O: no socket, no thread and no
//! clock of its own; `now` is always the last argument.
//!
//! ```text
//!   offer ──► sdp::negotiate ──► Negotiated ──► answer            prompt::PromptStore
//!                                    │                                   │ Arc<Track>
//!                                    ▼                                   ▼
//!   packets ──► net ──► shard: stun, ice, dtls, srtp, rtp, rtcp, dtmf, playback, echo ──► net
//! ```
//!
//! What it deliberately is not: a general WebRTC stack. It answers as an ICE-lite endpoint, it
//! sends no ICE checks, it carries one audio stream per leg and no video.
//!
//! Start reading at [`sdp::Negotiated`] for what two sides agreed on, at [`prompt::Track`] for what
//! is played, and at [`shard`] for how it is sent.

pub mod codec;
pub mod dtls;
pub mod dtmf;
pub mod error;
pub mod ice;
pub mod net;
pub mod prompt;
pub mod recording;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod shard;
pub mod source;
pub mod srtp;
pub mod stun;

mod comfort_noise;
mod concealment;
mod jitter_buffer;
mod playout;
mod prefetch;
mod sample_queue;
mod transcoder;

pub use error::Error;
