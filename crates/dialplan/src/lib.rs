//! Which applications a call runs.
//!
//! A dialplan is read once, at start, into a [`Plan`]: contexts hold extensions, an extension holds conditions,
//! a condition holds actions, an action names an application. What is wrong with it is said then, with file and
//! line; at run time nothing can be malformed except what a `${variable}` brings in.
//!
//! ```text
//!  XML files ──► xml ──► Plan ──route(context, facts)──► Route ──run(plan, route, call)──► Outcome
//!                         │                                 │            │
//!              app::APPLICATIONS parse            or NoMatch, which    each application is
//!              their arguments                    says why not         one async fn over Call
//! ```
//!
//! This crate knows neither SIP nor RTP: what an application may do to a call is the trait [`Call`], and the
//! server implements it. It opens no file: sounds are names ([`SoundName`]), tones are scripts ([`ToneScript`]).
//!
//! Start reading at [`Plan`], then at `app/playback.rs`, which shows all there is to an application.

mod bridge;
mod call;
mod cause;
mod check;
mod compile;
mod dial;
mod draft;
mod error;
mod explain;
mod facts;
mod filled;
mod gate;
mod gather;
mod hunt;
mod index;
mod model;
mod moment;
mod needs;
mod network;
mod pattern;
mod pattern_set;
mod play;
mod read;
mod recording;
mod run;
#[cfg(test)]
mod script;
mod sound;
mod text;
mod toml_read;
mod toml_write;
mod tone;
mod variables;
mod webhook;
mod xml;

pub mod app;

pub use app::application_names;
pub use bridge::{BridgeOutcome, BridgeRequest, Destination, Target};
pub use call::{Call, Ended, EndedBy, Level};
pub use cause::Cause;
pub use check::{Reachable, SoundCheck, Surroundings, UserCheck};
pub use draft::{
    Break, Combine, Draft, DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest,
    Subject, Value,
};
pub use error::{Error, Fault, Finding, Location};
pub use explain::{Explanation, Failed, NoMatch, NoMatchReason};
pub use facts::{Fact, Facts, Further};
pub use hunt::Situation;
pub use model::{Action, Condition, Context, Extension, Globals, Number, Plan, Test};
pub use moment::Moment;
pub use pattern::{Captures, Pattern};
pub use pattern_set::PatternSet;
pub use play::{Play, Playable};
pub use read::{Includes, Limits, LoadOptions, Source};
pub use recording::{RecordRequest, Recorded};
pub use run::{Outcome, Route, run};
pub use sound::SoundName;
pub use tone::{Repeat, Tone, ToneScript};
pub use variables::{NAME_BYTES_MAX, VALUE_BYTES_MAX, VARIABLES_MAX, VariableError, Variables};
pub use webhook::WebhookRequest;
