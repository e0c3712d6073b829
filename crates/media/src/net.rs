//! The sockets and threads that drive the shards.

mod plane;

pub use plane::{
    CommandError, LegHandle, MediaConfig, MediaPlane, OpenError, PlaneCounters, StartError,
};
