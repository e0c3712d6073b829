//! The sockets and threads that drive the shards.
