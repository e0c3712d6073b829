// baresip as an endpoint: a folder of its own, JSON commands over TCP, a sine for a voice, a WAV file for an ear.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Happenings } from "./happenings.mjs";
import { isGrowing, nextOf } from "./recording.mjs";

const MODULES = "/usr/lib/baresip/modules";
const START_MS = 10_000;
const COMMAND_MS = 5000;
/** What was said before the voice was changed is on its way this long. */
const SETTLE_MS = 300;
const CODECS = { pcmu: "pcmu/8000/1", pcma: "pcma/8000/1", g722: "g722/16000/1", opus: "opus/48000/2" };

/**
 * Starts baresip for a user; `server` is host and port, `encryption` one of null, "srtp" or "srtp-mand". Unless
 * `isBound`, it chooses its address itself: that of the default route, whatever the server's is.
 */
export async function startBaresip(options) {
  const phone = new Baresip(options);
  try {
    await phone.connect();
  } catch (error) {
    await phone.close();
    throw error;
  }
  return phone;
}

class Baresip {
  happenings = new Happenings();
  said = "";
  #waiting = new Map();
  #token = 0;
  #ears = 0;
  #line = "";
  #buffer = Buffer.alloc(0);

  constructor({ user, password, server, transport = "udp", toneHz, codecs = ["pcmu"], encryption = null, registers = true, isBound = true }) {
    Object.assign(this, { user, password, server, transport, toneHz, codecs, encryption, registers, isBound, name: `baresip ${user}` });
    this.folder = mkdtempSync(join(tmpdir(), "sidetone-baresip-"));
  }

  /** Starts the process and takes hold of it; registering goes on by itself. */
  async connect() {
    const port = await freePort();
    mkdirSync(join(this.folder, "heard"));
    writeFileSync(join(this.folder, "config"), this.#config(port));
    writeFileSync(join(this.folder, "accounts"), `${this.#account()}\n`);
    writeFileSync(join(this.folder, "contacts"), "");
    this.child = spawn("baresip", ["-f", this.folder, "-s"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, HOME: this.folder },
    });
    process.once("exit", this.kill);
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => this.#hear(text));
    }
    this.socket = await this.#reach(port);
    this.socket.on("data", (bytes) => this.#read(bytes));
    this.socket.on("error", () => undefined);
  }

