//! Sidetone: a SIP B2BUA with its own media plane in one process.
//!
//! This crate joins the others: it carries messages from the sockets to transactions and dialogs,
//! session descriptions from dialogs to media, and lets the dialplan drive each call. It holds no
//! protocol rules of its own.
//!
//! ```text
//!   transport::net ─► signaling (transactions, legs) ─► calls (one task per call) ◄─ dialplan
//!                                                         │
//!                                                   media shards (threads)
//! ```
//!
//! Start reading at [`Server::start`].

pub mod address;
pub mod auth;
pub mod banner;
pub mod calls;
pub mod certificate;
pub mod cli;
pub mod config;
pub mod health;
pub mod http;
pub mod import;
pub mod limits;
pub mod loaded;
pub mod logging;
pub mod metrics;
pub mod plan;
mod private_file;
pub mod registrar;
pub mod reload;
pub mod server;
pub mod signaling;
pub mod state_dir;
mod tones;
mod trust;
pub mod users;
pub mod webhook;

pub use config::Config;
pub use server::{Server, StartError};

/// Makes ring the one provider of cryptography for TLS; further calls change nothing.
pub fn install_crypto_provider() {
    // An error says that a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
