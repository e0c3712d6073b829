//! The sockets and threads that drive the shards.
//!
//! ```text
//!   open, command ──► bounded queue, eventfd ──► thread media-N: epoll ──► Shard ──► sendmmsg
//!   LegHandle::events ◄── bounded channel ◄───────────────┘
//! ```

#![allow(clippy::disallowed_methods, reason = "sockets and threads read the clock")]

mod control;
mod keys;
mod local_networks;
mod outbox;
mod own;
mod pace;
mod plane;
mod port_map;
mod ports;
mod readers;
mod recorder;
mod ring;
mod rounds;
mod starting;
mod steady;
mod sys;
mod thread;
mod token;
mod wakes;

pub use control::{CommandError, LegHandle};
pub use local_networks::{LocalNetworks, NoNetwork};
pub use plane::{MediaConfig, MediaPlane, OpenError, PlaneCounters, SHARDS_MAX, StartError};
pub use port_map::{NoPortRange, PortMap, PortRange};
pub use recorder::{
    Finished, RecordError, Recorder, RecorderConfig, RecorderCounters, Recording, RecordingEnd,
    RecordingOptions,
};
pub use wakes::{put_off_wakes, wake_shards};
