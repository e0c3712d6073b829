// JsSIP with its defaults.
import JsSIP from "jssip";

/** Connects, and registers when there is a user; `happenings` hears what comes. */
export function connect(server, { user = null, password = null } = {}, happenings) {
  const host = new URL(server).hostname;
  const agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(server)],
    uri: `sip:${user ?? "guest"}@${host}`,
    password,
    register: user !== null,
  });
  let session = null;
  agent.on("registered", () => happenings.push("registered", { status: 200 }));
  agent.on("registrationFailed", ({ response, cause }) => happenings.push("refused", { status: response?.status_code ?? null, cause }));
  agent.on("newRTCSession", ({ originator, session: found }) => {
    // A second call is refused as a phone on a call would; the first one is not touched.
    if (originator === "remote" && session !== null && !session.isEnded()) {
      found.terminate({ status_code: 486 });
      return;
    }
    session = found;
    session.on("progress", ({ response }) => happenings.push("ringing", { status: response?.status_code ?? null }));
    session.on("confirmed", () => happenings.push("answered"));
    session.on("failed", ({ cause, message }) => happenings.push("failed", { cause, status: message?.status_code ?? null }));
    session.on("ended", ({ cause }) => happenings.push("ended", { cause }));
    session.on("newDTMF", ({ originator: whose, dtmf }) => whose === "remote" && happenings.push("digit", { digit: dtmf.tone }));
    if (originator === "remote") happenings.push("incoming", { from: session.remote_identity.uri.user });
  });
  return new Promise((resolve, reject) => {
    agent.once("disconnected", ({ code, reason }) => reject(new Error(`no WebSocket to ${server}: ${code} ${reason ?? ""}`)));
    agent.once("connected", () => resolve({
      dial: (number) => { agent.call(`sip:${number}@${host}`, { mediaConstraints: { audio: true, video: false } }); },
      answer: () => session.answer({ mediaConstraints: { audio: true, video: false } }),
      reject: () => session.terminate({ status_code: 486 }),
      hangUp: () => session.terminate(),
      sendDigit: (digit, durationMs = 100) => session.sendDTMF(digit, { transportType: "RFC2833", duration: durationMs }),
      sendInfoDigit: (digit) => session.sendDTMF(digit),
      hold: () => new Promise((done) => session.hold({}, done)),
      unhold: () => new Promise((done) => session.unhold({}, done)),
      update: () => new Promise((done) => session.renegotiate({ useUpdate: true }, done)),
      restartIce: () => new Promise((done) => session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, done)),
      stop: () => agent.stop(),
    }));
    agent.start();
  });
}
