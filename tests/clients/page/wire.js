// Sees what the libraries do without touching them: every SIP message, every peer connection.

/** SIP messages in order: when, which way, what. */
export const messages = [];
/** Peer connections in order. */
export const connections = [];
/** How offers are changed on their way out; set by the test. */
export const tampering = { candidates: "all", codec: null };

const trackListeners = new Set();
const messageListeners = new Set();

export function onTrack(listener) {
  trackListeners.add(listener);
}

/** Resolves with the first message, past or future, that a test accepts. */
export function messageThat(accepts, withinMs) {
  const past = messages.find(accepts);
  if (past !== undefined) return Promise.resolve(past);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      messageListeners.delete(listener);
      reject(new Error(`no such SIP message within ${withinMs} ms; seen: ${messages.map(firstLine).join(" | ")}`));
    }, withinMs);
    const listener = (message) => {
      if (!accepts(message)) return;
      clearTimeout(timer);
      messageListeners.delete(listener);
      resolve(message);
    };
    messageListeners.add(listener);
  });
}

function firstLine({ direction, text }) {
  return `${direction} ${text.split("\r\n", 1)[0]}`;
}

function log(direction, data) {
  const text = typeof data === "string" ? data : new TextDecoder().decode(data);
  if (text.trim() === "") return;
  const message = { atMs: performance.now(), direction, text };
  messages.push(message);
  for (const listener of [...messageListeners]) listener(message);
}

class LoggedWebSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => log("in", data));
  }

  send(data) {
    const changed = typeof data === "string" && data.startsWith("INVITE ") ? tamper(data) : data;
    log("out", changed);
    super.send(changed);
  }
}

class LoggedPeerConnection extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    connections.push(this);
    this.addEventListener("track", ({ streams, track }) => {
      for (const listener of trackListeners) listener(streams[0] ?? new MediaStream([track]));
    });
  }

  createOffer(...args) {
    if (tampering.codec !== null) {
      const all = RTCRtpReceiver.getCapabilities("audio").codecs;
      const kept = all.filter(({ mimeType }) => [tampering.codec, "telephone-event"].includes(mimeType.slice(6)));
      for (const transceiver of this.getTransceivers()) transceiver.setCodecPreferences(kept);
    }
    return super.createOffer(...args);
  }
}

window.WebSocket = LoggedWebSocket;
window.RTCPeerConnection = LoggedPeerConnection;

/** Takes candidates out of an INVITE, as a network that hides them would. */
function tamper(invite) {
  if (tampering.candidates === "all") return invite;
  const end = invite.indexOf("\r\n\r\n") + 4;
  let kept = tampering.candidates === "one" ? 1 : 0;
  const body = invite.slice(end)
    .replace(/^a=end-of-candidates\r\n/gm, "")
    .replace(/^a=candidate:.*\r\n/gm, (line) => {
      kept -= 1;
      return kept >= 0 ? line : "";
    });
  const length = new TextEncoder().encode(body).length;
  return invite.slice(0, end).replace(/^Content-Length:.*$/im, `Content-Length: ${length}`) + body;
}
