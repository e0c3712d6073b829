//! What is served over HTTP: the web phone on the web listeners; metrics, health and reload on the
//! control port.

pub mod access;
pub mod control;
pub mod phone;
pub(crate) mod serve;
