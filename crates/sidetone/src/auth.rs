//! Who a caller is.

mod algorithm;

pub use algorithm::{Algorithm, Hex};
