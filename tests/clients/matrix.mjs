// What happens around calls between real endpoints: every way a call can begin, be refused, change and end.
import { browsers } from "./lib/browser.mjs";
import { Endpoints, KINDS, PAGES, withTraces } from "./lib/endpoints.mjs";
import { answered, combinedCall, connect, hangUp, hearEachOther, hears, ring } from "./lib/pair.mjs";
import { servePages } from "./lib/pages.mjs";
import { inParallel } from "./lib/parallel.mjs";
import { expect } from "./lib/report.mjs";

/** One user per kind; tests take other kinds for their other ends. */
const USERS = { jssip: "199", sipjs: "198", baresip: "3001", linphone: "3002" };
/** No note of the music on hold, no part of a digit, and not the tone of 9197. */
const TONES = { jssip: 420, sipjs: 550, baresip: 600, linphone: 1050 };
/** Desk phones of which the server knows that they take no call without SRTP. */
const SECURE_USERS = { baresip: "3101", linphone: "3102" };
const OTHER = { jssip: "baresip", sipjs: "linphone", baresip: "sipjs", linphone: "jssip" };
/** The server's own grace in these tests is 2 s; the rest is for noticing and counting. */
const GONE_MS = 5000;

/** How desk phones come besides UDP, PCMU and no encryption. */
export const VARIANTS = [
  { transport: "tcp", codecs: ["pcma"] },
  { transport: "udp", codecs: ["g722"] },
  { transport: "tcp", codecs: ["opus"] },
  { transport: "tls", codecs: ["pcmu"] },
  { transport: "tls", codecs: ["pcma"], encryption: "srtp" },
  { transport: "tls", codecs: ["opus"], encryption: "srtp-mand", users: SECURE_USERS },
  { transport: "tls", codecs: ["g722"], encryption: "srtp-mand" },
].map((variant) => ({ ...variant, words: `${variant.transport} ${variant.codecs} ${variant.encryption ?? ""}`.trim() }));

/** Runs everything on one server, or the calls of one variant alone. */
export async function runMatrix(server, report, { title = "", variant } = {}) {
  const { program, launch } = browsers.chromium;
  if (program === null) {
    report.note("chromium is not here: the calls between endpoints are left out");
    return;
  }
  const pages = await servePages();
  const browser = await launch(program);
  const endpoints = new Endpoints(server, browser, pages);
  const scene = { server, report, endpoints, title };
  try {
    if (variant !== undefined) {
      await variants(scene, VARIANTS.filter(({ words }) => words === variant));
    } else {
      for (const part of [refusals, endings, variants, singles]) {
        await part(scene);
        await endpoints.closeAll();
      }
      await firefox(scene);
    }
    await report.check(`${title}nothing is left of the calls`, () => server.metricBecomes("sidetone_calls", 0, GONE_MS));
  } finally {
    await endpoints.closeAll();
    await browser.close();
    pages.close();
  }
}

/** Wrong passwords and unknown users, from every kind. */
async function refusals({ report, endpoints, title }) {
  await inParallel(KINDS, 2, async (kind) => {
    for (const [what, options] of [
      ["wrong password", { user: USERS[kind], password: "wrong" }],
      ["unknown user", { user: "nobody", password: "nobodypass" }],
    ]) {
      await report.check(`${title}${kind}: ${what}`, async () => {
        const phone = await endpoints.open(kind, options);
        const status = await phone.registered();
        expect([401, 403, 407].includes(status), `the registration got ${status}`);
        await endpoints.close(phone);
        return String(status);
      });
    }
  });
}

/** Every way a call between every kind and another can end or never begin. */
async function endings(scene) {
  const { report, endpoints, title } = scene;
  const phones = {};
  const isReady = await report.check(`${title}one of each kind registers`, () => Promise.all(KINDS.map(async (kind) => {
    phones[kind] = await endpoints.start(kind, { user: USERS[kind], toneHz: TONES[kind] });
  })));
  if (!isReady) return;
  const checks = {
    "the caller hangs up": (caller, callee) => connect(caller, callee).then(() => hangUp(caller, callee)),
    "the callee hangs up": (caller, callee) => connect(caller, callee).then(() => hangUp(callee, caller)),
    "refused by the callee": refused,
    "cancelled while it rings": cancelled,
    "nobody answers": notAnswered,
    "nobody answers, then a tone": thenTone,
  };
  for (const [name, check] of Object.entries(checks)) {
    // Two disjoint pairs at once, then the same the other way round.
    for (const pairs of [["jssip", "sipjs"], ["baresip", "linphone"]]) {
      await Promise.all(pairs.map((kind) => report.check(`${title}${kind} calls ${OTHER[kind]}: ${name}`, () => {
        const [caller, callee] = [phones[kind], phones[OTHER[kind]]];
        return withTraces([caller, callee], () => check(caller, callee));
      })));
    }
  }
  for (const kind of KINDS) {
    await report.check(`${title}${kind} calls a user who is not registered`, () =>
      withTraces([phones[kind]], () => notRegistered(phones[kind])));
    const [first, second] = KINDS.filter((other) => other !== kind);
    await report.check(`${title}${kind} calls a group of ${first} and ${second}`, () =>
      withTraces([phones[kind], phones[first], phones[second]], () => group(phones[kind], phones[first], phones[second])));
    await report.check(`${title}${kind} calls ${first}, then ${second}`, () =>
      withTraces([phones[kind], phones[first], phones[second]], () => hunt(phones[kind], phones[first], phones[second])));
  }
}

