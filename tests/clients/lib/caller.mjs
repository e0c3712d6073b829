// The test's hand on one page that calls, and what it makes of the sound.
import { PROMPT, offset, onset, powerAt, purity, strongestHz } from "./audio.mjs";
import { expect } from "./report.mjs";

export const RATE_HZ = 48_000;
export const SAID_HZ = 700;
/** A browser forgets what its jitter buffer still holds when the BYE comes. */
const TAIL_MS = 150;

/** Opens the calling page with a library that is connected to the server. */
export async function openCaller(browser, pages, options) {
  const page = await browser.page(pages.url);
  try {
    await page.evaluate((wanted) => window.caller.open(wanted), { toneHz: SAID_HZ, ...options });
  } catch (error) {
    await page.close();
    throw error;
  }
  return new Caller(page);
}

class Caller {
  constructor(page) {
    this.page = page;
  }

  ask(name, ...args) {
    return this.page.evaluate((method, values) => window.caller[method](...values), name, args);
  }

  /** Calls a number that answers; returns the times of the answer. */
  async call(number) {
    const result = await this.ask("call", number);
    expect(result.isAnswered, `${number} was not answered: ${result.status} ${result.cause}`);
    return result;
  }

  async listen(durationMs) {
    return samples(await this.ask("listen", durationMs));
  }

  /** Calls 9197 and checks the tone; hangs up. */
  async tone() {
    const { answerMs, okAtMs } = await this.call("9197");
    const audibleMs = await this.ask("audibleAtMs", 10_000) - okAtMs;
    await this.hears(1004, "the tone of 9197");
    const statistics = await this.leave();
    return `${statistics.codec}, INVITE to 200 ${answerMs.toFixed(0)} ms, 200 to audible ${audibleMs.toFixed(0)} ms, `
      + `${statistics.packetsReceived} packets, ${statistics.dtlsCipher} ${statistics.srtpCipher}`;
  }

  /** Calls 9196 and checks that what is said comes back; hangs up. */
  async echo() {
    await this.call("9196");
    await this.ask("audibleAtMs", 10_000);
    await this.hears(SAID_HZ, "the echo of 9196");
    const statistics = await this.leave();
    return `${statistics.codec}, ${statistics.packetsReceived} packets`;
  }

  /** Calls the prompt and checks all of it, to the server's BYE. */
  async prompt() {
    await this.call("07010002000");
    await this.ask("ended", PROMPT.durationMs + 5000);
    const bye = (await this.ask("sip")).find(({ direction, text }) => direction === "in" && text.startsWith("BYE "));
    expect(bye !== undefined, "the call ended without a BYE from the server");
    const reason = bye.text.match(/^Reason:.*$/im)?.[0] ?? "no Reason header";
    expect(reason.includes("NORMAL_CLEARING"), `the BYE says: ${reason}`);
    const statistics = await this.ask("finalStatistics");
    expect(statistics.packetsLost === 0, `${statistics.packetsLost} packets of the prompt were lost`);
    const words = checkPrompt(samples(await this.ask("heard")));
    return `${statistics.codec}, ${words}, ${statistics.packetsReceived} packets`;
  }

  /** Listens for a second: one frequency, and nothing else. */
  async hears(hz, what) {
    const heard = await this.listen(1000);
    const strongest = strongestHz(heard, RATE_HZ);
    expect(Math.abs(strongest - hz) < 3, `${what} is ${strongest.toFixed(1)} Hz, expected ${hz}`);
    const pure = purity(heard, RATE_HZ, hz);
    expect(pure > 0.9, `only ${(pure * 100).toFixed(0)} % of ${what} is at ${hz} Hz`);
  }

  /**
   * Waits for a second of sound as the browser's own statistics count it, for after a hold: Chromium feeds a
   * track that was taken away and given back to its loudspeaker, but no longer to Web Audio.
   */
  async playsOn(what) {
    const before = await this.ask("statistics");
    await this.listen(1000);
    const after = await this.ask("statistics");
    const seconds = after.playedSeconds - before.playedSeconds;
    const loudness = Math.sqrt((after.playedEnergy - before.playedEnergy) / seconds);
    expect(loudness > 0.1, `${what} is silent: ${after.packetsReceived - before.packetsReceived} packets, loudness ${loudness.toFixed(3)}`);
  }

  /** Hangs up, after a last look at the statistics. */
  async leave() {
    const statistics = await this.ask("statistics");
    expect(statistics.packetsLost === 0, `${statistics.packetsLost} packets were lost`);
    await this.ask("hangUp");
    await this.ask("ended", 5000);
    return statistics;
  }

  close() {
    return this.page.close();
  }
}

/** The first 20 ms of the marked prompt, then its body, for its whole length but the tail. */
function checkPrompt(heard) {
  const from = onset(heard);
  const to = offset(heard);
  expect(from >= 0, "nothing of the prompt was heard");
  const length = ((to - from) / RATE_HZ) * 1000;
  const marker = (RATE_HZ * PROMPT.markerMs) / 1000;
  const middle = from + (to - from) / 2;
  const start = strongestOf(heard.subarray(from, from + marker));
  const body = strongestOf(heard.subarray(middle, middle + marker));
  expect(start === PROMPT.startHz, `the prompt starts at ${start} Hz: its first 20 ms are missing (${length.toFixed(0)} ms heard)`);
  expect(body === PROMPT.bodyHz, `the prompt is at ${body} Hz in its middle, expected ${PROMPT.bodyHz}`);
  const missing = PROMPT.durationMs - length;
  expect(missing > -40 && missing < TAIL_MS, `${length.toFixed(0)} ms of the prompt heard, it lasts ${PROMPT.durationMs}`);
  return `${length.toFixed(0)} of ${PROMPT.durationMs} ms heard`;
}

function strongestOf(window) {
  const candidates = [PROMPT.startHz, PROMPT.bodyHz, PROMPT.endHz];
  const powers = candidates.map((hz) => powerAt(window, RATE_HZ, hz));
  return candidates[powers.indexOf(Math.max(...powers))];
}

function samples(base64) {
  const bytes = Buffer.from(base64, "base64");
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
