// The real binary, started on free ports with a configuration of the test's own.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { markedPrompt, writeWav } from "./audio.mjs";

const START_MS = 15_000;
const STOP_MS = 10_000;

/**
 * Starts `sidetone run` and resolves when it is ready.
 * `address` is where it listens, `media` and `calls` are lines of TOML for those tables, `users` are such lines by
 * name, `dialplan` is XML in place of the one in the binary, and `sounds` are samples by the name of a file.
 */
export async function startServer(binary, { address = "127.0.0.1", media = [], calls = [], users = {}, dialplan = null, sounds = {}, webhookSecret = null } = {}) {
  const folder = newFolder();
  for (const [name, samples] of Object.entries({ "common/logged_in_status.wav": markedPrompt(), ...sounds })) writeWav(join(folder, name), samples);
  if (dialplan !== null) writeFileSync(join(folder, "dialplan.xml"), dialplan);
  const lines = configuration({ address, folder, media, calls, users, hasPlan: dialplan !== null, webhookSecret });
  writeFileSync(join(folder, "sidetone.toml"), lines);
  return launch(binary, folder);
}

/** Starts the server on what `sidetone import KIND` makes of a folder, as it is printed: ports and all. */
export async function startImported(binary, kind, from) {
  const folder = newFolder();
  execFileSync(binary, ["import", kind, from, "--output", folder], { stdio: ["ignore", "ignore", "pipe"] });
  return launch(binary, folder);
}

function newFolder() {
  return mkdtempSync(join(tmpdir(), "sidetone-"));
}

/** Starts the server on the configuration in a folder. */
async function launch(binary, folder) {
  const readyFile = join(folder, "ready.json");
  const child = spawn(binary, ["run", "--config", join(folder, "sidetone.toml"), "--ready-file", readyFile], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, XDG_STATE_HOME: folder, STATE_DIRECTORY: folder },
  });
  process.once("exit", () => child.kill("SIGKILL"));
  const log = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => log.push(text));
  }
  const exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const failed = new Promise((_, reject) => child.once("error", reject));

  try {
    const ready = await Promise.race([
      fileWritten(folder, readyFile),
      failed,
      exited.then(({ code, signal }) => {
        throw new Error(`the server stopped at its start (${signal ?? code}):\n${log.join("")}`);
      }),
      timeout(START_MS, () => `the server was not ready within ${START_MS} ms:\n${log.join("")}`),
    ]);
    return new Server(binary, child, ready, folder, log, exited);
  } catch (error) {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

class Server {
  constructor(binary, child, ready, folder, log, exited) {
    Object.assign(this, { binary, child, ready, folder, log, exited });
  }

  /** What `sidetone token` prints for a user. */
  token(user, ...options) {
    const file = join(this.folder, "sidetone.toml");
    return execFileSync(this.binary, ["token", "--config", file, "--user", user, ...options], { encoding: "utf8" }).trim();
  }

  /** `host:port` of the listener of a kind (udp, tcp, tls, http, https). */
  address(kind) {
    const found = this.ready.listen.find((entry) => entry.kind === kind);
    if (found === undefined) throw new Error(`the server has no listener of kind ${kind}`);
    return found.address;
  }

  /** `ws://…/ws` or `wss://…/ws`. */
  webSocket(scheme) {
    return `${scheme}://${this.address(scheme === "wss" ? "https" : "http")}/ws`;
  }

  /** Sum of a metric over all its label sets that contain `labels`. */
  async metric(name, labels = "") {
    const response = await fetch(`http://${this.ready.control}/metrics`);
    const text = await response.text();
    return text.split("\n")
      .filter((line) => line.startsWith(name) && /^[{ ]/.test(line.slice(name.length)) && line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  }

  /** Resolves with the time it took until a metric has a value; the scrape is the only event there is. */
  async metricBecomes(name, value, withinMs) {
    const start = performance.now();
    for (;;) {
      const now = await this.metric(name);
      const elapsed = performance.now() - start;
      if (now === value) return elapsed;
      if (elapsed > withinMs) throw new Error(`${name} is ${now} after ${withinMs} ms, expected ${value}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** SIGTERM; fails unless the server exits with 0. */
  async stop() {
    this.child.kill("SIGTERM");
    try {
      const { code, signal } = await Promise.race([
        this.exited,
        timeout(STOP_MS, () => `the server did not stop within ${STOP_MS} ms of SIGTERM`),
      ]);
      if (code !== 0) throw new Error(`the server ended with ${signal ?? code}:\n${this.tail()}`);
    } finally {
      this.child.kill("SIGKILL");
      rmSync(this.folder, { recursive: true, force: true });
    }
  }

  /** Ends it without a word to anybody. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The last lines of the server's log. */
  tail() {
    return this.log.join("").split("\n").slice(-40).join("\n");
  }
}

function configuration({ address, folder, media, calls, users, hasPlan, webhookSecret }) {
  const kinds = ["udp", "tcp", "tls", "http", "https"];
  const bracketed = address.includes(":") ? `[${address}]` : address;
  return [
    `state_dir = "${folder}"`,
    ...kinds.flatMap((kind) => ["[[listen]]", `kind = "${kind}"`, `address = "${bracketed}:0"`]),
    "[control]",
    `address = "127.0.0.1:0"`,
    "[sounds]",
    `dir = "${folder}"`,
    "[media]",
    "webrtc_port = 0",
    "rtp_port_max = 19999",
    ...media,
    "[calls]",
    "webrtc_silence_s = 2",
    ...calls,
    ...(hasPlan ? ["[dialplan]", `file = "dialplan.xml"`] : []),
    ...(webhookSecret === null ? [] : ["[webhook]", `secret = "${webhookSecret}"`]),
    ...Object.entries(users).flatMap(([name, lines]) => [`[users.${name}]`, ...lines]),
    "[registrar]",
    "flow_grace_s = 2",
    "[log]",
    `level = "${process.env.SIDETONE_LOG ?? "info"}"`,
    `format = "text"`,
    "",
  ].join("\n");
}

/** Resolves with the JSON of a file once it is there and whole. */
function fileWritten(folder, file) {
  return new Promise((resolve) => {
    const read = () => {
      if (!existsSync(file)) return;
      try {
        const json = JSON.parse(readFileSync(file, "utf8"));
        watcher.close();
        resolve(json);
      } catch {
        // Half written: the next event brings the rest.
      }
    };
    // A server that never gets that far must not keep this program from ending.
    const watcher = watch(folder, { persistent: false }, read);
    read();
  });
}

/** `host:port` or `[host]:port`. */
export function splitAddress(address) {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
}

export function timeout(milliseconds, words) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(words())), milliseconds).unref();
  });
}
