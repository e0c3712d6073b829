// SIP.js with its defaults.
import { Inviter, Registerer, SessionState, UserAgent } from "sip.js";

/** Connects, and registers when there is a user; `happenings` hears what comes. */
export async function connect(server, { user = null, password = null } = {}, happenings) {
  const host = new URL(server).hostname;
  let session = null;
  const agent = new UserAgent({
    uri: UserAgent.makeURI(`sip:${user ?? "guest"}@${host}`),
    transportOptions: { server },
    authorizationUsername: user ?? "",
    authorizationPassword: password ?? "",
    logBuiltinEnabled: false,
    delegate: {
      onInvite: (invitation) => {
        if (session !== null && session.state !== SessionState.Terminated) {
          invitation.reject({ statusCode: 486 });
          return;
        }
        session = follow(invitation, happenings);
        happenings.push("incoming", { from: invitation.remoteIdentity.uri.user });
      },
    },
  });
  await agent.start();
  if (user !== null) {
    new Registerer(agent).register({
      requestDelegate: {
        onAccept: () => happenings.push("registered", { status: 200 }),
        onReject: ({ message }) => happenings.push("refused", { status: message.statusCode }),
      },
    });
  }
  return {
    dial(number) {
      session = follow(new Inviter(agent, UserAgent.makeURI(`sip:${number}@${host}`)), happenings);
      session.invite({
        requestDelegate: {
          onProgress: ({ message }) => happenings.push("ringing", { status: message.statusCode }),
          onReject: ({ message }) => happenings.push("failed", { cause: message.reasonPhrase, status: message.statusCode }),
        },
      }).catch((error) => happenings.push("failed", { cause: String(error), status: null }));
    },
    answer: () => session.accept(),
    reject: () => session.reject({ statusCode: 486 }),
    hangUp: () => hangUp(session),
    sendDigit: (digit) => session.sessionDescriptionHandler.sendDtmf(digit),
    sendInfoDigit: (digit) => session.info({
      requestOptions: {
        body: { contentDisposition: "render", contentType: "application/dtmf-relay", content: `Signal=${digit}\r\nDuration=160` },
      },
    }),
    hold: () => reinvite(session, { hold: true }),
    unhold: () => reinvite(session, { hold: false }),
    restartIce: () => reinvite(session, { offerOptions: { iceRestart: true } }),
    stop: () => agent.stop(),
  };
}

function follow(session, happenings) {
  session.delegate = {
    onInfo: (info) => {
      info.accept();
      const digit = /^\s*(?:Signal\s*=\s*)?([0-9A-D*#])/i.exec(info.request.body);
      if (digit !== null) happenings.push("digit", { digit: digit[1] });
    },
  };
  session.stateChange.addListener((state) => {
    if (state === SessionState.Established) happenings.push("answered");
    if (state === SessionState.Terminated) happenings.push("ended");
  });
  return session;
}

/** Whatever ends a call in its state. */
function hangUp(session) {
  if (session.state === SessionState.Established) return session.bye();
  return session instanceof Inviter ? session.cancel() : session.reject();
}

function reinvite(session, sessionDescriptionHandlerOptions) {
  return new Promise((resolve, reject) => {
    session.invite({
      sessionDescriptionHandlerOptions,
      requestDelegate: {
        onAccept: () => resolve(),
        onReject: ({ message }) => reject(new Error(`re-INVITE refused: ${message.statusCode}`)),
      },
    }).catch(reject);
  });
}
