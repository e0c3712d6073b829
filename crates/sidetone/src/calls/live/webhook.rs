//! Webhooks of the dialplan.

use dialplan::{Ended, WebhookRequest};

use super::LiveCall;

impl LiveCall {
    pub(super) async fn ask_webhook(
        &mut self,
        _: &WebhookRequest,
    ) -> Result<Result<String, String>, Ended> {
        Ok(Err("this version cannot send requests yet".to_owned()))
    }
}
