// Sound as numbers: the prompt that the tests play, and what was heard of it.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** The prompt of the tests, told apart by ear and by FFT: 20 ms marker, body, 20 ms marker. */
export const PROMPT = { rateHz: 8000, startHz: 2500, bodyHz: 440, endHz: 1800, markerMs: 20, durationMs: 1500 };

export function markedPrompt() {
  const { rateHz, startHz, bodyHz, endHz, markerMs, durationMs } = PROMPT;
  const marker = (rateHz * markerMs) / 1000;
  const total = (rateHz * durationMs) / 1000;
  return Float32Array.from({ length: total }, (_, index) => {
    const hz = index < marker ? startHz : index >= total - marker ? endHz : bodyHz;
    return 0.5 * Math.sin((2 * Math.PI * hz * index) / rateHz);
  });
}

/** A sine at the prompt's rate. */
export function toneSamples(hz, durationMs) {
  const { rateHz } = PROMPT;
  return Float32Array.from({ length: (rateHz * durationMs) / 1000 }, (_, index) => 0.4 * Math.sin((2 * Math.PI * hz * index) / rateHz));
}

/** Writes mono 16-bit PCM at the prompt's rate. */
export function writeWav(file, samples) {
  const { rateHz } = PROMPT;
  const bytes = Buffer.alloc(44 + samples.length * 2);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(36 + samples.length * 2, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rateHz, 24);
  bytes.writeUInt32LE(rateHz * 2, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(samples.length * 2, 40);
  samples.forEach((sample, index) => bytes.writeInt16LE(Math.round(sample * 32767), 44 + index * 2));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}

/** The strongest frequency between 100 Hz and half the rate, by FFT with parabolic interpolation. */
export function strongestHz(samples, rateHz) {
  const size = 2 ** Math.floor(Math.log2(samples.length));
  const power = spectrum(samples.subarray(samples.length - size), size);
  let peak = Math.ceil((100 * size) / rateHz);
  for (let bin = peak; bin < size / 2 - 1; bin += 1) if (power[bin] > power[peak]) peak = bin;
  const [left, middle, right] = [power[peak - 1], power[peak], power[peak + 1]].map((value) => Math.log(value + 1e-20));
  const shift = (left - right) / (2 * (left - 2 * middle + right));
  return ((peak + (Number.isFinite(shift) ? shift : 0)) * rateHz) / size;
}

/** How much of the energy lies within `widthHz` of a frequency, 0 to 1. */
export function purity(samples, rateHz, hz, widthHz = 30) {
  const size = 2 ** Math.floor(Math.log2(samples.length));
  const power = spectrum(samples.subarray(samples.length - size), size);
  let near = 0;
  let all = 0;
  for (let bin = 1; bin < size / 2; bin += 1) {
    const distance = Math.abs((bin * rateHz) / size - hz);
    all += power[bin];
    if (distance <= widthHz) near += power[bin];
  }
  return all > 0 ? near / all : 0;
}

/** Power of one frequency over a short window (Goertzel). */
export function powerAt(samples, rateHz, hz) {
  const coefficient = 2 * Math.cos((2 * Math.PI * hz) / rateHz);
  let [previous, before] = [0, 0];
  for (const sample of samples) [previous, before] = [sample + coefficient * previous - before, previous];
  return (previous ** 2 + before ** 2 - coefficient * previous * before) / samples.length ** 2;
}

/** Index of the first sample louder than a threshold, or -1. */
export function onset(samples, threshold = 0.02) {
  return samples.findIndex((sample) => Math.abs(sample) > threshold);
}

/** Index after the last sample louder than a threshold. */
export function offset(samples, threshold = 0.02) {
  for (let index = samples.length - 1; index >= 0; index -= 1) if (Math.abs(samples[index]) > threshold) return index + 1;
  return 0;
}

/** A window's samples, faded in and out, so that a loud tone shows at its own frequency alone. */
export function hann(samples) {
  return samples.map((sample, index) => sample * (0.5 - 0.5 * Math.cos((2 * Math.PI * index) / samples.length)));
}

export function decibels(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, samples.length);
  return 10 * Math.log10(power + 1e-12);
}

function spectrum(samples, size) {
  const real = Float64Array.from(samples, (sample, index) => sample * (0.5 - 0.5 * Math.cos((2 * Math.PI * index) / size)));
  const imaginary = new Float64Array(size);
  transform(real, imaginary);
  return real.map((value, index) => value * value + imaginary[index] * imaginary[index]);
}

/** Radix-2 FFT in place. */
function transform(real, imaginary) {
  const size = real.length;
  for (let index = 1, mirror = 0; index < size; index += 1) {
    let bit = size >> 1;
    for (; mirror & bit; bit >>= 1) mirror ^= bit;
    mirror ^= bit;
    if (index < mirror) {
      [real[index], real[mirror]] = [real[mirror], real[index]];
      [imaginary[index], imaginary[mirror]] = [imaginary[mirror], imaginary[index]];
    }
  }
  for (let length = 2; length <= size; length *= 2) {
    const angle = (-2 * Math.PI) / length;
    for (let start = 0; start < size; start += length) {
      for (let step = 0; step < length / 2; step += 1) {
        const [cosine, sine] = [Math.cos(angle * step), Math.sin(angle * step)];
        const [upper, lower] = [start + step, start + step + length / 2];
        const re = real[lower] * cosine - imaginary[lower] * sine;
        const im = real[lower] * sine + imaginary[lower] * cosine;
        real[lower] = real[upper] - re;
        imaginary[lower] = imaginary[upper] - im;
        real[upper] += re;
        imaginary[upper] += im;
      }
    }
  }
}
