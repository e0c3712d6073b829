// The phone: one JsSIP user agent, signed in or as a guest, and at most one call. It knows no page.
import JsSIP from "jssip";
import type { RTCSession } from "jssip/lib/RTCSession";
import type { RTCSessionEvent } from "jssip/lib/UA";
import { takeInstance, type Account } from "./account";
import { Call, PEER_CONNECTION, readAnswer, readPeer, type Answer, type CallEvents, type End, type Peer } from "./call";
import { sipHost } from "./server";

export type ServerState = "connecting" | "connected" | "disconnected";

/** `callOnly` may call but not be called; `waiting` tries again by itself; `refused` does not. */
export type Registration =
  | { state: "guest" | "registering" | "registered" }
  | { state: "callOnly"; answer: Answer }
  | { state: "waiting"; cause: string; answer: Answer | null; retryMs: number }
  | { state: "refused"; account: Account; answer: Answer | null };

export interface PhoneEvents extends CallEvents {
  server(state: ServerState): void;
  registration(now: Registration): void;
  incoming(call: Call): void;
  /** Somebody called while a call was up, and was told that this phone is busy. */
  turnedAway(peer: Peer): void;
}

/**
 * A registration is renewed long before it ends: browsers run the timers of a hidden tab only once a minute.
 * A renewal that gets no answer also shows that the connection is dead.
 */
const REGISTER_S = 300;
const RENEW_MS = 120_000;
const RECONNECT_MAX_S = 15;
const RETRY_MIN_MS = 2000;
const RETRY_MAX_MS = 60_000;
/** Whoever gets these gets them again: wrong credentials, unknown user, or a server without users. */
const REFUSALS = [401, 404, 405, 407, 501];
/** Longer than any server lets a phone ring. */
const NO_ANSWER_S = 300;

export class Phone {
  readonly instance = takeInstance();
  call: Call | null = null;
  account: Account | null = null;
  private agent: InstanceType<typeof JsSIP.UA> | null = null;
  private server = "";
  private renewal: number | null = null;
  private retry: number | null = null;
  private retryMs = RETRY_MIN_MS;

  constructor(private readonly events: PhoneEvents) {}

  /** Connects to a WebSocket address and registers the account, if any; throws when it is no such address. */
  connect(server: string, account: Account | null): void {
    const socket = new JsSIP.WebSocketInterface(server);
    this.close();
    this.server = server;
    this.account = account;
    const agent = new JsSIP.UA({
      sockets: [socket],
      user_agent: "Sidetone web phone",
      instance_id: this.instance,
      connection_recovery_max_interval: RECONNECT_MAX_S,
      no_answer_timeout: NO_ANSWER_S,
      ...identity(account, sipHost(server)),
    });
    this.agent = agent;
    this.watchConnection(agent);
    this.watchRegistration(agent);
    agent.on("newRTCSession", ({ session }: RTCSessionEvent) => this.take(session));
    this.events.registration({ state: account === null ? "guest" : "registering" });
    agent.start();
  }

  /** Calls a number, or a whole SIP URI, with the given audio; throws when it is neither. */
  dial(number: string, audio: MediaStream): void {
    if (this.agent === null || this.call !== null) return;
    const target = number.includes("@") ? number : `sip:${encodeURIComponent(number)}@${sipHost(this.server)}`;
    this.agent.call(target, { mediaStream: audio, pcConfig: PEER_CONNECTION });
  }

  get isConnected(): boolean {
    return this.agent?.isConnected() === true;
  }

  /** Connects at once instead of at the next try; a call that is up keeps its user agent. */
  reconnect(): void {
    if (!this.isConnected && this.call === null && this.agent !== null) this.connect(this.server, this.account);
  }

  /** Ends the call, withdraws the registration and leaves the server. */
  close(): void {
    this.call?.end();
    this.stopTimers();
    const agent = this.agent;
    this.agent = null;
    agent?.stop();
  }

  private watchConnection(agent: InstanceType<typeof JsSIP.UA>): void {
    agent.on("connecting", () => this.ifCurrent(agent, () => this.events.server("connecting")));
    agent.on("connected", () => this.ifCurrent(agent, () => {
      this.events.server("connected");
      if (this.account !== null) this.events.registration({ state: "registering" });
    }));
    agent.on("disconnected", () => this.ifCurrent(agent, () => {
      this.stopTimers();
      this.events.server("disconnected");
    }));
  }

  private watchRegistration(agent: InstanceType<typeof JsSIP.UA>): void {
    agent.on("registered", () => this.ifCurrent(agent, () => {
      this.stopTimers();
      this.retryMs = RETRY_MIN_MS;
      this.renewal = window.setInterval(() => agent.register(), RENEW_MS);
      this.events.registration({ state: "registered" });
    }));
    agent.on("registrationFailed", ({ response, cause }) => this.ifCurrent(agent, () => {
      this.stopTimers();
      this.registrationFailed(cause ?? "", readAnswer(response));
    }));
  }

  private registrationFailed(cause: string, answer: Answer | null): void {
    // JsSIP registers again by itself once it is connected again.
    if (cause === "Connection Error" || this.account === null) return;
    if (answer?.status === 403) return this.events.registration({ state: "callOnly", answer });
    if (REFUSALS.includes(answer?.status ?? 0)) {
      return this.events.registration({ state: "refused", account: this.account, answer });
    }
    const asked = Number(answer?.retryAfter?.match(/^\s*(\d+)/)?.[1] ?? 0) * 1000;
    const retryMs = Math.max(asked, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MAX_MS);
    this.retry = window.setTimeout(() => this.registerAgain(cause), retryMs);
    this.events.registration({ state: "waiting", cause, answer, retryMs });
  }

  /** A server that does not answer is asked over a new connection, unless a call still needs the old one. */
  private registerAgain(cause: string): void {
    if (cause === "Request Timeout" && this.call === null) this.connect(this.server, this.account);
    else this.agent?.register();
  }

  private take(session: RTCSession): void {
    if (this.call !== null) {
      session.terminate({ status_code: 486 });
      this.events.turnedAway(readPeer(session));
      return;
    }
    const call = new Call(session, {
      changed: (call) => this.events.changed(call),
      heard: (call, stream, receiver) => this.events.heard(call, stream, receiver),
      finished: (call, end) => this.finish(call, end),
    });
    this.call = call;
    if (call.isOutgoing) this.events.changed(call);
    else this.events.incoming(call);
  }

  private finish(call: Call, end: End): void {
    if (this.call === call) this.call = null;
    this.events.finished(call, end);
  }

  private stopTimers(): void {
    if (this.renewal !== null) window.clearInterval(this.renewal);
    if (this.retry !== null) window.clearTimeout(this.retry);
    this.renewal = this.retry = null;
  }

  private ifCurrent(agent: object, tell: () => void): void {
    if (this.agent === agent) tell();
  }
}

/** Who the user agent says it is, and how it proves it. */
function identity(account: Account | null, host: string) {
  if (account === null) return { uri: `sip:webphone@${host}`, display_name: "Web phone", register: false };
  const { user } = account;
  const secret = account.kind === "token"
    ? { authorization_jwt: `Bearer ${account.token}` }
    : { authorization_user: user, password: account.password };
  return { uri: `sip:${encodeURIComponent(user)}@${host}`, register: true, register_expires: REGISTER_S, ...secret };
}
