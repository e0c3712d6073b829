// The phone: one JsSIP user agent and at most one call. It knows no page.
import JsSIP from "jssip";
import type { RTCSession } from "jssip/lib/RTCSession";
import { sipHost } from "./server";
import type { Answer } from "./words";

export type CallState = "idle" | "calling" | "ringing" | "answered" | "ended" | "failed";

export interface PhoneEvents {
  server(state: "connecting" | "connected" | "disconnected"): void;
  call(state: CallState): void;
  heard(stream: MediaStream): void;
  ended(who: "local" | "remote" | "system", cause: string, answer: Answer | null): void;
  failed(cause: string, answer: Answer | null): void;
}

interface Readable {
  getHeader(name: string): string | undefined;
  status_code?: number;
  reason_phrase?: string;
}

export class Phone {
  private agent: InstanceType<typeof JsSIP.UA> | null = null;
  private session: RTCSession | null = null;
  private server = "";

  constructor(private readonly events: PhoneEvents) {}

  /** Connects to a WebSocket address; throws when it is not one. */
  connect(server: string): void {
    const socket = new JsSIP.WebSocketInterface(server);
    this.close();
    this.server = server;
    const agent = new JsSIP.UA({
      sockets: [socket],
      uri: `sip:webphone@${sipHost(server)}`,
      display_name: "Web phone",
      register: false,
      user_agent: "Sidetone web phone",
    });
    this.agent = agent;
    agent.on("connecting", () => this.ifCurrent(agent, () => this.events.server("connecting")));
    agent.on("connected", () => this.ifCurrent(agent, () => this.events.server("connected")));
    agent.on("disconnected", () => this.ifCurrent(agent, () => this.events.server("disconnected")));
    agent.start();
  }

  /** Calls a number, or a whole SIP URI, with the given audio. */
  call(number: string, audio: MediaStream): void {
    if (this.agent === null || this.session !== null) return;
    const target = number.includes("@") ? number : `sip:${encodeURIComponent(number)}@${sipHost(this.server)}`;
    this.events.call("calling");
    const session = this.agent.call(target, {
      mediaStream: audio,
      pcConfig: { iceServers: [] },
      eventHandlers: {
        // The server learns our address from the first check, so one candidate is as good as all of them.
        icecandidate: ({ candidate, ready }) => {
          if (candidate.protocol === "udp") ready();
        },
        peerconnection: ({ peerconnection }) => this.listen(peerconnection),
        progress: () => this.events.call("ringing"),
        accepted: () => this.events.call("answered"),
        ended: ({ originator, message, cause }) => this.finish(() =>
          this.events.ended(originator as "local" | "remote" | "system", cause, read(message as Readable | null))),
        failed: ({ originator, message, cause }) => this.finish(() =>
          this.events.failed(cause, (originator as string) === "remote" ? read(message as Readable | null) : null)),
      },
    });
    // A call that failed at once has reported so already.
    if (!session.isEnded()) this.session = session;
  }

  hangUp(): void {
    if (this.session !== null && !this.session.isEnded()) this.session.terminate();
  }

  /** Sends a digit as RFC 4733 event when that was negotiated, else as INFO. */
  sendDigit(digit: string): void {
    if (this.session === null || !this.session.isEstablished()) return;
    const senders = this.session.connection.getSenders();
    const inMedia = senders.some((sender) => sender.dtmf?.canInsertDTMF === true);
    const { RFC2833, INFO } = JsSIP.C.DTMF_TRANSPORT;
    this.session.sendDTMF(digit, { transportType: inMedia ? RFC2833 : INFO, duration: 160, interToneGap: 70 });
  }

  get connection(): RTCPeerConnection | null {
    return this.session?.connection ?? null;
  }

  get isConnected(): boolean {
    return this.agent?.isConnected() === true;
  }

  /** Ends the call and leaves the server. */
  close(): void {
    this.hangUp();
    const agent = this.agent;
    this.agent = null;
    agent?.stop();
  }

  private listen(connection: RTCPeerConnection): void {
    connection.addEventListener("track", ({ streams, track }) => {
      this.events.heard(streams[0] ?? new MediaStream([track]));
    });
  }

  private finish(tell: () => void): void {
    this.session = null;
    tell();
  }

  private ifCurrent(agent: object, tell: () => void): void {
    if (this.agent === agent) tell();
  }
}

function read(message: Readable | null): Answer | null {
  if (message === null || message === undefined) return null;
  return {
    status: message.status_code ?? null,
    phrase: message.reason_phrase ?? "",
    warning: message.getHeader("Warning") ?? null,
    retryAfter: message.getHeader("Retry-After") ?? null,
    reason: message.getHeader("Reason") ?? null,
  };
}
