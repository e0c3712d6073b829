// Every kind of endpoint calls every kind: one combined call for each ordered pair.
import { browsers } from "./lib/browser.mjs";
import { Endpoints, KINDS, withTraces } from "./lib/endpoints.mjs";
import { servePages } from "./lib/pages.mjs";
import { answered, combinedCall, hangUp, hearEachOther } from "./lib/pair.mjs";
import { expect } from "./lib/report.mjs";

/** Who calls and who is called, and the tone that each one says: no note of the music on hold, and no part of a digit. */
const CALLERS = { jssip: ["199", 420], sipjs: ["198", 550], baresip: ["3001", 600], linphone: ["3002", 990] };
const CALLEES = { jssip: ["197", 470], sipjs: ["196", 1030], baresip: ["3003", 1090], linphone: ["3004", 1150] };

/** Four rounds of four calls at once: in each round everybody talks, and after them everybody has called everybody. */
export async function runPairs(server, report, { title = "" } = {}) {
  const { program, launch } = browsers.chromium;
  if (program === null) {
    report.note("chromium is not here: the pair calls are left out");
    return;
  }
  const pages = await servePages();
  const browser = await launch(program);
  const endpoints = new Endpoints(server, browser, pages);
  try {
    const callers = {};
    const callees = {};
    const isReady = await report.check(`${title}pairs: everybody registers`, () => Promise.all(KINDS.map(async (kind) => {
      [callers[kind], callees[kind]] = await Promise.all([CALLERS, CALLEES].map((users) =>
        endpoints.start(kind, { user: users[kind][0], toneHz: users[kind][1] })));
    })));
    if (!isReady) return;
    for (let round = 0; round < KINDS.length; round += 1) {
      await Promise.all(KINDS.map((kind, index) => {
        const [caller, callee] = [callers[kind], callees[KINDS[(index + round) % KINDS.length]]];
        const holder = (index + round) % 2 === 0 ? caller : callee;
        const leaver = round % 2 === 0 ? callee : caller;
        const words = `${holder === caller ? "caller" : "callee"} holds, ${leaver === caller ? "caller" : "callee"} hangs up`;
        return report.check(`${title}${caller.kind} calls ${callee.kind}: ${words}`, () =>
          withTraces([caller, callee], () => combinedCall(caller, callee, { holder, leaver })));
      }));
    }
    await report.check(`${title}a key that is held in a browser is held at a phone meanwhile`, () =>
      withTraces([callers.jssip, callees.baresip], () => heldKey(callers.jssip, callees.baresip)));
    await report.check(`${title}pairs: nothing is left`, () => server.metricBecomes("sidetone_calls", 0, 2000));
  } finally {
    await endpoints.closeAll();
    await browser.close();
    pages.close();
  }
}

/** The caller was answered, in Opus, before anyone was called: the key is of another clock than the callee's. */
async function heldKey(caller, callee) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  const incoming = callee.incoming();
  const number = `answered-${callee.user}`;
  await caller.call(number);
  await Promise.all([incoming, answered(caller, number)]);
  await callee.answer();
  await hearEachOther(caller, callee, "after the answer");
  const pressed = performance.now();
  const since = () => Math.round(performance.now() - pressed);
  const [beganMs, endedMs] = await Promise.all([
    callee.digit("6").then(since),
    callee.digitEnds().then(since),
    caller.sendDigit("6", HELD_MS),
  ]);
  expect(beganMs < HELD_MS / 2, `the key is pressed after ${beganMs} ms, and let go after ${HELD_MS}`);
  const lastsMs = endedMs - beganMs;
  expect(Math.abs(lastsMs - HELD_MS) < 200, `the key is pressed for ${lastsMs} ms, expected ${HELD_MS}`);
  await hangUp(caller, callee);
}

const HELD_MS = 1200;
