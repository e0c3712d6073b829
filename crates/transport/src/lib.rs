//! SIP messages, and the sockets that carry them.
//!
//! ```text
//!   sockets (net) --bytes--> framing --Bytes--> Message::parse --> validate --> the layer above
//!   sockets (net) <--Bytes-- ResponseWriter / RequestWriter <-- routing <----- the layer above
//! ```
//!
//! Everything outside [`net`] is pure: no socket, no clock, no task. A [`Message`] is the bytes as
//! they came and an index of where the start line, the header lines and the body are; values are
//! read when asked for. What the bytes of a peer mean is decided here and only here, so that no
//! two parts of the product can read one message in two ways.
//!
//! This crate does not know transactions or dialogs, and it opens no body.
//!
//! Start reading at [`Message`], then [`validate()`] and [`ResponseWriter`].

mod error;
mod flow;
pub mod framing;
mod index;
mod message;
mod method;
mod name;
mod name_addr;
pub mod net;
pub mod reason;
pub mod routing;
pub mod split;
mod stun;
mod uri;
mod uri_equivalence;
mod validate;
mod via;
pub mod vocabulary;
pub mod websocket;
mod write;

pub use error::{Error, Fault, ParseError};
pub use flow::{Flow, FlowId, TransportKind};
pub use index::{Framing, Limits};
pub use message::{CSeq, HeaderLine, Message};
pub use method::{Method, Token};
pub use name::Name;
pub use name_addr::{NameAddr, tag_of};
pub use split::Param;
pub use uri::{Host, Scheme, Uri};
pub use validate::{Policy, Rejection, next_max_forwards, validate};
pub use via::Via;
pub use write::{RequestWriter, ResponseWriter};
