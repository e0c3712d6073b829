// linphonec as an endpoint: a folder of its own, commands on its standard input, WAV files for voice and ear.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toneSamples, writeWav } from "./audio.mjs";
import { Happenings } from "./happenings.mjs";
import { nextOf } from "./recording.mjs";

const COMMAND_MS = 5000;
const LOOK_MS = 50;
/** Longer than any call of these tests: the file is played once. */
const VOICE_MS = 120_000;

const CODECS = {
  opus: ["opus", 48_000, 2],
  pcmu: ["PCMU", 8000, 1],
  pcma: ["PCMA", 8000, 1],
  g722: ["G722", 8000, 1],
};
/** What linphone would enable besides. */
const OTHERS = [["speex", 16_000, 1], ["speex", 8000, 1], ["G729", 8000, 1]];

/** What linphonec prints, and what it means. */
const WORDS = [
  [/^Receiving new incoming call from (.*), assigned id (\d+)/, "incoming"],
  [/^Call \d+ to .* ringing/, "ringing"],
  [/^Call \d+ with .* early media/, "ringing"],
  [/^Call \d+ with .* connected/, "connected"],
  [/^Media streams established with /, "streams"],
  [/^Call \d+ with .* is now paused/, "paused"],
  [/^Call \d+ has been paused by/, "held"],
  [/^Call \d+ with .* error/, "error"],
  [/^Call \d+ with .* ended \((.*)\)/, "ended"],
  [/^Receiving tone (.) from/, "digit"],
];

/** Starts linphonec for a user; `encryption` is null, "srtp" or "srtp-mand". */
export async function startLinphone(options) {
  const phone = new Linphone(options);
  try {
    await phone.connect();
  } catch (error) {
    await phone.close();
    throw error;
  }
  return phone;
}

class Linphone {
  /** Its voice is its music on hold. */
  speaksOnHold = true;
  happenings = new Happenings();
  said = "";
  #line = "";
  #recordings = 0;

  constructor({ user, password, server, transport = "udp", toneHz, codecs = ["pcmu"], encryption = null, registers = true }) {
    Object.assign(this, { user, password, server, transport, toneHz, codecs, encryption, registers, name: `linphone ${user}` });
    this.folder = mkdtempSync(join(tmpdir(), "sidetone-linphone-"));
  }

  /** Starts the process; registering goes on by itself. */
  async connect() {
    // Without a folder for its database linphone starts and then does nothing.
    mkdirSync(join(this.folder, ".local", "share", "linphone"), { recursive: true });
    writeFileSync(join(this.folder, "rc"), this.#config());
    writeWav(join(this.folder, "said.wav"), toneSamples(this.toneHz, VOICE_MS));
    this.child = spawn("linphonec", ["-c", join(this.folder, "rc"), "-d", "6", "-l", join(this.folder, "log"), "-S"], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, HOME: this.folder },
    });
    process.once("exit", this.kill);
    this.child.stdin.on("error", () => undefined);
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.stdout.setEncoding("utf8").on("data", (text) => this.#read(text));
    this.child.stderr.setEncoding("utf8").on("data", (text) => { this.said += text; });
    this.#write("soundcard use files");
    this.#write(`play ${join(this.folder, "said.wav")}`);
    this.fresh();
  }

