//! The phone that is called by the scenarios of two legs.

use media::codec::Codec;

use crate::called::{Called, CalledOptions};
use crate::digest::Account;
use crate::error::Error;
use crate::server::Server;

/// Registers the phone; with a codec it talks.
pub(super) fn start(server: &Server, codec: Option<Codec>) -> Result<Called, Error> {
    let account = Account { name: NAME.to_owned(), password: PASSWORD.to_owned() };
    Called::start(CalledOptions { server: server.udp()?, account, codec })
}

/// The number that it is called by.
pub(super) const NAME: &str = "phone";
const PASSWORD: &str = "phone-pass";
/// Its part of the server's configuration: a user whom callers without a password may reach.
pub(super) const SECTION: &str = "\n[users.phone]\npassword = \"phone-pass\"\npublic = true\n\n\
                                  [dialplan]\ncontext = \"internal\"\n";
