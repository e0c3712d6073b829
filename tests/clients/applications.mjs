// The applications of the dialplan, in calls of a browser: what is played is heard, what is said is recorded.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { strongestHz, toneSamples } from "./lib/audio.mjs";
import { browsers } from "./lib/browser.mjs";
import { RATE_HZ, SAID_HZ, openCaller, samplesOf } from "./lib/caller.mjs";
import { melody, shown } from "./lib/melody.mjs";
import { servePages } from "./lib/pages.mjs";
import { inParallel } from "./lib/parallel.mjs";
import { expect } from "./lib/report.mjs";
import { startServer } from "./lib/server.mjs";

const SECRET = "a secret of these tests only";
/** All that is ever played or said; far enough apart for windows of 20 ms. */
const NOTES_HZ = [500, 600, SAID_HZ, 850, 1000, 1150, 1300, 1500, 1700];
const STRETCH_MS = 100;
/** An event of 48 kHz ends after 1.37 s; what is held for longer goes on in another one. */
const HELD_MS = 3000;
const PRESSED_MS = 100;
const REST_MS = 200;
/** What the browser makes up after the last packet. */
const FADE_MS = 200;
const ENDED_MS = 15_000;

const tone = (hz, durationMs) => `tone_stream://%(${durationMs},0,${hz})`;
const play = (hz, durationMs = 300) => ["playback", tone(hz, durationMs)];

const SOUNDS = {
  "600.wav": toneSamples(600, 200),
  "850.wav": toneSamples(850, 400),
  "two.wav": Float32Array.of(...toneSamples(1000, 400), ...toneSamples(1150, 400)),
};

/** What each number runs; `hook` is the address of the web hooks. */
const numbers = (hook) => ({
  plays: [
    ["pre_answer", ""], play(500, 400), ["answer", ""],
    ["playback", "{loops=2}600.wav"], ["playback", "{volume=-12}850.wav"], ["playback", "{offset=400}two.wav"],
    ["playback", "silence_stream://300"], ["gentones", "%(200,100,1300);%(200,0,1500)|2"],
    ["playback", "tone_stream://L=2;v=-20;%(160,140,1700)"], ["playback", "600.wav!850.wav"], ["sleep", "300"],
    ["set", "x=on"], ["export", "y=1"], ["unset", "y"], ["info", ""], ["log", "NOTICE x is ${x}, y is ${y}."],
    ["execute_extension", "inner-${x}"], play(500, 200), ["transfer", "part-${x}"],
  ],
  "inner-on": [play(1300)],
  "part-on": [play(1700), ["hangup", "USER_BUSY"]],
  records: [
    ["set", "RECORD_STEREO=true"], ["answer", ""], ["record_session", "$${recordings_dir}/both-${uuid}.wav"],
    ["record", "$${recordings_dir}/one-${uuid}.wav 10"], ["playback", "$${recordings_dir}/one-${uuid}.wav"],
    ["stop_record_session", ""], ["log", "NOTICE ${record_ms} ms recorded."], play(1500), ["hangup", ""],
  ],
  digits: [
    ["answer", ""],
    ["play_and_get_digits", `2 4 2 8000 # ${tone(500, 8000)} ${tone(1150, 300)} choice ^4\\d$`],
    ["execute_extension", "choice-${choice}"],
    ["read", `1 3 ${tone(1000, 8000)} word 8000 #`], ["transfer", "word-${word}"],
  ],
  "choice-42": [play(1300)],
  "word-05": [play(1500), ["hangup", ""]],
  endless: [["answer", ""], ["endless_playback", "600.wav"], play(1500), ["hangup", ""]],
  delayed: [["answer", ""], ["delay_echo", "400"]],
  rings: [["ring_ready", ""], ["sleep", "300"], ["respond", "183"], play(500, 400), ["respond", "200"], play(850), ["hangup", ""]],
  refused: [["respond", "480 not today"]],
  redirected: [["redirect", "sip:${destination_number}@192.0.2.1"]],
  deflected: [["deflect", "sip:9197@192.0.2.1"]],
  hook: [["webhook", `${hook}/good`, [play(1700)]], ["hangup", ""]],
  "hook-dead": [["webhook", `${hook}/dead 1000`, [["answer", ""], play(1700)]], ["hangup", ""]],
  "hook-slow": [["webhook", `${hook}/slow 500`, [["answer", ""], play(1500)]], ["hangup", ""]],
});

const CHECKS = {
  "pre_answer, playback, gentones, silence, execute_extension and transfer": plays,
  "record to a key, playback of the recording and record_session": records,
  "play_and_get_digits and read decide branches": digits,
  "endless_playback to a key": endless,
  "delay_echo": delayed,
  "ring_ready, respond 183 and respond 200": rings,
  "respond, redirect and deflect": refusals,
  "webhook, and its fallback": hooks,
};

