// A page with a library as an endpoint, asked the same things as the desk phones.
import { RATE_HZ, openCaller } from "./caller.mjs";
import { hann, powerAt } from "./audio.mjs";

/** The two frequencies of a digit (ITU-T Q.23). */
const ROWS_HZ = [697, 770, 852, 941];
const COLUMNS_HZ = [1209, 1336, 1477, 1633];
const KEYS = ["123A", "456B", "789C", "*0#D"];
/** Long enough to tell a digit from the other's voice, which goes on below it. */
const WINDOW_MS = 40;
const STEP_MS = 20;
const LOOK_MS = 200;
/** What a page counts its recording in. */
const CHUNK_MS = 10;

/** Opens a page that registers a user; `server` is the address of the WebSocket. */
export async function startPage({ browser, pages, library, server, user, password, toneHz, codec = null }) {
  const caller = await openCaller(browser, pages, { library, server, user, password, toneHz, codec });
  return new PagePhone(caller, { library, user, password, toneHz, server });
}

class PagePhone {
  constructor(caller, { library, user, password, toneHz, server }) {
    Object.assign(this, { caller, page: caller.page, library, user, password, toneHz, server, name: `${library} ${user}` });
  }

  async registered(withinMs = 10_000) {
    return (await this.#ask("registered", withinMs)).status;
  }

  fresh() {
    return this.#ask("fresh");
  }

  call(number) {
    return this.#ask("dial", number);
  }

  outcome(withinMs = 15_000) {
    return this.#ask("outcome", withinMs);
  }

  ringing(withinMs = 10_000) {
    return this.#ask("ringing", withinMs);
  }

  async incoming(withinMs = 10_000) {
    return (await this.#ask("incoming", withinMs)).from;
  }

  answer() {
    return this.#ask("answer");
  }

  /** Refuses with 486. */
  reject() {
    return this.#ask("reject");
  }

  hangUp() {
    return this.#ask("hangUp");
  }

  async ended(withinMs = 10_000) {
    return (await this.#ask("ended", withinMs)).cause ?? "";
  }

  hold() {
    return this.#ask("hold");
  }

  resume() {
    return this.#ask("unhold");
  }

  sendDigit(digit, durationMs = 100) {
    return this.#ask("sendDigit", digit, durationMs);
  }

  /** Resolves when a digit is heard: browsers play what comes as RFC 4733, and tell no page of it. */
  async digit(digit, withinMs = 5000) {
    const row = KEYS.findIndex((keys) => keys.includes(digit));
    const wanted = [ROWS_HZ[row], COLUMNS_HZ[KEYS[row].indexOf(digit)]];
    const deadline = performance.now() + withinMs;
    let position = await this.#ask("position");
    while (performance.now() < deadline) {
      // A digit is short: nothing of it may fall between two looks.
      const samples = await this.caller.listen(LOOK_MS, position);
      position += LOOK_MS / CHUNK_MS;
      const [size, step] = [WINDOW_MS, STEP_MS].map((milliseconds) => (RATE_HZ * milliseconds) / 1000);
      for (let at = 0; at + size <= samples.length; at += step) {
        if (isHeard(samples.subarray(at, at + size), wanted)) return;
      }
    }
    throw new Error(`${this.name} heard no digit ${digit} within ${withinMs} ms`);
  }

  async listen(durationMs) {
    return { samples: await this.caller.listen(durationMs), rateHz: RATE_HZ };
  }

  /** Web Audio stays deaf in a page that has held, but the browser counts what it plays. */
  hearsAfterHold() {
    return this.caller.playsOn("what comes after hold");
  }

  /** SIP messages, as the page saw them. */
  async trace() {
    if (this.page.isClosed()) return "";
    return (await this.#ask("sip")).map(({ direction, text }) => `${direction} ${text}`).join("\n");
  }

  /** The page goes away as when its tab is closed. */
  async close() {
    if (!this.page.isClosed()) await this.caller.close();
  }

  #ask(name, ...args) {
    return this.caller.ask(name, ...args);
  }
}

/** Whether both frequencies are there, and as loud as each other within 9 dB. */
function isHeard(samples, wanted) {
  const window = hann(samples);
  const [low, high] = wanted.map((hz) => powerAt(window, RATE_HZ, hz));
  const others = [...ROWS_HZ, ...COLUMNS_HZ].filter((hz) => !wanted.includes(hz)).map((hz) => powerAt(window, RATE_HZ, hz));
  return Math.min(low, high) > 1e-5 && Math.max(low, high) < 8 * Math.min(low, high) && Math.min(low, high) > 4 * Math.max(...others);
}
