//! DIALSTATUS, which Dial leaves behind.

use dialplan::{
    DraftAction, DraftCondition, DraftContext, DraftExtension, DraftTest, Location, Subject, Value,
};

/// The context that turns the outcome of a bridge into DIALSTATUS.
pub(super) fn dial_status(name: &str) -> DraftContext {
    let location = Location::default();
    let rows: [(&str, &[&str]); 5] = [
        ("ANSWER", &["SUCCESS", "NORMAL_CLEARING"]),
        ("BUSY", &["USER_BUSY", "CALL_REJECTED"]),
        (
            "NOANSWER",
            &["NO_ANSWER", "NO_USER_RESPONSE", "ALLOTTED_TIMEOUT", "RECOVERY_ON_TIMER_EXPIRE"],
        ),
        (
            "CONGESTION",
            &["NORMAL_CIRCUIT_CONGESTION", "SWITCH_CONGESTION", "NORMAL_TEMPORARY_FAILURE"],
        ),
        ("CANCEL", &["ORIGINATOR_CANCEL"]),
    ];
    let set = |status: &str| {
        vec![DraftAction::new("set", format!("DIALSTATUS={status}"), location.clone())]
    };
    let row = |status: &str, values: Vec<Value>| DraftExtension {
        name: status.to_owned(),
        conditions: vec![DraftCondition {
            tests: match values.is_empty() {
                true => Vec::new(),
                false => {
                    let field = "${originate_disposition}".to_owned();
                    let subject = Subject::Field { field, values };
                    vec![DraftTest { subject, location: location.clone() }]
                }
            },
            actions: set(status),
            ..DraftCondition::default()
        }],
        ..DraftExtension::default()
    };
    let mut extensions: Vec<DraftExtension> = rows
        .iter()
        .map(|(status, causes)| {
            row(status, causes.iter().map(|cause| Value::Literal((*cause).to_owned())).collect())
        })
        .collect();
    extensions.push(row("CHANUNAVAIL", Vec::new()));
    DraftContext {
        name: name.to_owned(),
        comment: "Sets DIALSTATUS after a bridge that did not end the call.".to_owned(),
        extensions,
        ..DraftContext::default()
    }
}
