// Real clients against the real binary.
//
//   lib/namespace.sh node run.mjs --binary PATH [--full] [--only sipp|wire|prometheus|phones|chromium|firefox]
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { browsers } from "./lib/browser.mjs";
import { Report } from "./lib/report.mjs";
import { startServer } from "./lib/server.mjs";
import { runCombined, runFull } from "./browsers.mjs";
import { runPhones } from "./phones.mjs";
import { runPrometheus } from "./prometheus.mjs";
import { runSipp } from "./sipp.mjs";
import { runWire, stopDuringCall } from "./wire.mjs";

const { values } = parseArgs({
  options: {
    binary: { type: "string" },
    full: { type: "boolean", default: false },
    only: { type: "string" },
  },
});
const PARTS = ["sipp", "wire", "prometheus", "phones"];
const only = values.only ?? null;
if (values.binary === undefined || !(only === null || PARTS.includes(only) || only in browsers)) {
  console.error("usage: run.mjs --binary PATH [--full] [--only sipp|wire|prometheus|phones|chromium|firefox]");
  process.exit(2);
}

const binary = resolve(values.binary);
const report = new Report();
const server = await startServer(binary);
try {
  if (only === null || only === "sipp") await runSipp(server, report);
  if (only === null || only === "wire") await runWire(server, report, { isFull: values.full });
  if (only === null || only === "prometheus") await runPrometheus(server, report);
  if (only === null || only === "phones") await runPhones(server, report, { isFull: values.full });
  if (!values.full && !PARTS.includes(only)) await runCombined(server, report, { only });
} finally {
  await report.check("server stopped during a call says BYE and exits with 0", () => stopDuringCall(server));
}
if (values.full && !PARTS.includes(only)) await runFull(binary, report, { only });
if (report.failures > 0) console.log(server.tail());
process.exitCode = report.finish() ? 0 : 1;
