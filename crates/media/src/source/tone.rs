//! Tones made from a script.
