// The configurations that three guides print, imported and served as they are, and the scene of each guide with real
// clients: ports, users and passwords are those of the guides.
import { fileURLToPath } from "node:url";
import { startBaresip } from "./lib/baresip.mjs";
import { browsers } from "./lib/browser.mjs";
import { onset } from "./lib/audio.mjs";
import { openCaller, samplesOf } from "./lib/caller.mjs";
import { withTraces } from "./lib/endpoints.mjs";
import { servePages } from "./lib/pages.mjs";
import { combinedCall } from "./lib/pair.mjs";
import { startPage } from "./lib/pagephone.mjs";
import { expect } from "./lib/report.mjs";
import { startImported } from "./lib/server.mjs";

const guide = (name) => fileURLToPath(new URL(`../process/guides/${name}`, import.meta.url));
/** The address of the default route in the namespace, which a server that listens on all of them advertises. */
const HOST = "10.200.0.2";

/** Each guide: what reads it, and its scene. */
const GUIDES = {
  "freeswitch-trunk": { kind: "freeswitch", run: trunk },
  "asterisk-web-phones": { kind: "asterisk", run: webPhones },
  "asterisk-web-client": { kind: "asterisk", run: webClient },
};

export async function runGuides(binary, report) {
  const { program, launch } = browsers.chromium;
  if (program === null) {
    report.note("chromium is not here: the guides are left out");
    return;
  }
  const pages = await servePages();
  const browser = await launch(program);
  try {
    for (const [name, { kind, run }] of Object.entries(GUIDES)) {
      await report.check(`guide ${name}`, async () => {
        const server = await startImported(binary, kind, guide(name));
        try {
          return await run(browser, pages);
        } catch (error) {
          throw new Error(`${error.message}\n${server.tail()}`);
        } finally {
          await server.stop();
        }
      });
    }
  } finally {
    await browser.close();
    pages.close();
  }
}

/** A page without a password calls 07010002000 over both WebSockets and hears the prompt to its end. */
async function trunk(browser, pages) {
  const words = [];
  for (const server of [`ws://${HOST}:5067/`, `wss://${HOST}:7444/`]) {
    const caller = await openCaller(browser, pages, { library: "jssip", server });
    try {
      await caller.call("07010002000");
      await caller.ask("ended", 20_000);
      expect(onset(samplesOf(await caller.ask("heard"))) >= 0, `nothing was heard over ${server}`);
      words.push(server);
    } finally {
      await caller.close();
    }
  }
  return words.join(" ");
}

/** The browsers of the guide, 199 and 1060, and its desk phones. */
async function webPhones(browser, pages) {
  const page = (user, password, address) => startPage({
    browser, pages, library: "jssip", server: `${address}/ws`, user, password, toneHz: 410,
  });
  const [ws, wss] = [`ws://${HOST}:8088`, `wss://${HOST}:8089`];
  const desk = (user, password, toneHz) => startBaresip({ user, password, server: { host: HOST, port: 5060 }, toneHz });
  const pairs = [
    [() => page("199", "199@pass1", wss), () => desk("3001", "3001pass", 590)],
    [() => desk("3002", "3002pass", 650), () => page("199", "199@pass1", ws)],
    [() => page("1060", "password", ws), () => desk("1061", "password", 1150)],
  ];
  for (const pair of pairs) await call(...pair);
  return "199 calls 3001 over wss, 3002 calls 199 over ws, 1060 calls 1061 over ws";
}

/** The one user of the guide, in two pages: the second one calls the first. */
async function webClient(browser, pages) {
  const page = (toneHz) => () => startPage({
    browser, pages, library: "jssip", server: `wss://${HOST}:8089/ws`, user: "webrtc_client", password: "webrtc_client", toneHz,
  });
  const called = await page(410)();
  const caller = await page(590)();
  try {
    for (const phone of [called, caller]) expect(await phone.registered() === 200, `${phone.name} was refused`);
    await withTraces([caller, called], async () => {
      await caller.call("webrtc_client");
      await called.incoming();
      await called.answer();
      const { isAnswered, status } = await caller.outcome();
      expect(isAnswered, `the call got ${status}`);
      await caller.hangUp();
      await called.ended();
    });
  } finally {
    await Promise.all([caller.close(), called.close()]);
  }
}

async function call(openCallerPhone, openCalleePhone) {
  const phones = await Promise.all([openCallerPhone(), openCalleePhone()]);
  const [caller, callee] = phones;
  try {
    for (const phone of phones) {
      const status = await phone.registered();
      expect(status === 200, `${phone.name} was refused with ${status}`);
    }
    await withTraces(phones, () => combinedCall(caller, callee, { holder: caller, leaver: callee }));
  } finally {
    await Promise.all(phones.map((phone) => phone.close()));
  }
}
