// The test's hand on one page that calls, and what it makes of the sound.
import { PROMPT, offset, onset, powerAt, purity, strongestHz } from "./audio.mjs";
import { expect } from "./report.mjs";

export const RATE_HZ = 48_000;
export const SAID_HZ = 700;
/** A jitter buffer stretches and squeezes a little, and fades out what ended. */
const STRETCH_MS = 80;

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

  /** What is heard from now on or, without a gap, from a position of the recording. */
  async listen(durationMs, ...from) {
    return samplesOf(await this.ask("listen", durationMs, ...from));
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
    const words = checkPrompt(samplesOf(await this.ask("heard")));
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

/**
 * The first 20 ms of the marked prompt, then its body with nothing cut out. Whether the last 20 ms still leave the
 * browser's jitter buffer after the BYE is up to the browser; it is only told.
 */
function checkPrompt(heard) {
  const from = onset(heard);
  expect(from >= 0, "nothing of the prompt was heard");
  const step = (RATE_HZ * PROMPT.markerMs) / 4000;
  const heardHz = [];
  for (let at = from; at + step <= offset(heard); at += step) heardHz.push(strongestOf(heard.subarray(at, at + step)));
  const length = heardHz.length * (PROMPT.markerMs / 4);
  const words = `${length} ms heard`;
  expect(heardHz[0] === PROMPT.startHz, `the prompt starts at ${heardHz[0]} Hz: its first 20 ms are missing (${words})`);
  const body = heardHz.filter((hz) => hz === PROMPT.bodyHz).length * (PROMPT.markerMs / 4);
  const wanted = PROMPT.durationMs - 2 * PROMPT.markerMs;
  expect(Math.abs(body - wanted) < STRETCH_MS, `${body} ms of the prompt's body heard, it lasts ${wanted} (${words})`);
  return `${words}, ${PROMPT.durationMs} played, ${heardHz.includes(PROMPT.endHz) ? "with" : "without"} the last 20`;
}

function strongestOf(window) {
  const candidates = [PROMPT.startHz, PROMPT.bodyHz, PROMPT.endHz];
  const powers = candidates.map((hz) => powerAt(window, RATE_HZ, hz));
  return candidates[powers.indexOf(Math.max(...powers))];
}

export function samplesOf(base64) {
  const bytes = Buffer.from(base64, "base64");
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