async function refused(caller, callee) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  await ring(caller, callee);
  await callee.reject();
  const { isAnswered, status } = await caller.outcome();
  const wanted = callee.kind === "linphone" ? [603] : [486];
  expect(!isAnswered && wanted.includes(status), `${callee.name} refused, ${caller.name} got ${status}, expected ${wanted}`);
  return String(status);
}

async function cancelled(caller, callee) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  await ring(caller, callee);
  await caller.hangUp();
  await Promise.all([callee.ended(), caller.ended()]);
}

async function notAnswered(caller, callee) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  await ring(caller, callee, `patient-${callee.user}`);
  const { isAnswered, status } = await caller.outcome();
  expect(!isAnswered && [408, 480].includes(status), `nobody answered, ${caller.name} got ${status}`);
  await callee.ended();
  return String(status);
}

async function thenTone(caller, callee) {
  await Promise.all([caller.fresh(), callee.fresh()]);
  await ring(caller, callee, `or-tone-${callee.user}`);
  await answered(caller, "the tone after two seconds");
  await hears(caller, 1004, "after nobody answered");
  await callee.ended();
  await caller.hangUp();
  await caller.ended();
}

async function notRegistered(caller) {
  await caller.fresh();
  await caller.call("3009");
  const { isAnswered, status } = await caller.outcome();
  expect(!isAnswered && status === 480, `a user without a contact: ${caller.name} got ${status}, expected 480`);
}

/** Both ring, the second answers, the first is told that the call was answered elsewhere. */
async function group(caller, first, second) {
  await Promise.all([caller, first, second].map((phone) => phone.fresh()));
  const incoming = Promise.all([first.incoming(), second.incoming()]);
  await caller.call(`group-${first.user}-${second.user}`);
  await incoming;
  await Promise.all([second.answer(), answered(caller, "the group")]);
  await first.ended();
  const cancel = lastRequest(await first.trace(), "CANCEL");
  expect(/^Reason:.*cause=200/im.test(cancel), `the CANCEL to ${first.name} names no reason: ${cancel}`);
  await hearEachOther(caller, second, "in the group");
  await hangUp(second, caller);
}

/** The first rings for two seconds, then the second. */
async function hunt(caller, first, second) {
  await Promise.all([caller, first, second].map((phone) => phone.fresh()));
  const incoming = first.incoming();
  await caller.call(`hunt-${first.user}-${second.user}`);
  await incoming;
  await second.incoming();
  await first.ended();
  await Promise.all([second.answer(), answered(caller, "the second")]);
  await hearEachOther(caller, second, "after the first did not answer");
  await hangUp(caller, second);
}

/** Desk phones over other transports, with other codecs and encryption, call and are called by browsers and phones. */
async function variants({ report, endpoints, title }, wanted = VARIANTS) {
  for (const { users = USERS, words, ...variant } of wanted) {
    const phones = {};
    const isReady = await report.check(`${title}${words}: everybody registers`, () => Promise.all(KINDS.map(async (kind) => {
      const options = PAGES.includes(kind) ? {} : variant;
      phones[kind] = await endpoints.start(kind, { user: users[kind] ?? USERS[kind], toneHz: TONES[kind], ...options });
    })));
    const calls = [["jssip", "baresip"], ["sipjs", "linphone"], ["baresip", "jssip"], ["linphone", "sipjs"],
      ["baresip", "linphone"], ["linphone", "baresip"]];
    if (isReady) {
      for (const pairs of [calls.slice(0, 2), calls.slice(2, 4), calls.slice(4, 5), calls.slice(5)]) {
        await Promise.all(pairs.map(([from, to]) => report.check(`${title}${words}: ${from} calls ${to}`, () =>
          withTraces([phones[from], phones[to]], () =>
            combinedCall(phones[from], phones[to], { holder: PAGES.includes(from) ? phones[to] : phones[from], leaver: phones[to] })))));
      }
    }
    await endpoints.closeAll();
  }
}

