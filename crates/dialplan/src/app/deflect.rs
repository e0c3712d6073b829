//! `deflect`: like `redirect`, under the name that FreeSWITCH has for calls in any state.

use super::redirect::Redirect;
use super::{Argument, Entry, Globals, Parsed};
use crate::text::Text;

pub(super) const ENTRY: Entry = Entry {
    name: "deflect",
    summary: "Sends a call that is not answered somewhere else with 302, as redirect does; an answered call goes on \
              as it is: it would need REFER, which is not sent yet.",
    arguments: &[Argument { name: "address", reading: "sip:NUMBER@HOST" }],
    parse,
};

fn parse(data: &Text, _: &Globals) -> Parsed {
    Ok(Box::new(Redirect::parse("deflect", data)?))
}

#[cfg(test)]
mod tests {
    use crate::script::actions;

    #[tokio::test(start_paused = true)]
    async fn before_the_answer_it_redirects() {
        let call = actions(&[("deflect", "sip:$1@192.0.2.1")]).await;
        assert_eq!(call.log(), ["0 redirect sip:2000@192.0.2.1"]);
        let call = actions(&[("answer", ""), ("deflect", "sip:1@192.0.2.1")]).await;
        assert_eq!(call.log()[1], "0 log Warning deflect: the call is answered; nothing is sent");
    }
}
