// A WAV file that another program is still writing, read as it grows.
import { closeSync, openSync, readSync, statSync } from "node:fs";

const LOOK_MS = 20;
const WITHIN_MS = 3000;
const HEAD_BYTES = 4096;

/** The next `durationMs` of what is written into a file of 16-bit PCM; its first channel. `form` replaces its head. */
export async function nextOf(file, durationMs, form = head(file)) {
  const withinMs = durationMs + WITHIN_MS;
  const { rateHz, channels, dataAt } = form;
  const frameBytes = 2 * channels;
  const from = Math.max(dataAt, statSync(file).size);
  const start = from - ((from - dataAt) % frameBytes);
  const bytes = Buffer.alloc(Math.round((durationMs * rateHz) / 1000) * frameBytes);
  const deadline = performance.now() + withinMs;
  while (statSync(file).size < start + bytes.length) {
    if (performance.now() > deadline) {
      throw new Error(`the recording grew by ${statSync(file).size - start} of ${bytes.length} bytes within ${withinMs} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  read(file, bytes, start);
  const samples = new Float32Array(bytes.length / frameBytes);
  for (let index = 0; index < samples.length; index += 1) samples[index] = bytes.readInt16LE(index * frameBytes) / 32768;
  return { samples, rateHz };
}

/** Whether anything is being written. */
export async function isGrowing(file, withinMs = 400) {
  const { size } = statSync(file);
  const deadline = performance.now() + withinMs;
  while (performance.now() < deadline) {
    if (statSync(file).size > size) return true;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return false;
}

/** Rate, channels and where the samples begin. */
function head(file) {
  const bytes = Buffer.alloc(Math.min(HEAD_BYTES, statSync(file).size));
  read(file, bytes, 0);
  const format = bytes.indexOf("fmt ");
  const data = bytes.indexOf("data", format);
  if (format < 0 || data < 0) throw new Error(`${file} is no WAV file yet`);
  return { channels: bytes.readUInt16LE(format + 10), rateHz: bytes.readUInt32LE(format + 12), dataAt: data + 8 };
}

function read(file, bytes, position) {
  const handle = openSync(file, "r");
  try {
    readSync(handle, bytes, 0, bytes.length, position);
  } finally {
    closeSync(handle);
  }
}
