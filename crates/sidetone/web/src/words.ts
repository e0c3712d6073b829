// Plain words for what can go wrong and how a call ended.
import type { MicrophoneProblem } from "./microphone";

/** What is read from a SIP message to explain it. */
export interface Answer {
  status: number | null;
  phrase: string;
  warning: string | null;
  retryAfter: string | null;
  reason: string | null;
}

/** Why a call was not answered. `cause` is the word of JsSIP. */
export function failure(number: string, cause: string, answer: Answer | null): string {
  if (answer?.status != null) return refusal(number, answer);
  switch (cause) {
    case "Canceled":
      return "You hung up before the call was answered.";
    case "Connection Error":
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

function refusal(number: string, answer: Answer): string {
  const code = `${answer.status} ${answer.phrase}`.trim();
  switch (answer.status) {
    case 401:
    case 407:
      return `The server wants a user name and a password for ${number} (${code}).`;
    case 403:
      return `This number may not be called from here: ${number} (${code}).`;
    case 404:
      return `There is no number ${number} on this server (${code}).`;
    case 408:
    case 480:
      return `Nobody is there to answer ${number} (${code}).`;
    case 484:
      return `The number ${number} is incomplete (${code}).`;
    case 486:
    case 600:
      return `${number} is busy (${code}).`;
    case 487:
      return "The call was cancelled before it was answered.";
    case 488:
    case 606:
      return `The server cannot use the audio that this browser offers (${code}).${warned(answer)}`;
    case 503:
      return `The server takes no calls at the moment (${code}).${later(answer)}`;
    case 603:
      return `${number} declined the call (${code}).`;
    default:
      return `The server refused the call: ${code}.${warned(answer)}`;
  }
}

function warned(answer: Answer): string {
  return answer.warning === null ? "" : ` It says: ${warningText(answer.warning)}`;
}

function later(answer: Answer): string {
  const seconds = answer.retryAfter?.match(/^\s*(\d+)/)?.[1];
  return seconds === undefined ? " Try again later." : ` Try again in ${seconds} seconds.`;
}

/** The quoted text of a Warning header (RFC 3261 §20.43). */
export function warningText(warning: string): string {
  const quoted = warning.match(/"((?:[^"\\]|\\.)*)"/)?.[1];
  return quoted === undefined ? warning : quoted.replace(/\\(.)/g, "$1");
}

/** How an answered call ended. */
export function ending(who: "local" | "remote" | "system", cause: string, answer: Answer | null): string {
  if (who === "local") return "You hung up.";
  const text = answer?.reason ? reasonText(answer.reason) : null;
  if (who === "remote") return text === null ? "The server hung up." : `The server hung up: ${text}.`;
  return `The call was lost: ${cause}.`;
}

/** The text of a Reason header (RFC 3326), or its cause. */
export function reasonText(reason: string): string {
  const text = reason.match(/text\s*=\s*"((?:[^"\\]|\\.)*)"/i)?.[1];
  return text === undefined ? reason : text.replace(/\\(.)/g, "$1");
}

export function microphone(problem: MicrophoneProblem): string {
  switch (problem) {
    case "insecure-page":
      return "Browsers give the microphone only to https pages and to localhost. Open the https address of this "
        + "server, or call without a microphone and only listen.";
    case "refused":
      return "The microphone was refused. Allow it in the address bar and call again, or only listen.";
    case "absent":
      return "There is no microphone on this device. You can call and only listen.";
    case "busy":
      return "The microphone cannot be opened: another program may be using it. You can call and only listen.";
    case "other":
      return "The microphone cannot be opened. You can call and only listen.";
  }
}

/** Why the WebSocket is not there. `certificate` is the https page that lets a browser accept it. */
export function unreachable(server: string, certificate: string | null): string {
  if (certificate === null) return `No answer from ${server}. Is the server running, and is this its address?`;
  return `No connection to ${server}. Either nothing answers there, or this browser has not accepted the server's `
    + "certificate yet. Open this page, accept the certificate, and come back:";
}

/** Answered, but nothing is heard. */
export function noAudioPath(iceState: string): string {
  return iceState === "connected" || iceState === "completed"
    ? "The call is connected but no sound arrives from the server."
    : "The call is answered but no audio path could be made to the server: its media address cannot be reached from "
      + "this browser. A firewall may block UDP, or the server advertises an address of another network.";
}