  /** Resolves with the status of the registration: 200, or what the server refused it with. */
  async registered(withinMs = 15_000) {
    const deadline = performance.now() + withinMs;
    while (performance.now() < deadline) {
      // linphonec prints nothing of its registration.
      const states = [...this.trace().matchAll(/ to \[LinphoneRegistration(Ok|Failed)\] on core/g)];
      if (states.length > 0) return states.at(-1)[1] === "Ok" ? 200 : this.#finalStatus("REGISTER");
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    throw new Error(`${this.name} did not register within ${withinMs} ms`);
  }

  /** Forgets the call before, and listens into a new file. */
  fresh() {
    this.happenings.clear();
    this.#recordings += 1;
    this.recording = join(this.folder, `heard-${this.#recordings}.wav`);
    this.#write(`record ${this.recording}`);
  }

  /** Starts a call; `outcome` tells how it went. */
  async call(number) {
    this.fresh();
    this.#write(`call sip:${number}@${bracketed(this.server.host)}`);
  }

  /** Resolves when the call is answered or refused. */
  async outcome(withinMs = 15_000) {
    const { type } = await this.#next(["streams", "error", "ended"], withinMs);
    return type === "streams" ? { isAnswered: true } : { isAnswered: false, status: this.#finalStatus("INVITE") };
  }

  /** Resolves when the far end rings. */
  ringing(withinMs = 10_000) {
    return this.#next(["ringing"], withinMs);
  }

  /** Resolves with who calls. */
  async incoming(withinMs = 10_000) {
    const { words } = await this.#next(["incoming"], withinMs);
    return words[1];
  }

  async answer() {
    this.#write("answer");
    await this.#next(["streams"], COMMAND_MS);
  }

  /** Refuses with 603. */
  async reject() {
    this.#write("terminate");
  }

  async hangUp() {
    this.#write("terminate");
  }

  /** Resolves when the call is over, with the reason linphone gives. */
  async ended(withinMs = 10_000) {
    const { words } = await this.#next(["ended", "error"], withinMs);
    return words[1] ?? "";
  }

  async hold() {
    const from = this.happenings.list.length;
    this.#write("pause");
    await this.#next(["paused"], COMMAND_MS, { from });
  }

  async resume() {
    const from = this.happenings.list.length;
    this.#write("resume");
    await this.#next(["streams"], COMMAND_MS, { from });
  }

  async sendDigit(digit) {
    this.#write(digit);
  }

  /** Resolves when a digit has come. */
  digit(digit, withinMs = 5000) {
    return this.#next(["digit"], withinMs, { accepts: ({ words }) => words[1] === digit });
  }

  /** The next sound that is heard. The head of the file is written last, but the log tells its rate. */
  listen(durationMs) {
    const rates = [...this.trace().matchAll(/-->MSFileRec:\S+ from rate \[\d+\] to rate \[(\d+)\]/g)];
    if (rates.length === 0) throw new Error(`${this.name} records nothing`);
    return nextOf(this.recording, durationMs, { channels: 1, rateHz: Number(rates.at(-1)[1]), dataAt: 44 });
  }

  /** Its ear is as good after a hold as before. */
  hearsAfterHold(_hz, hears) {
    return hears();
  }

  /** SIP messages and log, as linphone writes them. */
  trace() {
    const file = join(this.folder, "log");
    return existsSync(file) ? readFileSync(file, "utf8") : this.said;
  }

  kill = () => this.child?.kill("SIGKILL");

  /** Unregisters and ends; killed when that takes too long. */
  async close() {
    process.removeListener("exit", this.kill);
    if (this.child !== undefined) {
      this.#write("quit");
      const timer = setTimeout(this.kill, 4000);
      await this.exited;
      clearTimeout(timer);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  #write(line) {
    this.child.stdin.write(`${line}\n`);
  }

  #read(text) {
    this.said += text;
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop();
    for (const line of lines) {
      const plain = line.replace(/^(linphonec> )+/, "");
      for (const [pattern, type] of WORDS) {
        const words = plain.match(pattern);
        if (words !== null) this.happenings.push(type, { words });
      }
    }
  }

  #next(types, withinMs, options = {}) {
    return this.happenings.next(types, withinMs, { who: this.name, ...options });
  }

  /** The last final answer to a request of ours, from the log. */
  #finalStatus(method) {
    const answers = [...this.trace().matchAll(new RegExp(`^SIP/2\\.0 ([2-6]\\d\\d) (?:(?!^SIP/2|^CSeq)[^])*^CSeq: *\\d+ ${method}`, "gm"))];
    return answers.length === 0 ? null : Number(answers.at(-1)[1]);
  }

  #config() {
    const { host, port } = this.server;
    const proxy = `<sip:${bracketed(host)}:${port};transport=${this.transport}>`;
    const encryption = { srtp: "srtp", "srtp-mand": "srtp" }[this.encryption] ?? "none";
    const codecs = [
      ...this.codecs.map((codec) => [...CODECS[codec], 1]),
      ...Object.entries(CODECS).filter(([codec]) => !this.codecs.includes(codec)).map(([, codec]) => [...codec, 0]),
      ...OTHERS.map((codec) => [...codec, 0]),
    ];
    return [
      "[sip]", "sip_port=-1", "sip_tcp_port=-1", "sip_tls_port=-1", "use_ipv6=0", "ipv6_migration_done=1", "default_proxy=0",
      "verify_server_certs=0", "verify_server_cn=0", "use_rfc2833=1", "use_info=0", "inc_timeout=120",
      `media_encryption=${encryption}`, `media_encryption_mandatory=${this.encryption === "srtp-mand" ? 1 : 0}`,
      "[rtp]", "audio_rtp_port=-1",
      "[net]", "firewall_policy=0",
      "[sound]", "echocancellation=0",
      "[proxy_0]", `reg_proxy=${proxy}`, `reg_route=${proxy}`, `reg_identity=sip:${this.user}@${bracketed(host)}`,
      "reg_expires=600", `reg_sendregister=${this.registers ? 1 : 0}`, "publish=0",
      "[auth_info_0]", `username=${this.user}`, `passwd=${this.password}`, `domain=${host}`,
      ...codecs.flatMap(([mime, rate, channels, isEnabled], index) =>
        [`[audio_codec_${index}]`, `mime=${mime}`, `rate=${rate}`, `channels=${channels}`, `enabled=${isEnabled}`]),
      "",
    ].join("\n");
  }
}

function bracketed(host) {
  return host.includes(":") ? `[${host}]` : host;
}
