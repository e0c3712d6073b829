//! What can be played besides sound files: tones and silence.

pub mod tone;
