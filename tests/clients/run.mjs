// Real clients against the real binary.
//
//   lib/namespace.sh node run.mjs --binary PATH [--full] [--only PART] [--place ADDRESS] [--variant WORDS]
//
// A full run serves its offices on each place in turn; `--place` names one. `--variant "udp g722"` leaves of the
// matrix the calls of the desk phones that come so.
import { constants } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { browsers } from "./lib/browser.mjs";
import { office } from "./lib/office.mjs";
import { Report } from "./lib/report.mjs";
import { startServer } from "./lib/server.mjs";
import { runApplications } from "./applications.mjs";
import { runBridged } from "./bridged.mjs";
import { runCombined, runFull } from "./browsers.mjs";
import { runGuides } from "./guides.mjs";
import { runMatrix, VARIANTS } from "./matrix.mjs";
import { runPairs } from "./pairs.mjs";
import { runPhones } from "./phones.mjs";
import { runPrometheus } from "./prometheus.mjs";
import { runSipp } from "./sipp.mjs";
import { runWire, stopDuringCall } from "./wire.mjs";

/** Parts that call the numbers of the default dialplan. */
const NUMBERS = { sipp: runSipp, wire: runWire, prometheus: runPrometheus, phones: runPhones };
/** Parts in which users call each other. */
const OFFICE = { pairs: runPairs, bridged: runBridged };
/** Where an office is served in the full run: IPv4, and an address that is not loopback. */
const PLACES = ["127.0.0.1", "10.200.0.1"];

const { values } = parseArgs({
  options: {
    binary: { type: "string" },
    full: { type: "boolean", default: false },
    only: { type: "string" },
    place: { type: "string" },
    variant: { type: "string" },
  },
});
const known = [...Object.keys(NUMBERS), ...Object.keys(OFFICE), "applications", "guides", "matrix", ...Object.keys(browsers)];
const only = values.only ?? null;
const variants = VARIANTS.map(({ words }) => words);
const isOneOf = (value, all) => value === undefined || all.includes(value);
if (values.binary === undefined || !isOneOf(values.only, known) || !isOneOf(values.place, PLACES) || !isOneOf(values.variant, variants)) {
  console.error(`usage: run.mjs --binary PATH [--full] [--only ${known.join("|")}]
  [--place ${PLACES.join("|")}] [--variant "${variants.join('"|"')}"]`);
  process.exit(2);
}

const binary = resolve(values.binary);
const isFull = values.full;
const isWanted = (part) => only === null || only === part;
const report = new Report();

// On SIGHUP and SIGTERM the driver of a browser closes that browser alone, and every check after it would fail.
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    report.note(`cut off by ${signal}`);
    report.finish();
    process.exit(128 + constants.signals[signal]);
  });
}

if ([...Object.keys(NUMBERS), ...Object.keys(browsers)].some(isWanted)) await numbers();
if (isWanted("applications")) await runApplications(binary, report);
if (isWanted("guides")) await runGuides(binary, report);
if ([...Object.keys(OFFICE), "matrix"].some(isWanted)) {
  const places = isFull ? PLACES : PLACES.slice(0, 1);
  for (const place of values.place === undefined ? places : [values.place]) await calls(place);
}
process.exitCode = report.finish() ? 0 : 1;

/** Callers without a password call the numbers of the default dialplan. */
async function numbers() {
  const server = await startServer(binary);
  const before = report.failures;
  try {
    for (const [part, run] of Object.entries(NUMBERS)) if (isWanted(part)) await run(server, report, { isFull });
    if (!isFull && Object.keys(browsers).some(isWanted)) await runCombined(server, binary, report, { only });
  } finally {
    await report.check("server stopped during a call says BYE and exits with 0", () => stopDuringCall(server));
  }
  if (report.failures > before) console.log(server.tail());
  if (isFull && Object.keys(browsers).some(isWanted)) await runFull(binary, report, { only });
}

/** Users call each other. */
async function calls(place) {
  const server = await startServer(binary, { address: place, ...office(place) });
  const before = report.failures;
  const title = isFull ? `${place} ` : "";
  try {
    for (const [part, run] of Object.entries(OFFICE)) if (isWanted(part)) await run(server, report, { isFull, title });
    if (isFull && isWanted("matrix")) await runMatrix(server, report, { title, variant: values.variant });
  } finally {
    await report.check(`${title}server stops with 0 after the calls`, () => server.stop());
  }
  if (report.failures > before) console.log(server.tail());
}
