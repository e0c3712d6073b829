// Plain words for what happens to a call and to a registration, above all for what goes wrong.
import type { Account } from "./account";
import type { Answer, Call, CallState, End, Peer } from "./call";
import type { MicrophoneProblem } from "./microphone";
import type { Registration } from "./phone";

export function peer({ number, name }: Peer): string {
  if (name === null) return number || "an unknown caller";
  return number === "" ? name : `${name} (${number})`;
}

export function callState(call: Call): string {
  const other = peer(call.peer);
  const states: Record<CallState, string> = {
    calling: `Calling ${other}`,
    ringing: `Ringing at ${other}`,
    early: `Waiting for ${other} to answer`,
    incoming: `${sentence(other)} is calling`,
    answering: `Answering ${other}`,
    answered: `In a call with ${other}`,
  };
  const { local, remote } = call.hold;
  if (local) return remote ? `${sentence(other)} and you hold the call` : `You hold the call with ${other}`;
  return remote ? `${sentence(other)} holds the call` : states[call.state];
}

function sentence(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Whether an account might get through where a guest did not. */
export function mayNeedAccount(answer: Answer | null): boolean {
  return [401, 403, 404, 407].includes(answer?.status ?? 0);
}

/** Why an outgoing call was not answered. */
export function failure(number: string, { cause, answer, who }: End, isSignedIn: boolean): string {
  if (answer?.status != null) return refusal(number, answer, isSignedIn);
  switch (cause) {
    case "Canceled":
      if (who === "local") return "You hung up before the call was answered.";
      return "The connection to the server broke while the call was set up.";
    case "Request Timeout":
      return "The server did not answer the call within 32 seconds.";
    case "User Denied Media Access":
      return microphone("refused");
    case "Bad Media Description":
      return "The browser could not use the server's answer (bad media description).";
    case "WebRTC Error":
      return "The browser could not set up audio for this call (WebRTC error).";
    case "No ACK":
      return "The browser's confirmation did not reach the server.";
    default:
      return `The call failed: ${cause}.`;
  }
}

function refusal(number: string, answer: Answer, isSignedIn: boolean): string {
  const code = statusWords(answer);
  switch (answer.status) {
    case 401:
    case 407:
      return isSignedIn
        ? `The server no longer accepts your sign-in for a call to ${number} (${code}). Sign in again.`
        : `Sign in to call ${number} (${code}).`;
    case 403:
      return `You may not call ${number} (${code}).`;
    case 404:
    case 604:
      return `There is no number ${number} on this server`
        + `${isSignedIn ? "" : " for callers who are not signed in"} (${code}).`;
    case 408:
      return `${number} did not answer (${code}).`;
    case 410:
      return `The number ${number} is no longer in use (${code}).`;
    case 480:
      return `${number} is not registered or does not answer (${code}).`;
    case 484:
      return `The number ${number} is incomplete (${code}).`;
    case 486:
    case 600:
      return `${number} is busy (${code}).`;
    case 487:
      return "The call was cancelled before it was answered.";
    case 488:
    case 606:
      return `${number} cannot use the audio that this browser offers (${code}).${warned(answer)}`;
    case 502:
    case 504:
      return `The phone or line of ${number} cannot be reached (${code}).`;
    case 503:
      return `The server takes no calls at the moment (${code}).${later(answer)}`;
    case 603:
      return `${number} declined the call (${code}).`;
    default:
      return `The server refused the call: ${code}.${warned(answer)}`;
  }
}

/** Why an incoming call was not answered here. */
export function missed(caller: Peer, { who, cause, answer }: End): string {
  const other = peer(caller);
  if (who === "remote") {
    // RFC 3326 §2: a forked call that somebody else has answered.
    const isElsewhere = /SIP\s*;(.*;)?\s*cause\s*=\s*200\b/i.test(answer?.reason ?? "");
    return isElsewhere ? `The call from ${other} was answered on another phone.` : `Missed call from ${other}.`;
  }
  switch (cause) {
    case "Rejected":
      return `You rejected the call from ${other}.`;
    case "No Answer":
    case "Expires":
      return `Missed call from ${other}.`;
    case "WebRTC Error":
    case "Internal Error":
      return `The browser could not set up audio for the call from ${other} (${cause}).`;
    default:
      return `The call from ${other} could not be answered: ${cause}.`;
  }
}

export function turnedAway(caller: Peer): string {
  return `${sentence(peer(caller))} called during this call and was told that you are busy.`;
}

/** How an answered call ended. */
export function ending({ who, cause, answer }: End): string {
  if (cause === "RTP Timeout") return "The call was lost: no sound came through from the server any more.";
  if (who === "local") return "You hung up.";
  const text = answer?.reason ? reasonText(answer.reason) : null;
  if (who === "remote") return text === null ? "The other side hung up." : `The other side hung up: ${text}.`;
  return `The call was lost: ${cause}.`;
}

export function registration(now: Registration, account: Account | null): string {
  const user = account?.user ?? "";
  switch (now.state) {
    case "guest":
    case "refused":
      return "Not signed in: only public numbers can be called";
    case "registering":
      return `Signing in as ${user}`;
    case "registered":
      return `Registered as ${user}${account?.kind === "token" ? until(account.expiresAt) : ""}`;
    case "callOnly":
      return `Signed in as ${user}${account?.kind === "token" ? until(account.expiresAt) : ""}: can call, but not be called`;
    case "waiting":
      return `Not registered as ${user}: ${waiting(now.cause, now.answer)}. Trying again in `
        + `${Math.ceil(now.retryMs / 1000)} seconds`;
  }
}

export function registrationLost(user: string): string {
  return `Not registered as ${user}: the connection is lost`;
}

function waiting(cause: string, answer: Answer | null): string {
  if (answer !== null) return `the server says ${statusWords(answer)}`;
  return cause === "Request Timeout" ? "the server does not answer" : cause;
}

function until(expiry: Date | null): string {
  return expiry === null ? "" : ` by a link that ends ${expiry.toLocaleString([], { timeStyle: "short", dateStyle: "short" })}`;
}

/** Why nobody is signed in now. */
export function signInRefused(account: Account, answer: Answer | null): string {
  const code = answer === null ? "" : ` (${statusWords(answer)})`;
  if (answer?.status === 401 || answer?.status === 407) {
    if (account.kind === "password") return `Wrong number or password${code}.`;
    return account.expiresAt !== null && account.expiresAt.getTime() <= Date.now()
      ? "The sign-in link has expired. Ask for a new one, or sign in with number and password."
      : `The server does not accept this sign-in link${code}.`;
  }
  if (answer?.status === 405 || answer?.status === 501) return `This server has no users to sign in as${code}.`;
  return `The server refused to register ${account.user}${code}.`;
}

/** Why a user with the right password is not registered. */
export function notRegistered(user: string, answer: Answer): string {
  return `${user} cannot be called on this phone (${statusWords(answer)}): it may be signed in on too many devices, or `
    + `may not use this kind of connection.${warned(answer)}`;
}

export const UNREADABLE_LINK = "This sign-in link is damaged: it names no user. Ask for a new one.";

function statusWords(answer: Answer): string {
  return `${answer.status ?? ""} ${answer.phrase}`.trim();
}

function warned(answer: Answer): string {
  return answer.warning === null ? "" : ` It says: ${warningText(answer.warning)}`;
}

function later(answer: Answer): string {
  const seconds = answer.retryAfter?.match(/^\s*(\d+)/)?.[1];
  return seconds === undefined ? " Try again later." : ` Try again in ${seconds} seconds.`;
}

/** The quoted text of a Warning header (RFC 3261 §20.43). */
function warningText(warning: string): string {
  const quoted = warning.match(/"((?:[^"\\]|\\.)*)"/)?.[1];
  return quoted === undefined ? warning : quoted.replace(/\\(.)/g, "$1");
}

