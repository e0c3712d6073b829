//! Tokio shells around the sockets: read, write, nothing decided here.
