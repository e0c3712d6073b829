//! Writes the leg's responses.

use transport::{Flow, Message, Name, ResponseWriter, TransportKind};

use super::{Leg, Pending, SUPPORTED};
use crate::event::{Action, Headers};
use crate::reject::{ALLOW, Refusal};
use crate::settings::Settings;

impl Leg {
    /// A response of ours up to its own header fields.
    pub(super) fn writer(&self, request: &Pending, status: u16) -> ResponseWriter {
        ResponseWriter::to(&request.message, &request.flow, status)
            .to_tag(&self.dialog.id().local_tag)
            .header(Name::Server, &self.settings.server)
    }

    /// The header fields of a response that makes or refreshes a dialog (RFC 3261 §12.1.1).
    pub(super) fn dialog_writer(&self, request: &Pending, status: u16) -> ResponseWriter {
        let writer = self.writer(request, status).header(Name::Contact, self.contact_value());
        if status < 200 {
            return writer;
        }
        let writer = writer.header(Name::Allow, ALLOW).header(Name::Supported, SUPPORTED);
        match &request.session {
            Some(session) if session.is_required => writer
                .header(Name::Require, SUPPORTED)
                .header(Name::SessionExpires, session.header()),
            Some(session) => writer.header(Name::SessionExpires, session.header()),
            None => writer,
        }
    }

    pub(super) fn respond(&mut self, request: &Pending, status: u16) {
        let bytes = self.writer(request, status).finish();
        self.actions.push_back(Action::Respond { id: request.id, status, bytes });
    }

    pub(super) fn refuse_with(&mut self, request: &Pending, status: u16, headers: Headers) {
        let writer = self.writer(request, status);
        let bytes = headers
            .into_iter()
            .fold(writer, |writer, (name, value)| writer.header(name, value))
            .finish();
        self.actions.push_back(Action::Respond { id: request.id, status, bytes });
    }

    pub(super) fn contact_value(&self) -> String {
        let scheme = if self.is_sips && self.flow.kind.is_secure() { "sips" } else { "sip" };
        let transport = match self.flow.kind {
            // RFC 7118 §5: a WebSocket is `ws` whether it is under TLS or not.
            TransportKind::Ws | TransportKind::Wss => ";transport=ws",
            TransportKind::Tcp => ";transport=tcp",
            // RFC 3261 §26.2.2: a SIPS URI says TLS by itself.
            TransportKind::Tls if !self.is_sips => ";transport=tls",
            TransportKind::Tls | TransportKind::Udp => "",
        };
        format!("<{scheme}:{}{transport}>", self.contact)
    }
}

/// A response that refuses a request, without a tag.
pub(crate) fn refuse_writer(
    request: &Message,
    flow: &Flow,
    refusal: &Refusal,
    settings: &Settings,
) -> ResponseWriter {
    let writer =
        ResponseWriter::to(request, flow, refusal.status()).header(Name::Server, &settings.server);
    refusal.headers().into_iter().fold(writer, |writer, (name, value)| writer.header(name, value))
}
