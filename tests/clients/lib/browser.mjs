// Browsers driven headless: Chromium over CDP, Firefox over WebDriver BiDi with a sound server.
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, rmSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import puppeteer from "puppeteer-core";
import { timeout } from "./server.mjs";

const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--mute-audio",
  "--autoplay-policy=no-user-gesture-required",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
];

const FIREFOX_PREFERENCES = {
  "media.peerconnection.ice.loopback": true,
  "media.navigator.streams.fake": true,
  // Only a page that may use the microphone gathers every address, and loopback pairs with loopback alone.
  "permissions.default.microphone": 1,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "media.autoplay.block-webaudio": false,
  "network.proxy.type": 0,
  "network.websocket.allowInsecureFromHTTPS": true,
};

/** The browsers on this machine, by name. */
export const browsers = {
  chromium: { program: find("chromium", "chromium-browser", "google-chrome"), launch: launchChromium },
  firefox: {
    program: find("pulseaudio") === null ? null : find("firefox-esr", "firefox"),
    launch: launchFirefox,
  },
};

async function launchChromium(program) {
  const folder = mkdtempSync(join(tmpdir(), "sidetone-chromium-"));
  const browser = await puppeteer.launch({
    executablePath: program,
    userDataDir: folder,
    acceptInsecureCerts: true,
    args: [...CHROMIUM_FLAGS, "--ignore-certificate-errors"],
  });
  return new Driven(browser, async () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
}

async function launchFirefox(program) {
  const folder = mkdtempSync(join(tmpdir(), "sidetone-firefox-"));
  const sound = await startSound(folder);
  try {
    const browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: program,
      acceptInsecureCerts: true,
      extraPrefsFirefox: FIREFOX_PREFERENCES,
      env: { ...process.env, HOME: folder, TMPDIR: folder, PULSE_SERVER: sound.server, MOZ_DISABLE_CONTENT_SANDBOX: "1" },
    });
    return new Driven(browser, async () => {
      await sound.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    });
  } catch (error) {
    await sound.stop();
    throw error;
  }
}

/** A sound card that plays into nothing; without one Firefox's audio clock stands still. */
async function startSound(folder) {
  const socket = join(folder, "pulse.socket");
  const child = spawn("pulseaudio", [
    "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes", "--log-target=stderr",
    "--log-level=notice",
    "-L", "module-null-sink",
    "-L", `module-native-protocol-unix auth-anonymous=1 socket=${socket}`,
  ], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HOME: folder, XDG_RUNTIME_DIR: folder, PULSE_RUNTIME_PATH: folder } });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => { log += text; });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  process.once("exit", () => child.kill("SIGKILL"));
  const failed = new Promise((_, reject) => child.once("error", reject));
  await Promise.race([
    socketThere(folder, socket),
    failed,
    exited.then(() => { throw new Error(`the sound server stopped at its start:\n${log}`); }),
    timeout(10_000, () => `the sound server made no socket:\n${log}`),
  ]);
  return {
    server: `unix:${socket}`,
    stop: async () => {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

function socketThere(folder, socket) {
  return new Promise((resolve) => {
    const look = () => {
      if (!existsSync(socket)) return;
      watcher.close();
      resolve();
    };
    const watcher = watch(folder, look);
    look();
  });
}

class Driven {
  /** How the browser's process ended, when it did so by itself. */
  death = null;
  isClosing = false;

  constructor(browser, cleanUp) {
    Object.assign(this, { browser, cleanUp });
    const said = [];
    const process = browser.process();
    process.stderr?.setEncoding("utf8").on("data", (text) => said.push(text));
    process.once("exit", (code, signal) => {
      if (!this.isClosing) this.death = `the browser ended by itself (${signal ?? code}):\n${said.join("").slice(-3000)}`;
    });
  }

  version() {
    return this.browser.version();
  }

  /** A page with its complaints collected. */
  async page(url) {
    const page = await this.browser.newPage();
    page.complaints = [];
    page.on("pageerror", (error) => page.complaints.push(String(error.stack ?? error)));
    page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
    await page.goto(url, { waitUntil: "load" });
    return page;
  }

  async close() {
    this.isClosing = true;
    await this.browser.close();
    await this.cleanUp();
  }
}

function find(...names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? "").split(delimiter)) {
      const file = join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // Not here.
      }
    }
  }
  return null;
}
