// JsSIP with its defaults.
import JsSIP from "jssip";

export function connect(server) {
  const host = new URL(server).hostname;
  const agent = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(server)], uri: `sip:guest@${host}`, register: false });
  let session = null;
  return new Promise((resolve, reject) => {
    agent.once("disconnected", ({ code, reason }) => reject(new Error(`no WebSocket to ${server}: ${code} ${reason ?? ""}`)));
    agent.once("connected", () => resolve({
      call(number) {
        return new Promise((answered) => {
          session = agent.call(`sip:${number}@${host}`, {
            mediaConstraints: { audio: true, video: false },
            eventHandlers: {
              confirmed: () => answered({ isAnswered: true }),
              failed: ({ cause, message }) => answered({ isAnswered: false, cause, status: message?.status_code ?? null }),
            },
          });
        });
      },
      hangUp: () => session.terminate(),
      ended: () => new Promise((done) => {
        if (session.isEnded()) done();
        else session.once("ended", () => done());
      }),
      sendDigit: (digit) => session.sendDTMF(digit, { transportType: "RFC2833" }),
      sendInfoDigit: (digit) => session.sendDTMF(digit),
      hold: () => new Promise((done) => session.hold({}, done)),
      unhold: () => new Promise((done) => session.unhold({}, done)),
      update: () => new Promise((done) => session.renegotiate({ useUpdate: true }, done)),
      restartIce: () => new Promise((done) => session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, done)),
    }));
    agent.start();
  });
}
