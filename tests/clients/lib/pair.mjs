// One call between two endpoints, with everything that must be true of it.
import { hann, powerAt, strongestHz } from "./audio.mjs";
import { expect } from "./report.mjs";

/** How long both ears listen, after what a jitter buffer needs to fill. */
const LISTEN_MS = 500;
const SETTLE_MS = 400;
/** The listener's own tone must be this much below the other's. */
const SEPARATION_DB = 25;
const WINDOW_MS = 100;

/**
 * The caller calls the callee: ringing at both, answer, each hears the other and not itself, both at once; a digit
 * each way; hold by `holder` and back; and `leaver` hangs up.
 */
export async function combinedCall(caller, callee, { number = callee.user, holder = caller, leaver = caller } = {}) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  await ring(caller, callee, number);
  await Promise.all([callee.answer(), answered(caller, number)]);
  await hearEachOther(caller, callee, "after the answer");
  await Promise.all([callee.digit("5"), caller.sendDigit("5")]);
  await Promise.all([caller.digit("8"), callee.sendDigit("8")]);
  await hold(holder, holder === caller ? callee : caller);
  await hangUp(leaver, leaver === caller ? callee : caller);
}

/** The caller dials, both ring, and the callee sees who calls. */
export async function ring(caller, callee, number = callee.user) {
  const incoming = callee.incoming();
  await caller.call(number);
  const from = await Promise.race([incoming, refusal(caller, number)]);
  expect(from.includes(caller.user), `${callee.name} is called by ${from}, expected ${caller.user}`);
  await caller.ringing();
}

/** Never resolves; fails if the call is refused, which is a better report than a phone that does not ring. */
async function refusal(caller, number) {
  const { isAnswered, status } = await caller.outcome().catch(() => ({ isAnswered: true }));
  if (!isAnswered) throw new Error(`${number} was refused: ${status}`);
  return new Promise(() => undefined);
}

export async function answered(caller, what) {
  const { isAnswered, status } = await caller.outcome();
  expect(isAnswered, `${what} was not answered: ${status}`);
}

/** A ringing call is answered; what both hear is checked. */
export async function connect(caller, callee, number = callee.user) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  await ring(caller, callee, number);
  await Promise.all([callee.answer(), answered(caller, number)]);
  await hearEachOther(caller, callee, "after the answer");
}

/** Both ears, at the same time. */
export async function hearEachOther(one, other, when) {
  await Promise.all([hears(one, other.toneHz, when), hears(other, one.toneHz, when)]);
}

/** The other one's tone and nothing of one's own. */
export async function hears(listener, hz, when) {
  await listener.listen(SETTLE_MS);
  const complaint = wrongWith(await listener.listen(LISTEN_MS), listener.toneHz, hz);
  expect(complaint === null, `${when} ${listener.name} hears ${complaint}`);
}

/** Judged by most windows: a jitter buffer that leaves out or repeats a little spoils one or two of them. */
function wrongWith({ samples, rateHz }, ownHz, hz) {
  const parts = windows(samples, rateHz);
  const strongest = median(parts.map((part) => strongestHz(part, rateHz)));
  if (Math.abs(strongest - hz) >= 5) return `${strongest.toFixed(1)} Hz, expected ${hz}`;
  if (median(parts.map((part) => powerAt(part, rateHz, hz))) < 1e-4) return `${hz} Hz only faintly`;
  const below = median(parts.map((part) => separation(part, rateHz, hz, ownHz)));
  return ownHz !== hz && below < SEPARATION_DB ? `itself, ${below.toFixed(0)} dB below the other` : null;
}

function windows(samples, rateHz) {
  const size = (rateHz * WINDOW_MS) / 1000;
  return Array.from({ length: Math.floor(samples.length / size) }, (_, index) => samples.slice(index * size, (index + 1) * size));
}

function median(values) {
  return values.sort((left, right) => left - right)[Math.floor(values.length / 2)];
}

/** By how many decibels one tone is louder than another. */
function separation(samples, rateHz, hz, otherHz) {
  const window = hann(samples);
  return 10 * Math.log10(powerAt(window, rateHz, hz) / (powerAt(window, rateHz, otherHz) + 1e-15));
}

/** One side holds: the other hears music or nothing, but no longer its voice. Then both hear each other again. */
export async function hold(holder, held) {
  await holder.hold();
  const heard = await heardOnHold(held);
  if (heard !== null && !holder.speaksOnHold) {
    const left = powerAt(hann(heard.samples), heard.rateHz, holder.toneHz);
    expect(left < 1e-5, `${held.name}, on hold, still hears ${holder.name}`);
  }
  await holder.resume();
  // An ear that has to be borrowed from the voice gives it back before the other side listens.
  await hears(held, holder.toneHz, "after hold");
  await holder.hearsAfterHold(held.toneHz, () => hears(holder, held.toneHz, "after hold"));
}

/** What comes while on hold; null when nothing does. */
async function heardOnHold(held) {
  try {
    await held.listen(SETTLE_MS);
    return await held.listen(LISTEN_MS);
  } catch {
    return null;
  }
}

/** One side hangs up; both see the end. */
export async function hangUp(leaver, left) {
  await Promise.all([left.ended(), leaver.hangUp()]);
  await leaver.ended();
}
