// What a test asks of this page: `caller`, one phone on one library.
import { Happenings } from "../lib/happenings.mjs";
import { connections, messages, tampering } from "./wire.js";
import * as ear from "./ear.js";
import { connect as jssip } from "./jssip.js";
import { connect as sipjs } from "./sipjs.js";

const ANSWER_MS = 15_000;
const STATISTICS_MS = 50;
const LIBRARIES = { jssip, sipjs };
const happenings = new Happenings();
let phone = null;
let lastStatistics = null;

window.caller = {
  /** Connects with a library. `toneHz` is said instead of the microphone, which null leaves in place. */
  async open({ library, server, toneHz = 700, candidates = "all", codec = null, user = null, password = null }) {
    Object.assign(tampering, { candidates, codec });
    await ear.open(toneHz);
    phone = await within(LIBRARIES[library](server, { user, password }, happenings), ANSWER_MS, `no connection to ${server}`);
  },

  /** Calls a number; resolves when it is answered or refused. */
  async call(number) {
    caller.dial(number);
    const result = await caller.outcome(ANSWER_MS);
    if (!result.isAnswered) return result;
    const invite = messages.find(({ direction, text }) => direction === "out" && text.startsWith("INVITE "));
    const ok = messages.find(({ direction, text }) => direction === "in" && /^SIP\/2\.0 200 [^]*^CSeq:\s*\d+ INVITE/im.test(text));
    return { ...result, answerMs: ok.atMs - invite.atMs, okAtMs: ok.atMs };
  },

  /** Forgets the call before. */
  fresh() {
    messages.length = 0;
    happenings.clear();
    lastStatistics = null;
  },

  /** Calls a number and does not wait. */
  dial(number) {
    caller.fresh();
    phone.dial(number);
  },

  /** How a call that was dialled went. */
  async outcome(withinMs) {
    const { type, cause, status } = await next(["answered", "failed"], withinMs);
    if (type === "failed") return { isAnswered: false, cause, status };
    void watchStatistics(connections.at(-1));
    return { isAnswered: true };
  },

  registered: (withinMs) => next(["registered", "refused"], withinMs),
  ringing: (withinMs) => next(["ringing"], withinMs),
  incoming: (withinMs) => next(["incoming"], withinMs),
  async answer() {
    await phone.answer();
    await next(["answered"], ANSWER_MS);
    void watchStatistics(connections.at(-1));
  },
  reject: () => phone.reject(),
  digit: (withinMs) => next(["digit"], withinMs),
  hangUp: () => phone.hangUp(),
  ended: (withinMs) => next(["ended", "failed"], withinMs),
  stop: () => phone.stop(),
  sendDigit: (digit, durationMs) => phone.sendDigit(digit, durationMs),
  sendInfoDigit: (digit) => phone.sendInfoDigit(digit),
  hold: () => within(phone.hold(), ANSWER_MS, "no answer to hold"),
  unhold: () => within(phone.unhold(), ANSWER_MS, "no answer to unhold"),
  update: () => within(phone.update(), ANSWER_MS, "no answer to UPDATE"),
  restartIce: () => within(phone.restartIce(), ANSWER_MS, "no answer to an ICE restart"),
  audibleAtMs: ear.audibleAtMs,
  position: ear.position,
  listen: ear.listen,
  heard: ear.heard,
  statistics: () => statistics(),
  finalStatistics: () => lastStatistics,
  sip: () => messages,
  iceState: () => connections.at(-1).iceConnectionState,
};

/** Keeps the latest statistics of a call, since a closed connection has none. */
async function watchStatistics(connection) {
  const now = await statistics(connection);
  if (connection.signalingState === "closed") return;
  lastStatistics = now;
  setTimeout(watchStatistics, STATISTICS_MS, connection);
}

async function statistics(connection = connections.at(-1)) {
  const entries = [];
  (await connection.getStats()).forEach((entry) => entries.push(entry));
  const inbound = entries.find(({ type }) => type === "inbound-rtp");
  const outbound = entries.find(({ type }) => type === "outbound-rtp");
  const transport = entries.find(({ type }) => type === "transport");
  const codec = entries.find(({ id }) => id === (inbound?.codecId ?? outbound?.codecId));
  return {
    codec: codec?.mimeType ?? null,
    packetsReceived: inbound?.packetsReceived ?? 0,
    packetsLost: inbound?.packetsLost ?? 0,
    playedEnergy: inbound?.totalAudioEnergy ?? 0,
    playedSeconds: inbound?.totalSamplesDuration ?? 0,
    srtpCipher: transport?.srtpCipher ?? null,
    dtlsCipher: transport?.dtlsCipher ?? null,
  };
}

/** The first of these happenings, with the SIP messages if there is none. */
function next(types, withinMs) {
  return happenings.next(types, withinMs, { who: "the page" }).catch((error) => { throw new Error(`${error.message}; ${spoken()}`); });
}

function spoken() {
  return `SIP so far:\n${messages.map(({ direction, text }) => `${direction} ${text}`).join("\n")}`;
}

function within(promise, withinMs, complaint) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`${complaint} within ${withinMs} ms; ${spoken()}`));
    }, withinMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
