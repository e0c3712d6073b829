// A real Prometheus scrapes the server, and finds nothing to complain of in what it reads.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "./lib/report.mjs";

const PORT = 19090;
const SCRAPED_MS = 15_000;

export async function runPrometheus(server, report) {
  await report.check("promtool has no complaint about the metrics", () => checkMetrics(server));
  await report.check("prometheus scrapes the server", () => scrape(server));
}

async function checkMetrics(server) {
  const text = await (await fetch(`http://${server.ready.control}/metrics`)).text();
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  expect(status === 0 && stdout === "" && stderr === "", `promtool says:\n${stdout}${stderr}`);
  return `${new Set(text.match(/^# TYPE \S+/gm)).size} families`;
}

async function scrape(server) {
  const folder = mkdtempSync(join(tmpdir(), "prometheus-"));
  const config = join(folder, "prometheus.yml");
  writeFileSync(config, `global:
  scrape_interval: 1s
scrape_configs:
  - job_name: sidetone
    static_configs:
      - targets: ["${server.ready.control}"]
`);
  const child = spawn("prometheus", [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(folder, "data")}`,
    `--web.listen-address=127.0.0.1:${PORT}`,
  ], { stdio: "ignore" });
  try {
    const limit = await queried("sidetone_calls_limit");
    expect(Number(limit) > 0, `sidetone_calls_limit is ${limit}`);
    expect(await queried("up") === "1", "the target is not up");
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The value of a query once there is one; a query is the only way to hear of a scrape. */
async function queried(query) {
  const end = performance.now() + SCRAPED_MS;
  while (performance.now() < end) {
    try {
      const answer = await (await fetch(`http://127.0.0.1:${PORT}/api/v1/query?query=${query}`)).json();
      const value = answer.data?.result?.[0]?.value?.[1];
      if (value !== undefined) return value;
    } catch {
      // It has not started to listen.
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`prometheus has no ${query} after ${SCRAPED_MS} ms`);
}