export async function runApplications(binary, report) {
  const { program, launch } = browsers.chromium;
  if (program === null) {
    report.note("chromium is not here: the applications are left out");
    return;
  }
  const hooks = await serveHooks();
  const server = await startServer(binary, { dialplan: dialplan(hooks.url), sounds: SOUNDS, webhookSecret: SECRET });
  const pages = await servePages();
  const browser = await launch(program);
  const before = report.failures;
  try {
    await inParallel(Object.entries(CHECKS), 2, ([name, check]) => report.check(`applications: ${name}`, async () => {
      const caller = await openCaller(browser, pages, { library: "jssip", server: server.webSocket("ws") });
      try {
        return await check(caller, server, hooks);
      } finally {
        await caller.close();
      }
    }));
  } finally {
    await browser.close();
    pages.close();
    hooks.close();
    await report.check("applications: server stops with 0", () => server.stop());
  }
  if (report.failures > before) console.log(server.tail());
}

async function plays(caller, server) {
  await caller.call("plays");
  const notes = await heardToTheEnd(caller, "USER_BUSY");
  expectMelody(notes, [
    [500, 400], [600, 400], [850, 400], [1150, 400], [null, 300],
    [1300, 200], [null, 100], [1500, 200], [1300, 200], [null, 100], [1500, 200],
    [1700, 160], [null, 140], [1700, 160], [null, 140], [600, 200], [850, 400], [null, 300],
    [1300, 300], [500, 200], [1700, 300],
  ]);
  const quieter = notes.findLast(({ hz }) => hz === 850).level - notes[2].level;
  expect(Math.abs(quieter - 12) < 2, `a volume of -12 dB is heard as -${quieter.toFixed(1)} dB`);
  expect(server.log.join("").includes("x is on, y is ."), "the log does not say what the variables were");
  return shown(notes);
}

async function records(caller, server) {
  await caller.call("records");
  await caller.listen(1500);
  await caller.ask("sendDigit", "*");
  const notes = await heardToTheEnd(caller);
  const own = notes.find(({ hz }) => hz === SAID_HZ)?.durationMs ?? 0;
  expect(own > 900 && notes.at(-1).hz === 1500, `what was said is not played back, then 1500 Hz: ${shown(notes)}`);
  const said = server.log.join("").match(/(\d+) ms recorded\./)?.[1];
  expect(Math.abs(Number(said) - own) < 400, `${said} ms were recorded, ${own} heard`);
  const folder = join(server.folder, "recordings");
  const both = readdirSync(folder).find((file) => file.startsWith("both-"));
  const { channels, rateHz, samples } = readWav(join(folder, both));
  expect(channels === 2, `${both} has ${channels} channel`);
  const left = samples.filter((_, index) => index % 2 === 0);
  const right = samples.filter((_, index) => index % 2 === 1);
  for (const [side, channel] of Object.entries({ left, right })) {
    const hz = strongestHz(channel, rateHz);
    expect(Math.abs(hz - SAID_HZ) < 5, `the ${side} side of the recorded session is ${hz.toFixed(0)} Hz`);
  }
  return `${said} ms, ${shown(notes)}`;
}

async function digits(caller) {
  await caller.call("digits");
  // One digit is too few; then one that fits; the last one is held for longer than one event can say.
  for (const [hz, keys] of [[500, "7#"], [1150, ""], [500, "42#"], [1000, "05#"]]) {
    await hears(caller, hz);
    for (const key of keys) {
      const durationMs = key === "5" ? HELD_MS : PRESSED_MS;
      await caller.ask("sendDigit", key, durationMs);
      // The next one would give its duration to all that are not sent yet.
      await caller.listen(durationMs + REST_MS);
    }
  }
  const notes = await heardToTheEnd(caller);
  const order = notes.map(({ hz }) => hz).filter((hz) => hz !== null).join(" ");
  expect(order === "500 1150 500 1300 1000 1500", `heard was ${shown(notes)}`);
  return shown(notes);
}

async function endless(caller) {
  await caller.call("endless");
  await hears(caller, 600);
  await caller.listen(1000);
  await caller.ask("sendDigit", "*");
  const notes = await heardToTheEnd(caller);
  expect(notes[0].hz === 600 && notes[0].durationMs > 900 && notes.at(-1).hz === 1500, `heard was ${shown(notes)}`);
  return shown(notes);
}

async function delayed(caller) {
  const { okAtMs } = await caller.call("delayed");
  const afterMs = await caller.ask("audibleAtMs", 10_000) - okAtMs;
  await hears(caller, SAID_HZ);
  expect(afterMs > 390, `what was said came back after ${afterMs.toFixed(0)} ms, expected 400`);
  await caller.leave();
  return `${afterMs.toFixed(0)} ms`;
}