  /** Resolves with the status of the registration: 200, or what the server refused it with. */
  async registered(withinMs = 10_000) {
    return (await this.#next(["registration"], withinMs)).status;
  }

  /** Forgets the call before. */
  fresh() {
    this.happenings.clear();
  }

  /** Starts a call; `outcome` tells how it went. */
  async call(number) {
    this.fresh();
    await this.command("dial", `sip:${number}@${bracketed(this.server.host)}`);
  }

  /** Resolves when the call is answered or refused. */
  async outcome(withinMs = 15_000) {
    const { type, param } = await this.#next(["CALL_ESTABLISHED", "CALL_CLOSED"], withinMs);
    return type === "CALL_ESTABLISHED" ? { isAnswered: true } : { isAnswered: false, status: Number.parseInt(param, 10), cause: param };
  }

  /** Resolves when the far end rings. */
  ringing(withinMs = 10_000) {
    return this.#next(["CALL_RINGING", "CALL_PROGRESS"], withinMs);
  }

  /** Resolves with who calls. */
  async incoming(withinMs = 10_000) {
    const { peeruri } = await this.#next(["CALL_INCOMING"], withinMs);
    return peeruri;
  }

  async answer() {
    await this.command("accept");
    await this.#next(["CALL_ESTABLISHED"], COMMAND_MS);
  }

  /** Refuses with 486. */
  reject() {
    return this.command("hangup");
  }

  hangUp() {
    return this.command("hangup");
  }

  /** Resolves when the call is over, with the reason baresip gives. */
  async ended(withinMs = 10_000) {
    const { param } = await this.#next(["CALL_CLOSED"], withinMs);
    return param ?? "";
  }

  hold() {
    return this.#modify("hold");
  }

  resume() {
    return this.#modify("resume");
  }

  sendDigit(digit) {
    return this.command("sndcode", digit);
  }

  /** Resolves when a digit has come. */
  digit(digit, withinMs = 5000) {
    return this.#next(["CALL_DTMF_START"], withinMs, { accepts: ({ param }) => param === digit });
  }

  /** Resolves when the key is let go whose digit has come. */
  digitEnds(withinMs = 5000) {
    return this.#next(["CALL_DTMF_END"], withinMs);
  }

  /**
   * The next sound that is heard. baresip 1.0 loses its recorder of what comes once a call was held; from then on
   * it is made to say what it hears, which its recorder of what goes still keeps.
   */
  async listen(durationMs) {
    const heard = this.#recording("dec");
    if (await isGrowing(heard)) return nextOf(heard, durationMs);
    this.#ears += 1;
    await this.command("auplay", `aubridge,ear${this.#ears}`);
    await this.command("ausrc", `aubridge,ear${this.#ears}`);
    try {
      const said = this.#recording("enc");
      await nextOf(said, SETTLE_MS);
      return await nextOf(said, durationMs);
    } finally {
      await this.command("ausrc", `ausine,${this.toneHz}`);
    }
  }

  /** Its ear is as good after a hold as before. */
  hearsAfterHold(_hz, hears) {
    return hears();
  }

  /** SIP messages and log, as baresip prints them. */
  trace() {
    return this.said;
  }

  /** Whether it prints what matches, which comes by another way than what it tells of a call. */
  async prints(pattern) {
    const signal = AbortSignal.timeout(COMMAND_MS);
    try {
      const streams = [this.child.stdout, this.child.stderr];
      while (!pattern.test(this.said)) await Promise.race(streams.map((stream) => once(stream, "data", { signal })));
      return true;
    } catch {
      return false;
    }
  }

  /** Runs a command of baresip's menu; resolves with its words. */
  command(command, params = "") {
    this.#token += 1;
    const token = String(this.#token);
    const text = JSON.stringify({ command, params, token });
    this.socket.write(`${Buffer.byteLength(text)}:${text},`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.name} does not answer ${command}`)), COMMAND_MS);
      this.#waiting.set(token, ({ ok, data }) => {
        clearTimeout(timer);
        if (ok) resolve(data);
        else reject(new Error(`${this.name} refuses ${command} ${params}: ${data}`));
      });
    });
  }

  kill = () => this.child?.kill("SIGKILL");

  /** Unregisters and ends; killed when that takes too long. */
  async close() {
    process.removeListener("exit", this.kill);
    if (this.child !== undefined) {
      this.child.kill("SIGTERM");
      const timer = setTimeout(this.kill, 4000);
      await this.exited;
      clearTimeout(timer);
    }
    this.socket?.destroy();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The newest recording of what is decoded or encoded. */
  #recording(what) {
    const folder = join(this.folder, "heard");
    const files = readdirSync(folder).filter((file) => file.endsWith(`-${what}.wav`)).sort();
    if (files.length === 0) throw new Error(`${this.name} records nothing`);
    return join(folder, files.at(-1));
  }

  async #modify(command) {
    const from = this.happenings.list.length;
    await this.command(command);
    await this.#next(["CALL_REMOTE_SDP"], COMMAND_MS, { from, accepts: ({ param }) => param === "answer" });
  }

  #next(types, withinMs, options = {}) {
    return this.happenings.next(types, withinMs, { who: this.name, ...options });
  }

  /** Registering starts before anyone can connect for its events, so it is read from what is printed. */
  #hear(text) {
    this.said += text;
    this.#line += text;
    const lines = this.#line.split("\n");
    this.#line = lines.pop();
    for (const line of lines) {
      const words = line.match(/(?:\{0\/\w+\/v[46]\}|reg: [^ ]+:) (\d{3}) /);
      if (words !== null) this.happenings.push("registration", { status: Number(words[1]) });
    }
  }

  #read(bytes) {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    for (;;) {
      const colon = this.#buffer.indexOf(":");
      if (colon < 0) return;
      const length = Number(this.#buffer.subarray(0, colon));
      if (this.#buffer.length < colon + length + 2) return;
      const message = JSON.parse(this.#buffer.subarray(colon + 1, colon + 1 + length));
      this.#buffer = this.#buffer.subarray(colon + length + 2);
      if (message.response) this.#waiting.get(message.token)?.(message);
      else this.happenings.push(message.type, message);
    }
  }

  async #reach(port) {
    const deadline = performance.now() + START_MS;
    for (;;) {
      const socket = await new Promise((resolve) => {
        const attempt = connect({ host: "127.0.0.1", port });
        attempt.once("connect", () => resolve(attempt));
        attempt.once("error", () => resolve(null));
      });
      if (socket !== null) return socket;
      if (performance.now() > deadline || this.child.exitCode !== null) throw new Error(`baresip did not start:\n${this.said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  #account() {
    const { host, port } = this.server;
    const parameters = {
      auth_pass: this.password,
      outbound: `"sip:${bracketed(host)}:${port};transport=${this.transport}"`,
      answermode: "manual",
      regint: this.registers ? 600 : 0,
      audio_codecs: this.codecs.map((codec) => CODECS[codec]).join(","),
      ...(this.encryption === null ? {} : { mediaenc: this.encryption }),
    };
    const words = Object.entries(parameters).map(([key, value]) => `;${key}=${value}`).join("");
    return `<sip:${this.user}@${bracketed(host)};transport=${this.transport}>${words}`;
  }

  #config(port) {
    return [
      "poll_method epoll",
      ...(this.isBound ? [`net_interface ${this.server.host}`] : []),
      `ctrl_tcp_listen 127.0.0.1:${port}`,
      `audio_source ausine,${this.toneHz}`,
      "audio_player aubridge,ear",
      "audio_alert aubridge,alert",
      "ausrc_srate 48000",
      "ausrc_channels 2",
      "auplay_srate 48000",
      "auplay_channels 2",
      "rtp_stats no",
      "rtp_ports 26000-31998",
      "statmode_default off",
      "call_max_calls 4",
      `snd_path ${join(this.folder, "heard")}`,
      `module_path ${MODULES}`,
      ...["g711", "g722", "opus", "ausine", "aubridge", "sndfile", "srtp"].map((name) => `module ${name}.so`),
      ...["account", "menu", "ctrl_tcp"].map((name) => `module_app ${name}.so`),
      "",
    ].join("\n");
  }
}

function bracketed(host) {
  return host.includes(":") ? `[${host}]` : host;
}

/** A port below those that the system gives to connections, which could take it before baresip does. */
function freePort() {
  const port = nextPort;
  nextPort = port === 25_999 ? 24_000 : port + 1;
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(freePort()));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(port)));
  });
}

let nextPort = 24_000;
