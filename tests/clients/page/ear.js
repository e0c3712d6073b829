// Records what is heard, and says tones.
import { onTrack } from "./wire.js";

const RATE_HZ = 48_000;
const QUIET = 0.02;

let context = null;
let chunks = [];
/** Milliseconds of the page's clock at frame 0 of the audio clock: the least delay seen is the truest. */
let originMs = Infinity;
const waiters = new Set();
/** Lets go of the stream recorded before. */
let forget = () => undefined;

/** Makes the audio clock run and replaces the microphone by a tone. */
export async function open(toneHz) {
  context = new AudioContext({ sampleRate: RATE_HZ });
  await context.audioWorklet.addModule("recorder.js");
  await context.resume();
  if (toneHz !== null) navigator.mediaDevices.getUserMedia = async () => tone(toneHz);
  onTrack(record);
}

function tone(hz) {
  const oscillator = new OscillatorNode(context, { frequency: hz });
  const gain = new GainNode(context, { gain: 0.4 });
  const destination = context.createMediaStreamDestination();
  oscillator.connect(gain).connect(destination);
  oscillator.start();
  return destination.stream;
}

function record(stream) {
  forget();
  chunks = [];
  // Browsers feed a remote stream into Web Audio only while an element plays it too.
  const element = new Audio();
  element.srcObject = stream;
  element.play();
  const recorder = new AudioWorkletNode(context, "recorder");
  recorder.port.onmessage = ({ data }) => {
    originMs = Math.min(originMs, performance.now() - (data.endFrame / RATE_HZ) * 1000);
    chunks.push(data);
    for (const waiter of [...waiters]) waiter();
  };
  const source = context.createMediaStreamSource(stream);
  forget = () => {
    recorder.port.onmessage = null;
    source.disconnect();
    recorder.disconnect();
    element.srcObject = null;
  };
  source.connect(recorder).connect(new GainNode(context, { gain: 0 })).connect(context.destination);
}

/** Resolves once a sound was heard, with when, on the page's clock. */
export function audibleAtMs(withinMs) {
  return until(withinMs, "nothing was heard", () => {
    const chunk = chunks.find(({ samples }) => samples.some((sample) => Math.abs(sample) > QUIET));
    if (chunk === undefined) return null;
    const index = chunk.samples.findIndex((sample) => Math.abs(sample) > QUIET);
    return originMs + ((chunk.endFrame - chunk.samples.length + index) / RATE_HZ) * 1000;
  });
}

/** Where the recording is now, for `listen`. */
export function position() {
  return chunks.length;
}

/** Resolves with `durationMs` of what is heard from a position or from now on, as base64 of 32-bit floats. */
export async function listen(durationMs, from = chunks.length) {
  const count = Math.ceil(durationMs / 10);
  await until(durationMs + 5000, "the recording stands still", () => (chunks.length >= from + count ? true : null));
  return encode(chunks.slice(from, from + count));
}

/** Everything heard since the last remote track came. */
export function heard() {
  return encode(chunks);
}

function until(withinMs, complaint, probe) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      waiters.delete(waiter);
      reject(new Error(`${complaint} within ${withinMs} ms (${chunks.length} chunks, audio clock ${context.state})`));
    }, withinMs);
    const waiter = () => {
      const value = probe();
      if (value === null) return;
      clearTimeout(timer);
      waiters.delete(waiter);
      resolve(value);
    };
    waiters.add(waiter);
    waiter();
  });
}

function encode(list) {
  const bytes = new Uint8Array(list.reduce((sum, { samples }) => sum + samples.byteLength, 0));
  let at = 0;
  for (const { samples } of list) {
    bytes.set(new Uint8Array(samples.buffer), at);
    at += samples.byteLength;
  }
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}
