//! What is served over HTTP: the web phone on the web listeners, metrics and health on the
//! control port.

pub mod control;
pub mod phone;
