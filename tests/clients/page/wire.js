// Sees what the libraries do without touching them: every SIP message, every peer connection.

/** SIP messages in order: when, which way, what. */
export const messages = [];
/** Peer connections in order. */
export const connections = [];
/** How offers are changed on their way out; set by the test. */
export const tampering = { candidates: "all", codec: null };

const trackListeners = new Set();

export function onTrack(listener) {
  trackListeners.add(listener);
}

function log(direction, data) {
  const text = typeof data === "string" ? data : new TextDecoder().decode(data);
  if (text.trim() === "") return;
  messages.push({ atMs: performance.now(), direction, text });
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