/** The text of a Reason header (RFC 3326), or its cause. */
function reasonText(reason: string): string {
  const text = reason.match(/text\s*=\s*"((?:[^"\\]|\\.)*)"/i)?.[1];
  return text === undefined ? reason : text.replace(/\\(.)/g, "$1");
}

export function microphone(problem: MicrophoneProblem): string {
  switch (problem) {
    case "insecure-page":
      return "Browsers give the microphone only to https pages and to localhost. Open the https address of this "
        + "server, or go on without a microphone and only listen.";
    case "refused":
      return "The microphone was refused. Allow it in the address bar and try again, or only listen.";
    case "absent":
      return "There is no microphone on this device. You can only listen.";
    case "busy":
      return "The microphone cannot be opened: another program may be using it. You can only listen.";
    case "other":
      return "The microphone cannot be opened. You can only listen.";
  }
}

/** Why the WebSocket is not there. `certificate` is the https page that lets a browser accept it. */
export function unreachable(server: string, certificate: string | null): string {
  if (certificate === null) return `No answer from ${server}. Is the server running, and is this its address?`;
  return `No connection to ${server}. Either nothing answers there, or this browser has not accepted the server's `
    + "certificate yet. Open this page, accept the certificate, and come back:";
}

export function connectionLost(isInCall: boolean): string {
  return "The connection to the server is lost. The phone tries again by itself."
    + (isInCall ? " The call goes on as long as you hear each other." : "");
}

/** Answered, but nothing is heard. */
export function noAudioPath(iceState: string): string {
  return iceState === "connected" || iceState === "completed"
    ? "The call is connected but no sound arrives from the server."
    : "The call is answered but no audio path could be made to the server: its media address cannot be reached from "
      + "this browser. A firewall may block UDP, or the server advertises an address of another network.";
}

export const SOUND_INTERRUPTED = "The sound is interrupted: nothing comes from the server. Waiting for it to come back.";
export const BUSY_CHANGING = "The call is just being changed from the other side. Try again in a moment.";
