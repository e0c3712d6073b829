//! Where a call stands in its dialplan: the number it is at, and the time.

use dialplan::Moment;
use jiff::Zoned;

use super::LiveCall;

impl LiveCall {
    /// Goes to another number and context.
    pub(super) fn go_to(&mut self, number: &str, context: &str) {
        let user = self.shared.users.get(number);
        // Who may not be reached from outside does not exist there.
        let is_user = user.is_some_and(|user| user.public || !self.is_public);
        self.facts.destination_number = number.to_owned();
        self.facts.context = context.to_owned();
        self.facts.destination_user = is_user.then(|| number.to_owned());
    }
}

/// Now, in the time zone of the machine.
pub(crate) fn moment() -> Moment {
    let now = Zoned::now();
    Moment { unix_s: now.timestamp().as_second(), offset_s: now.offset().seconds() }
}