async function rings(caller) {
  await caller.call("rings");
  const notes = await heardToTheEnd(caller);
  expectMelody(notes, [[500, 400], [850, 300]]);
  const answers = (await caller.ask("sip")).flatMap(({ direction, text }) => (direction === "in" ? text.match(/^SIP\/2\.0 (\d+)/)?.[1] ?? [] : []));
  expect(answers.filter((status) => status !== "100").join(" ").startsWith("180 183 200"), `the INVITE was answered ${answers.join(" ")}`);
  return answers.join(" ");
}

async function refusals(caller) {
  const words = [];
  for (const [number, status, contact] of [["refused", 480], ["redirected", 302, "sip:redirected@192.0.2.1"], ["deflected", 302, "sip:9197@192.0.2.1"]]) {
    const result = await caller.ask("call", number);
    expect(!result.isAnswered && result.status === status, `${number} got ${JSON.stringify(result)}`);
    const answer = (await caller.ask("sip")).find(({ text }) => text.startsWith(`SIP/2.0 ${status}`)).text;
    expect(contact === undefined || answer.includes(`<${contact}>`), `${number} got no ${contact}:\n${answer}`);
    words.push(result.status);
  }
  return words.join(" ");
}

async function hooks(caller, server, { asked }) {
  for (const [number, hz] of [["hook", 1300], ["hook-dead", 1700], ["hook-slow", 1500]]) {
    await caller.call(number);
    const notes = await heardToTheEnd(caller);
    expectMelody(notes, [[hz, 300]]);
  }
  const good = asked.filter(({ path }) => path === "/good");
  expect(good.length === 1 && good[0].isSigned, `the hook was asked ${JSON.stringify(good)}`);
  expect(good[0].body.facts.destination_number === "hook", `it was told ${JSON.stringify(good[0].body)}`);
  const dead = asked.filter(({ path }) => path === "/dead").length;
  expect(dead === 2, `the dead hook was asked ${dead} times, expected 2`);
}

/** Waits until this is what is heard. */
async function hears(caller, hz) {
  const deadline = performance.now() + ENDED_MS;
  while (performance.now() < deadline) {
    if (melody(await caller.listen(100), RATE_HZ, NOTES_HZ).at(-1)?.hz === hz) return;
  }
  throw new Error(`${hz} Hz was not heard: ${shown(melody(samplesOf(await caller.ask("heard")), RATE_HZ, NOTES_HZ))}`);
}

/** All that was heard when the server has hung up. */
async function heardToTheEnd(caller, cause = "NORMAL_CLEARING") {
  await caller.ask("ended", ENDED_MS);
  const bye = (await caller.ask("sip")).find(({ direction, text }) => direction === "in" && text.startsWith("BYE "));
  expect(bye?.text.includes(cause) ?? false, `the call did not end with a BYE that says ${cause}`);
  return melody(samplesOf(await caller.ask("heard")), RATE_HZ, NOTES_HZ);
}

function expectMelody(notes, expected) {
  const isAsLong = (heardMs, playedMs, isLast) =>
    heardMs >= playedMs - STRETCH_MS && heardMs <= playedMs + STRETCH_MS + (isLast ? FADE_MS : 0);
  const isIt = notes.length === expected.length && expected.every(([hz, durationMs], index) =>
    notes[index].hz === hz && isAsLong(notes[index].durationMs, durationMs, index === expected.length - 1));
  expect(isIt, `heard was ${shown(notes)}, expected ${expected.map(([hz, durationMs]) => `${hz ?? "-"}:${durationMs}`).join(" ")}`);
}

/** Answers of a web application; `asked` is what it was asked. */
async function serveHooks() {
  const asked = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    asked.push({ path: request.url, isSigned: isSigned(request.headers, body), body: JSON.parse(body) });
    if (request.url === "/slow") return;
    response.writeHead(request.url === "/good" ? 200 : 503, { "content-type": "application/json" });
    response.end(JSON.stringify(["answer", `playback ${tone(1300, 300)}`]));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close };
}

function isSigned(headers, body) {
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const expected = Buffer.from(`v1,${createHmac("sha256", SECRET).update(signed).digest("base64")}`);
  const found = Buffer.from(headers["webhook-signature"] ?? "");
  return found.length === expected.length && timingSafeEqual(found, expected);
}

function readWav(file) {
  const bytes = readFileSync(file);
  const data = bytes.indexOf("data") + 8;
  const samples = new Float32Array((bytes.length - data) >> 1);
  for (let index = 0; index < samples.length; index += 1) samples[index] = bytes.readInt16LE(data + 2 * index) / 32_768;
  return { channels: bytes.readUInt16LE(22), rateHz: bytes.readUInt32LE(24), samples };
}

function dialplan(hook) {
  const action = ([application, data, fallback = []]) =>
    `<action application="${application}" data="${data}">${fallback.map(action).join("")}</action>`;
  const extension = ([number, actions]) => `<extension name="${number}"><condition field="destination_number" expression="^${number}$">\n${
    actions.map(action).join("\n")}</condition></extension>`;
  return `<context name="public">\n${Object.entries(numbers(hook)).map(extension).join("\n")}\n</context>\n`;
}
