//! Runs the actions of an extension on a call.

use std::sync::Arc;

use crate::call::{Call, Ended};
use crate::cause::Cause;
use crate::error::Location;
use crate::model::{Extension, Globals};
use crate::pattern::Captures;
use crate::text::Scope;

/// The extension that was found for a call, and what its expressions captured.
#[derive(Clone, Debug)]
pub struct Route {
    context: String,
    extension: Arc<Extension>,
    /// One per condition of the extension.
    captures: Vec<Captures>,
    globals: Arc<Globals>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who ended the call, and why.
    pub ended: Ended,
    /// The application that was running, and where it is written; `None` if the actions had run out.
    pub during: Option<(&'static str, Location)>,
}

impl Route {
    pub(crate) fn new(
        context: String,
        extension: Arc<Extension>,
        captures: Vec<Captures>,
        globals: Arc<Globals>,
    ) -> Route {
        Route { context, extension, captures, globals }
    }

    /// The context.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The extension.
    pub fn extension(&self) -> &Extension {
        &self.extension
    }
}

/// Runs the actions of a route one after another, until the call ends. When they run out the call is hung up with
/// NORMAL_CLEARING, as FreeSWITCH does. The future may be dropped at any time.
pub async fn run(route: &Route, call: &mut dyn Call) -> Outcome {
    for (condition, captures) in route.extension.conditions.iter().zip(&route.captures) {
        let scope = Scope { captures, globals: &route.globals };
        for action in &condition.actions {
            tracing::debug!(application = action.application, location = %action.location, "running");
            if let Err(ended) = action.compiled.run(call, scope).await {
                return Outcome {
                    ended,
                    during: Some((action.application, action.location.clone())),
                };
            }
        }
    }
    Outcome { ended: call.hang_up(Cause::NORMAL_CLEARING).await, during: None }
}
