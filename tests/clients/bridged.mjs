// Calls through the server to SIPp, and from SIPp: what no real client does.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBaresip } from "./lib/baresip.mjs";
import { passwordOf } from "./lib/office.mjs";
import { inParallel } from "./lib/parallel.mjs";
import { expect } from "./lib/report.mjs";
import { openEar } from "./lib/rtp.mjs";
import { splitAddress } from "./lib/server.mjs";
import { SCENARIOS, sipp, takePort } from "./sipp.mjs";

const CALLER = "3009";
/** A call that is answered stays up for this long. */
const TALK_MS = 600;

/** What SIPp does when it is called by a desk phone, and what that phone gets to see. */
const CALLEES = [
  { scenario: "callee" },
  { scenario: "callee_hangs_up", endsItself: true },
  { scenario: "callee_updates", talkMs: 2500 },
  { scenario: "early_media", rings: "CALL_PROGRESS" },
  { scenario: "forked", talkMs: 1500 },
  // What comes again is the same message, which SIPp would otherwise answer by repeating itself.
  { scenario: "lost_ack", talkMs: 1500, options: ["-nr"] },
  { scenario: "interval_too_small" },
  { scenario: "moved", then: "callee" },
  { scenario: "late_cancel", cancels: true },
  { scenario: "silent_ringer", cancels: true },
  { scenario: "silent_ringer", number: "patient-uri", status: 480, cause: 19 },
  { scenario: "busy", status: 486, cause: 17 },
  // The other side's overload says nothing about us (RFC 3261 §16.7).
  { scenario: "unavailable", status: 500, cause: 34 },
  { scenario: "not_found", status: 404, cause: 1 },
  { scenario: "unusable_answer", status: 488, cause: 88 },
];

/** What comes after half of the shortest session interval. */
const SLOW_CALLEES = [
  { scenario: "glare", talkMs: 55_000 },
  { scenario: "refresh_rejected", talkMs: 60_000 },
];

/** What SIPp does when it calls; the other end is SIPp too. */
const CALLERS = [
  { scenario: "bridged_late_offer" },
  { scenario: "bridged_lost_ack", options: ["-nr"] },
  { scenario: "bridged_changes" },
  { scenario: "bridged_short_session", isRefused: true },
  { scenario: "too_many_hops", isRefused: true },
];

/** `isFull` adds what takes a minute. */
export async function runBridged(server, report, { isFull, title = "" }) {
  await inParallel([...(isFull ? SLOW_CALLEES : []), ...CALLEES], 6, (call) =>
    report.check(`${title}sipp is called: ${call.scenario}${call.number ? ` ${call.number}` : ""}`, () => calls(server, call)));
  await inParallel(CALLERS, 6, (call) =>
    report.check(`${title}sipp calls: ${call.scenario}`, () => isCalled(server, call)));
}

/** A phone calls SIPp. */
async function calls(server, call) {
  const others = call.then === undefined ? [] : [await Sipp.open(server, call.then)];
  const callee = await Sipp.open(server, call.scenario, { otherPort: others[0]?.port, options: call.options });
  const phone = await startBaresip({
    user: CALLER, password: passwordOf(CALLER), server: splitAddress(server.address("udp")), toneHz: 600, registers: false,
  });
  try {
    const ran = Promise.all([callee, ...others].map((one) => one.run()));
    ran.catch(() => undefined);
    // A scenario that fails before the phone is done is the better report.
    await Promise.race([talk(phone, call, callee.port), ran.then(() => new Promise(() => undefined))]);
    await ran;
  } catch (error) {
    throw new Error(`${error.message}\n--- the phone\n${phone.trace().slice(-6000)}`);
  } finally {
    for (const one of [callee, ...others]) one.close();
    await phone.close();
  }
}

/** The phone's side of such a call. */
async function talk(phone, call, port) {
  await phone.call(`${call.number ?? "uri"}-${port}`);
  if (call.rings !== undefined) await phone.happenings.next([call.rings], 5000, { who: phone.name });
  if (call.cancels) {
    await phone.ringing();
    await phone.hangUp();
    await phone.ended();
    return;
  }
  const { isAnswered, status } = await phone.outcome();
  if (call.status !== undefined) {
    expect(!isAnswered && status === call.status, `the phone got ${isAnswered ? "an answer" : status}, expected ${call.status}`);
    const reason = new RegExp(`^Reason: *Q\\.850;cause=${call.cause}\\b`, "im");
    expect(await phone.prints(reason), `the refusal names no cause ${call.cause}`);
    return;
  }
  expect(isAnswered, `the phone got ${status}, expected an answer`);
  if (!call.endsItself) {
    await new Promise((resolve) => setTimeout(resolve, call.talkMs ?? TALK_MS));
    expect(phone.happenings.count("CALL_CLOSED") === 0, "the call was ended");
    await phone.hangUp();
  }
  await phone.ended();
}

/** SIPp calls SIPp. */
async function isCalled(server, { scenario, isRefused = false, options }) {
  const callee = await Sipp.open(server, "callee");
  const caller = await Sipp.open(server, scenario, { number: `uri-${callee.port}`, options });
  try {
    await Promise.all([caller.run(), ...(isRefused ? [] : [callee.run()])]);
  } finally {
    callee.close();
    caller.close();
  }
}

/** One scenario on a port of its own. */
class Sipp {
  static async open(server, scenario, { number = null, otherPort = 0, options = [] } = {}) {
    const { host } = splitAddress(server.address("udp"));
    return Object.assign(new Sipp(), {
      server, scenario, number, host, otherPort, options, port: takePort(), ear: await openEar(host), folder: mkdtempSync(join(tmpdir(), "sidetone-sipp-")),
    });
  }

  async run() {
    const { folder, host, port } = this;
    try {
      await sipp(folder, [
        ...(this.number === null ? [] : [this.server.address("udp"), "-s", this.number]),
        "-sf", join(SCENARIOS, `${this.scenario}.xml`), "-t", "u1",
        "-key", "rtp_port", String(this.ear.port), "-key", "other_port", String(this.otherPort),
        "-i", host, "-mi", host, "-p", String(port), "-mp", String(takePort()), "-cp", String(takePort()),
        ...this.options, "-m", "1", "-nostdin", "-recv_timeout", "15000", "-timeout", "90s", "-timeout_error",
        "-trace_err", "-error_file", join(folder, "errors"), "-trace_msg", "-message_file", join(folder, "messages"),
      ], (child) => { this.child = child; });
    } catch (error) {
      throw new Error(`${this.scenario}: ${error.message}`);
    }
  }

  close() {
    this.child?.kill("SIGKILL");
    this.ear.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