/** What needs endpoints of its own. */
async function singles({ server, report, endpoints, title }) {
  const start = (kind, options = {}) => endpoints.start(kind, { user: USERS[kind], toneHz: TONES[kind], ...options });
  const check = (name, run) => report.check(`${title}${name}`, async () => {
    try {
      return await run();
    } finally {
      await endpoints.closeAll();
    }
  });
  for (const library of PAGES) {
    for (const kind of ["baresip", "linphone"]) {
      await check(`${library} calls ${kind}, and its page is closed`, async () => {
        const [page, phone] = await Promise.all([start(library), start(kind)]);
        return withTraces([page, phone], () => gone(page, phone, connect(page, phone), () => page.close()));
      });
      await check(`${kind} calls ${library}, and its page is reloaded`, async () => {
        const [page, phone] = await Promise.all([start(library), start(kind)]);
        return withTraces([page, phone], () => gone(page, phone, connect(phone, page), () => page.page.reload({ waitUntil: "load" })));
      });
      await check(`${library} calls ${kind}: re-INVITE, ICE restart and digits`, async () => {
        const [page, phone] = await Promise.all([start(library), start(kind)]);
        return withTraces([page, phone], () => changes(page, phone));
      });
    }
  }
  await check("two contacts of one user ring, one answers", async () => {
    const [caller, first, second] = await Promise.all([start("jssip"), start("baresip"), start("linphone", { user: USERS.baresip })]);
    return withTraces([caller, first, second], () => twoContacts(caller, first, second));
  });
  await check("a page and a phone of one user ring, the page answers", async () => {
    const [caller, phone, page] = await Promise.all([start("linphone"), start("baresip"), start("jssip", { user: USERS.baresip })]);
    return withTraces([caller, phone, page], () => twoContacts(caller, phone, page));
  });
  await check("busy: the phone is in a call", async () => {
    const [caller, phone, page] = await Promise.all([start("linphone"), start("baresip"), start("jssip")]);
    return withTraces([caller, phone, page], () => busy(caller, phone, page));
  });
  await check("a registration falls with its page", async () => {
    const [page, phone] = await Promise.all([start("jssip"), start("baresip")]);
    await page.close();
    await server.metricBecomes("sidetone_registrations", 1, GONE_MS);
    await phone.call(page.user);
    const { isAnswered, status } = await phone.outcome();
    expect(!isAnswered && status === 480, `a page that has gone: the caller got ${status}, expected 480`);
  });
}

/** Firefox calls and is called, by a desk phone and by Chromium. */
async function firefox({ server, report, endpoints, title }) {
  const { program, launch } = browsers.firefox;
  if (program === null) {
    report.note("firefox is not here and is left out");
    return;
  }
  const browser = await launch(program);
  const others = new Endpoints(server, browser, endpoints.pages);
  try {
    for (const library of PAGES) {
      for (const kind of ["baresip", "linphone", "jssip"]) {
        await report.check(`${title}firefox ${library} and ${kind} call each other`, async () => {
          const [page, phone] = await Promise.all([
            others.start(library, { user: "197", toneHz: 470 }),
            endpoints.start(kind, { user: USERS[kind], toneHz: TONES[kind] }),
          ]);
          await withTraces([page, phone], async () => {
            await combinedCall(page, phone, { leaver: phone });
            await combinedCall(phone, page, { holder: phone, leaver: page });
          });
        });
        await Promise.all([others.closeAll(), endpoints.closeAll()]);
      }
    }
  } finally {
    await others.closeAll();
    await browser.close();
  }
}

/** One side goes away without a word; the other gets a BYE. */
async function gone(page, phone, connected, leave) {
  await connected;
  const start = performance.now();
  await leave();
  await phone.ended(GONE_MS);
  return `BYE after ${((performance.now() - start) / 1000).toFixed(1)} s`;
}

/** What a library does within a call, and both still hear each other. */
async function changes(page, phone) {
  await connect(page, phone);
  if (page.library === "jssip") await page.caller.ask("update");
  await hearEachOther(page, phone, "after an UPDATE");
  await page.caller.ask("restartIce");
  await hears(phone, page.toneHz, "after an ICE restart");
  await hears(page, phone.toneHz, "after an ICE restart");
  await Promise.all([phone.digit("7"), page.caller.ask("sendInfoDigit", "7")]);
  await hangUp(phone, page);
}

async function twoContacts(caller, first, second) {
  await Promise.all([caller, first, second].map((phone) => phone.fresh()));
  const incoming = Promise.all([first.incoming(), second.incoming()]);
  await caller.call(first.user);
  await incoming;
  await Promise.all([second.answer(), answered(caller, "the second contact")]);
  await first.ended();
  await hearEachOther(caller, second, "with the second contact");
  await hangUp(caller, second);
}

/** JsSIP refuses a second call here as busy. */
async function busy(caller, phone, page) {
  await connect(phone, page);
  await caller.fresh();
  await caller.call(page.user);
  const { isAnswered, status } = await caller.outcome();
  expect(!isAnswered && status === 486, `the page is in a call: ${caller.name} got ${status}, expected 486`);
  await hearEachOther(phone, page, "while another one called");
  await hangUp(phone, page);
}

/** The last request of a method in a log, to its empty line. */
function lastRequest(log, method) {
  const at = log.lastIndexOf(`${method} sip:`);
  return at < 0 ? `no ${method}` : log.slice(at).split(/\r?\n\r?\n/)[0];
}
