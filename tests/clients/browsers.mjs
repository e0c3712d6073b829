// Browsers against the real binary: JsSIP and SIP.js over ws and wss, and the web phone.
import { browsers } from "./lib/browser.mjs";
import { openCaller } from "./lib/caller.mjs";
import { expect } from "./lib/report.mjs";
import { servePages } from "./lib/pages.mjs";
import { startServer } from "./lib/server.mjs";
import { runSipp } from "./sipp.mjs";
import { deadServer, twoWebPhones, webPhone } from "./web-phone.mjs";

/** The server's own grace in these tests is 2 s; the rest is for noticing and counting. */
const GONE_MS = 5000;

/** One call of each kind per browser: what `make test` runs. */
export async function runCombined(server, binary, report, { only }) {
  await eachBrowser(report, only, async (name, browser, pages) => {
    await withCaller(report, `${name} JsSIP ws`, browser, pages, { library: "jssip", server: server.webSocket("ws") }, {
      "tone": (caller) => caller.tone(),
      "prompt to the server's BYE": (caller) => caller.prompt(),
    });
    await withCaller(report, `${name} SIP.js wss, no candidates`, browser, pages,
      { library: "sipjs", server: server.webSocket("wss"), candidates: "none" }, {
        "echo": (caller) => caller.echo(),
        "page closed": (caller) => closedPage(caller, server),
      });
    await report.check(`${name} web phone`, () => webPhone(browser, `http://${server.address("http")}/`));
    await twoWebPhones(report, name, browser, binary);
  });
}

/** Every library, transport, number, codec and turn. */
export async function runFull(binary, report, { only }) {
  for (const [place, options] of Object.entries({
    "127.0.0.1": { address: "127.0.0.1", media: ["shards = 1"] },
    "[::1]": { address: "::1", media: ["shards = 3"] },
    "10.200.0.1": { address: "10.200.0.1", media: ["shards = 3"] },
  })) {
    const server = await startServer(binary, options);
    await runSipp(server, report, { place: `${place} ` });
    await eachBrowser(report, only, async (name, browser, pages) => {
      for (const library of ["jssip", "sipjs"]) {
        for (const scheme of ["ws", "wss"]) {
          const title = `${name} ${library} ${scheme} ${place}`;
          await matrix(report, title, browser, pages, server, { library, server: server.webSocket(scheme) });
        }
      }
      await report.check(`${name} web phone over http ${place}`, () => webPhone(browser, `http://${server.address("http")}/`));
      await report.check(`${name} web phone over https ${place}`, () => webPhone(browser, `https://${server.address("https")}/`));
      await twoWebPhones(report, `${name} ${place}`, browser, binary, options);
      if (place === "127.0.0.1") await deadServer(report, name, browser, binary);
    });
    await report.check(`server ${place} stops with 0`, () => server.stop());
  }
}

async function matrix(report, title, browser, pages, server, options) {
  await withCaller(report, title, browser, pages, options, {
    "tone": (caller) => caller.tone(),
    "tone again": (caller) => caller.tone(),
    "echo": (caller) => caller.echo(),
    "prompt": (caller) => caller.prompt(),
    "unknown number": unknownNumber,
    "DTMF, hold, re-INVITE and UPDATE": (caller) => turns(caller, options.library),
    "page reloaded": (caller) => reloadedPage(caller, server),
  });
  for (const candidates of ["one", "none"]) {
    await withCaller(report, `${title} ${candidates} of the candidates`, browser, pages, { ...options, candidates }, {
      "tone": (caller) => caller.tone(),
    });
  }
  for (const codec of ["PCMU", "PCMA", "opus"]) {
    await withCaller(report, `${title} ${codec} only`, browser, pages, { ...options, codec }, {
      "echo": async (caller) => {
        const words = await caller.echo();
        expect(words.toLowerCase().includes(codec.toLowerCase()), `${codec} was offered, spoken was ${words}`);
        return words;
      },
      "page closed": (caller) => closedPage(caller, server),
    });
  }
  await withCaller(report, `${title} with its own microphone`, browser, pages, { ...options, toneHz: null }, {
    "tone": (caller) => caller.tone(),
  });
}

async function unknownNumber(caller) {
  const result = await caller.ask("call", "404404");
  expect(!result.isAnswered && result.status === 404, `404404 got ${JSON.stringify(result)}`);
}

/** What phones do in the middle of a call, and the tone goes on. */
async function turns(caller, library) {
  await caller.call("9197");
  await caller.ask("audibleAtMs", 10_000);
  await caller.ask("sendDigit", "5");
  await caller.ask("sendInfoDigit", "6");
  await caller.ask("hold");
  await caller.ask("unhold");
  await caller.playsOn("the tone after hold");
  if (library === "jssip") await caller.ask("update");
  await caller.ask("restartIce");
  await caller.playsOn("the tone after an ICE restart");
  await caller.ask("hangUp");
  await caller.ask("ended", 5000);
}

/** A page that goes away ends its call within the grace. */
async function closedPage(caller, server) {
  await caller.call("9197");
  await caller.ask("audibleAtMs", 10_000);
  expect(await server.metric("sidetone_calls") === 1, "the metrics do not show one call");
  await caller.close();
  const elapsed = await server.metricBecomes("sidetone_calls", 0, GONE_MS);
  return `gone after ${(elapsed / 1000).toFixed(1)} s`;
}

async function reloadedPage(caller, server) {
  await caller.call("9197");
  await caller.ask("audibleAtMs", 10_000);
  await caller.page.reload({ waitUntil: "load" });
  const elapsed = await server.metricBecomes("sidetone_calls", 0, GONE_MS);
  return `gone after ${(elapsed / 1000).toFixed(1)} s`;
}

/** Runs checks, in order, on one caller; a caller that cannot be had fails them all as one. */
async function withCaller(report, title, browser, pages, options, checks) {
  let caller = null;
  await report.check(`${title}: connects`, async () => { caller = await openCaller(browser, pages, options); });
  if (caller === null) return;
  for (const [name, check] of Object.entries(checks)) {
    await report.check(`${title}: ${name}`, async () => {
      try {
        return await check(caller);
      } catch (error) {
        throw browser.death === null ? error : new Error(browser.death);
      }
    });
  }
  if (browser.death === null && !caller.page.isClosed()) await caller.close();
}

async function eachBrowser(report, only, run) {
  const pages = await servePages();
  for (const [name, { program, launch }] of Object.entries(browsers)) {
    if (only !== null && only !== name) continue;
    if (program === null) {
      report.note(`${name} is not here and is left out`);
      continue;
    }
    let browser = null;
    await report.check(`${name} starts`, async () => {
      browser = await launch(program);
      return browser.version();
    });
    if (browser === null) continue;
    try {
      await run(name, browser, pages);
    } finally {
      await browser.close();
    }
  }
  pages.close();
}
