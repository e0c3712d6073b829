// SIPp against the real binary, over UDP and over TCP; the media is listened to here.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PROMPT, powerAt, purity } from "./lib/audio.mjs";
import { expect } from "./lib/report.mjs";
import { decodeG711, openEar } from "./lib/rtp.mjs";
import { splitAddress } from "./lib/server.mjs";

export const SCENARIOS = fileURLToPath(new URL("../sipp", import.meta.url));
const CODECS = { PCMU: 0, PCMA: 8 };
const FRAME = 160;
const PROMPT_PACKETS = PROMPT.durationMs / 20;
let nextPort = 21_000;

/** Which scenario calls which number, and what must be true of its media. */
const CALLS = [
  { scenario: "prompt", number: "07010002000", codec: "PCMU", media: heardPrompt },
  { scenario: "prompt", number: "07010002000", codec: "PCMA", media: heardPrompt },
  { scenario: "caller_hangs_up", number: "9197", codec: "PCMU", media: heardTone },
  { scenario: "caller_hangs_up", number: "9197", codec: "PCMA", media: heardTone },
  { scenario: "cancel_after_answer", number: "9197" },
  { scenario: "cancel_unknown", number: "9197" },
  { scenario: "unknown_number", number: "404404" },
  { scenario: "codec_not_acceptable", number: "9197" },
  { scenario: "unsupported_extension", number: "9197" },
  { scenario: "unsupported_body", number: "9197" },
  { scenario: "options", number: "9197" },
  { scenario: "unknown_dialog", number: "9197" },
  { scenario: "unknown_method", number: "9197" },
  { scenario: "in_dialog", number: "9197" },
  { scenario: "late_offer", number: "9197", media: heardTone },
];

/** `place` tells several servers apart in what is printed. */
export async function runSipp(server, report, { place = "" } = {}) {
  for (const kind of ["udp", "tcp"]) {
    await Promise.all(CALLS.map((call) => report.check(
      `sipp ${kind} ${place}${call.scenario}${call.codec ? ` ${call.codec}` : ""}`,
      () => runCall(server, kind, call),
    )));
  }
}

async function runCall(server, kind, { scenario, number, codec = "PCMU", media }) {
  const { host } = splitAddress(server.address(kind));
  const ear = await openEar(host);
  const folder = mkdtempSync(join(tmpdir(), "sidetone-sipp-"));
  try {
    await sipp(folder, [
      server.address(kind),
      "-sf", join(SCENARIOS, `${scenario}.xml`),
      "-t", kind === "udp" ? "u1" : "t1",
      "-s", number,
      "-key", "codec_name", codec,
      "-key", "codec_pt", String(CODECS[codec]),
      "-key", "rtp_port", String(ear.port),
      "-i", host, "-mi", host, "-p", String(takePort()), "-mp", String(takePort()), "-cp", String(takePort()),
      "-m", "1", "-nostdin", "-recv_timeout", "10000", "-timeout", "20s", "-timeout_error",
      "-trace_err", "-error_file", join(folder, "errors"),
      "-trace_msg", "-message_file", join(folder, "messages"),
    ]);
    return media?.(ear, CODECS[codec]);
  } finally {
    ear.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** SIPp takes the port it is given and three above it. */
export function takePort() {
  nextPort += 10;
  return nextPort;
}

/** Runs SIPp; `hold` gets the process, which is never left behind. */
export function sipp(folder, args, hold = () => undefined) {
  return new Promise((resolve, reject) => {
    const child = spawn("sipp", args, { cwd: folder, stdio: ["ignore", "ignore", "ignore"], env: { ...process.env, TERM: "dumb" } });
    hold(child);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`sipp ended with ${signal ?? code}\n${traces(folder)}`));
    });
  });
}

function traces(folder) {
  if (!existsSync(folder)) return "";
  return readdirSync(folder).map((file) => readFileSync(join(folder, file), "utf8")).join("\n").slice(-6000);
}

/** Every packet of the prompt, in order, on time, and its first and last 20 ms among them. */
function heardPrompt(ear, payloadType) {
  const packets = checkStream(ear, payloadType);
  const audible = packets.filter(({ payload }) => loud(decodeG711(payloadType, payload)));
  expect(audible.length === PROMPT_PACKETS, `${audible.length} packets of the prompt heard, ${PROMPT_PACKETS} sent`);
  const first = decodeG711(payloadType, audible[0].payload);
  const last = decodeG711(payloadType, audible.at(-1).payload);
  expect(strongestOf(first) === PROMPT.startHz, "the first 20 ms of the prompt are missing");
  expect(strongestOf(last) === PROMPT.endHz, "the last 20 ms of the prompt are missing");
  const spacing = (audible.at(-1).atMs - audible[0].atMs) / (audible.length - 1);
  expect(Math.abs(spacing - 20) < 0.5, `a packet every ${spacing.toFixed(2)} ms, expected every 20`);
  return `${packets.length} packets, one every ${spacing.toFixed(2)} ms`;
}

function heardTone(ear, payloadType) {
  const packets = checkStream(ear, payloadType);
  expect(packets.length >= 10, `only ${packets.length} packets heard`);
  const samples = Float32Array.from(packets.flatMap(({ payload }) => [...decodeG711(payloadType, payload)]));
  const pure = purity(samples, PROMPT.rateHz, 1004);
  expect(pure > 0.95, `only ${(pure * 100).toFixed(0)} % of what is heard is 1004 Hz`);
  return `${packets.length} packets, ${(pure * 100).toFixed(1)} % at 1004 Hz`;
}

/** What holds for any stream of ours: one source, 20 ms packets, nothing missing, an even port. */
function checkStream(ear, payloadType) {
  const packets = ear.packets;
  expect(packets.length > 0, "no RTP came");
  const [first] = packets;
  for (const [index, packet] of packets.entries()) {
    const where = `packet ${index} of ${packets.length}`;
    expect(packet.version === 2, `${where}: RTP version ${packet.version}`);
    expect(packet.payloadType === payloadType, `${where}: payload type ${packet.payloadType}`);
    expect(packet.payload.length === FRAME, `${where}: ${packet.payload.length} bytes`);
    expect(packet.ssrc === first.ssrc, `${where}: the SSRC changed`);
    expect(packet.sequence === ((first.sequence + index) & 0xffff), `${where}: sequence number ${packet.sequence}`);
    expect(packet.from.port === first.from.port, `${where}: the source port changed`);
    const { timestamp } = packets[Math.max(0, index - 1)];
    const step = (packet.timestamp - timestamp) >>> 0;
    expect(index === 0 || step >= FRAME && step % FRAME === 0, `${where}: timestamp step ${step}`);
  }
  expect(first.from.port % 2 === 0, `RTP comes from the odd port ${first.from.port}`);
  return packets;
}

function loud(samples) {
  return samples.some((sample) => Math.abs(sample) > 0.05);
}

function strongestOf(samples) {
  const candidates = [PROMPT.startHz, PROMPT.bodyHz, PROMPT.endHz];
  const powers = candidates.map((hz) => powerAt(samples, PROMPT.rateHz, hz));
  return candidates[powers.indexOf(Math.max(...powers))];
}
