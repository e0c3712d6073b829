// One call, in either direction, from its first ring to its end. It knows no page.
import JsSIP from "jssip";
import type { IncomingEvent, OutgoingEvent, RTCSession } from "jssip/lib/RTCSession";

export type CallState = "calling" | "ringing" | "early" | "incoming" | "answering" | "answered";

/** The other side, as the signalling names it: `number` may be empty, `name` null. */
export interface Peer {
  number: string;
  name: string | null;
}

/** What is read from a SIP message to explain it. */
export interface Answer {
  status: number | null;
  phrase: string;
  warning: string | null;
  retryAfter: string | null;
  reason: string | null;
}

/** How a call ended: by whom (`system` is nobody), and why in the word of JsSIP. */
export interface End {
  who: "local" | "remote" | "system";
  cause: string;
  answer: Answer | null;
  wasAnswered: boolean;
}

export interface CallEvents {
  /** Its state, hold or mute changed. */
  changed(call: Call): void;
  heard(call: Call, stream: MediaStream, receiver: RTCRtpReceiver): void;
  finished(call: Call, end: End): void;
}

/** No STUN or TURN server: the server's address is in its description, and it learns ours from our checks. */
export const PEER_CONNECTION: RTCConfiguration = { iceServers: [] };

const DIGIT_MS = 160;
const DIGIT_GAP_MS = 70;
const NAME_LENGTH_MAX = 80;

export class Call {
  state: CallState;
  readonly isOutgoing: boolean;
  readonly peer: Peer;
  private hasEnded = false;
  private isEndedHere = false;

  constructor(private readonly session: RTCSession, private readonly events: CallEvents) {
    this.isOutgoing = (session.direction as string) === "outgoing";
    this.state = this.isOutgoing ? "calling" : "incoming";
    this.peer = readPeer(session);
    this.watchSession();
    // An outgoing call has its connection already; an incoming one makes it when it is answered.
    if (this.isOutgoing) this.watchConnection(session.connection);
    else session.on("peerconnection", ({ peerconnection }) => this.watchConnection(peerconnection));
  }

  get connection(): RTCPeerConnection | null {
    return this.hasEnded ? null : (this.session.connection ?? null);
  }

  get isMuted(): boolean {
    return this.session.isMuted().audio === true;
  }

  get hold(): { local: boolean; remote: boolean } {
    return this.session.isOnHold();
  }

  /** Answers with the given audio; false when the caller has gone meanwhile. */
  answer(audio: MediaStream): boolean {
    if (this.state !== "incoming" || this.hasEnded) return false;
    this.become("answering");
    this.session.answer({ mediaStream: audio, pcConfig: PEER_CONNECTION });
    return true;
  }

  /** Rejects, cancels or hangs up, whichever is due. */
  end(): void {
    if (this.hasEnded || this.session.isEnded()) return;
    this.isEndedHere = true;
    this.session.terminate(this.state === "incoming" ? { status_code: 603 } : {});
  }

  setMuted(isMuted: boolean): void {
    const audio = { audio: true };
    if (isMuted) this.session.mute(audio);
    else this.session.unmute(audio);
  }

  /** Asks the server to hold or resume; false when another change of the call is under way. */
  setHold(isHeld: boolean): boolean {
    if (this.state !== "answered") return false;
    return isHeld ? this.session.hold() : this.session.unhold();
  }

  /** Sends a digit as RFC 4733 event when that was negotiated, else as INFO. */
  sendDigit(digit: string): boolean {
    if (this.hasEnded || (this.state !== "answered" && this.state !== "early")) return false;
    const isInMedia = this.session.connection.getSenders().some((sender) => sender.dtmf?.canInsertDTMF === true);
    const { RFC2833, INFO } = JsSIP.C.DTMF_TRANSPORT;
    this.session.sendDTMF(digit, {
      transportType: isInMedia ? RFC2833 : INFO,
      duration: DIGIT_MS,
      interToneGap: DIGIT_GAP_MS,
    });
    return true;
  }

  private watchSession(): void {
    const { session } = this;
    session.on("progress", (event: IncomingEvent | OutgoingEvent) => {
      if (!("response" in event) || event.response === null || this.state === "early") return;
      this.become(event.response.body ? "early" : "ringing");
    });
    session.on("accepted", () => this.become("answered"));
    for (const change of ["hold", "unhold", "muted", "unmuted"] as const) {
      session.on(change, () => this.events.changed(this));
    }
    // One candidate is as good as all of them, since the server learns our address from the first check.
    session.on("icecandidate", ({ candidate, ready }) => {
      if (candidate.protocol === "udp") ready();
    });
    for (const ending of ["ended", "failed"] as const) {
      session.on(ending, ({ originator, message, cause }) => {
        this.hasEnded = true;
        // JsSIP also calls local what it ends for itself, as when the connection breaks.
        const who = (originator as End["who"]) === "remote" ? "remote" : this.isEndedHere ? "local" : "system";
        const answer = who === "remote" ? readAnswer(message) : null;
        this.events.finished(this, { who, cause, answer, wasAnswered: ending === "ended" });
      });
    }
  }

  private watchConnection(connection: RTCPeerConnection): void {
    connection.addEventListener("track", ({ streams, track, receiver }) => {
      this.events.heard(this, streams[0] ?? new MediaStream([track]), receiver);
    });
    // JsSIP watches ICE alone, which Chromium leaves disconnected when nothing comes any more.
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "failed" && this.state === "answered") this.lose();
    });
  }

  /** Ends a call whose server has gone. */
  private lose(): void {
    if (this.hasEnded || this.session.isEnded()) return;
    this.session.terminate({ cause: JsSIP.C.causes.RTP_TIMEOUT });
  }

  private become(state: CallState): void {
    this.state = state;
    this.events.changed(this);
  }
}

interface Readable {
  getHeader(name: string): string | undefined;
  status_code?: number;
  reason_phrase?: string;
}

/** Reads what explains a message; JsSIP passes none for what it decided itself. */
export function readAnswer(message: Readable | null | undefined): Answer | null {
  if (message === null || message === undefined) return null;
  return {
    status: message.status_code ?? null,
    phrase: message.reason_phrase ?? "",
    warning: message.getHeader("Warning") ?? null,
    retryAfter: message.getHeader("Retry-After") ?? null,
    reason: message.getHeader("Reason") ?? null,
  };
}

/** The name and number of whoever is at the other end of a session. */
export function readPeer(session: RTCSession): Peer {
  const { display_name: name, uri } = session.remote_identity;
  const number = uri.user === "anonymous" ? "" : decode(uri.user ?? "");
  const shown = (name ?? "").trim().slice(0, NAME_LENGTH_MAX);
  return { number, name: shown === "" || shown === number ? null : shown };
}

function decode(user: string): string {
  try {
    return decodeURIComponent(user);
  } catch {
    return user;
  }
}
