// SIP.js with its defaults.
import { Inviter, SessionState, UserAgent } from "sip.js";

export async function connect(server) {
  const host = new URL(server).hostname;
  const agent = new UserAgent({
    uri: UserAgent.makeURI(`sip:guest@${host}`),
    transportOptions: { server },
    logBuiltinEnabled: false,
  });
  let session = null;
  await agent.start();
  return {
    call(number) {
      session = new Inviter(agent, UserAgent.makeURI(`sip:${number}@${host}`));
      return new Promise((answered, failed) => {
        session.stateChange.addListener((state) => {
          if (state === SessionState.Established) answered({ isAnswered: true });
        });
        session.invite({
          requestDelegate: {
            onReject: ({ message }) => answered({ isAnswered: false, cause: message.reasonPhrase, status: message.statusCode }),
          },
        }).catch(failed);
      });
    },
    hangUp: () => session.bye(),
    ended: () => new Promise((done) => {
      if (session.state === SessionState.Terminated) done();
      else session.stateChange.addListener((state) => state === SessionState.Terminated && done());
    }),
    sendDigit: (digit) => session.sessionDescriptionHandler.sendDtmf(digit),
    sendInfoDigit: (digit) => session.info({
      requestOptions: {
        body: { contentDisposition: "render", contentType: "application/dtmf-relay", content: `Signal=${digit}\r\nDuration=160` },
      },
    }),
    hold: () => reinvite(session, { hold: true }),
    unhold: () => reinvite(session, { hold: false }),
    restartIce: () => reinvite(session, { offerOptions: { iceRestart: true } }),
  };
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
