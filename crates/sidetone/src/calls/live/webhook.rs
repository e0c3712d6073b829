//! Webhooks of the dialplan.

use std::collections::BTreeMap;
use std::sync::Arc;

use dialplan::{Ended, WebhookRequest};
use serde_json::json;
use tokio::time::Instant;

use super::{LiveCall, Step};
use crate::metrics::WebhookResult;

impl LiveCall {
    /// Asks while the caller is served; the end of the call ends the request.
    pub(super) async fn ask_webhook(
        &mut self,
        request: &WebhookRequest,
    ) -> Result<Result<String, String>, Ended> {
        let (shared, began) = (Arc::clone(&self.shared), Instant::now());
        let answer = {
            let body = self.webhook_body();
            let asked = shared.webhooks.ask(&request.url, body.into(), request.deadline);
            tokio::pin!(asked);
            loop {
                match self.step(&mut asked, None).await {
                    Ok(Step::Other(answer)) => break answer,
                    Ok(Step::Caller(notice)) => self.keep_key(&notice),
                    Ok(Step::Deadline) => {}
                    Err(ended) => {
                        shared.metrics.webhook(WebhookResult::Abandoned, began.elapsed());
                        return Err(ended);
                    }
                }
            }
        };
        shared.metrics.webhook(WebhookResult::of(&answer), began.elapsed());
        Ok(answer.map_err(|error| error.to_string()))
    }

    /// `{"facts": {"destination_number": "199", …}, "variables": {…}}`
    fn webhook_body(&self) -> String {
        let facts: BTreeMap<_, _> = self.facts.iter().collect();
        let variables: BTreeMap<_, _> = self.variables.iter().collect();
        json!({ "facts": facts, "variables": variables }).to_string()
    }
}
