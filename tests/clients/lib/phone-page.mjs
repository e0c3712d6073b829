// The page that the server serves, used as a person would: one tab of the web phone.
import { expect } from "./report.mjs";

const WAIT_MS = 15_000;
/** A tab that is not in front draws no frames, so its conditions are polled by time. */
const POLLING = { timeout: WAIT_MS, polling: 50 };
const RATE_HZ = 48_000;
const FFT_SIZE = 16_384;

/** Opens the web phone; with `saidHz` it says that tone in place of the microphone. */
export async function openPhone(browser, url, { saidHz = null } = {}) {
  const page = await browser.page("about:blank");
  page.on("dialog", (dialog) => dialog.accept());
  await page.evaluateOnNewDocument(instrument, saidHz, RATE_HZ, FFT_SIZE);
  await page.goto(url, { waitUntil: "load" });
  const phone = new PhonePage(page);
  await phone.data("server", "connected");
  return phone;
}

class PhonePage {
  constructor(page) {
    this.page = page;
  }

  /** Waits for one of the words the page shows its state with. */
  async data(name, wanted, timeout = WAIT_MS) {
    const polling = { ...POLLING, timeout };
    try {
      await this.page.waitForFunction((key, word) => document.body.dataset[key] === word, polling, name, wanted);
    } catch {
      throw new Error(`the phone is not ${wanted} (${name}) but ${JSON.stringify(await this.shown())}`);
    }
  }

  state(wanted, timeout = WAIT_MS) {
    return this.data("state", wanted, timeout);
  }

  async click(selector) {
    await this.page.bringToFront();
    await this.page.waitForSelector(`${selector}:enabled`, { visible: true, timeout: WAIT_MS });
    await this.page.click(selector);
  }

  async type(selector, text) {
    await this.page.$eval(selector, (input) => { input.value = ""; });
    await this.page.type(selector, text);
  }

  async dial(number) {
    await this.page.bringToFront();
    await this.type("#number", number);
    await this.page.keyboard.press("Enter");
  }

  async signIn(user, password) {
    if (!await this.page.$eval("#account-dialog", (dialog) => dialog.open)) await this.click("#sign-in");
    await this.type("#user", user);
    await this.type("#password", password);
    await this.page.keyboard.press("Enter");
  }

  text(selector) {
    return this.page.$eval(selector, (element) => element.textContent);
  }

  /** Waits until an element says something. */
  async says(selector, pattern) {
    try {
      await this.page.waitForFunction(
        (where, source) => new RegExp(source, "i").test(document.querySelector(where).textContent),
        POLLING, selector, pattern.source,
      );
    } catch {
      throw new Error(`${selector} does not say ${pattern} but ${JSON.stringify(await this.shown())}`);
    }
  }

  /** Waits until the strongest sound has this frequency. */
  async hears(hz) {
    try {
      await this.page.waitForFunction((wanted) => Math.abs(window.heardHz() - wanted) < 6, POLLING, hz);
    } catch {
      const heard = await this.page.evaluate(() => window.heardHz());
      throw new Error(`${heard.toFixed(0)} Hz is heard in place of ${hz}: ${JSON.stringify(await this.shown())}`);
    }
  }

  /** Waits until this frequency is not what is heard any more. */
  async hearsNo(hz) {
    await this.page.waitForFunction((unwanted) => Math.abs(window.heardHz() - unwanted) > 20, POLLING, hz);
  }

  /** Waits for the page's own meter, which moves only in front. */
  async showsSound() {
    await this.page.bringToFront();
    await this.page.waitForFunction(() => document.getElementById("heard").value > 40, POLLING);
  }

  complainsOfNothing() {
    // A browser reports a socket that was refused or lost, which tests do on purpose.
    const complaints = this.page.complaints.filter((complaint) => !/favicon|WebSocket connection/.test(complaint));
    expect(complaints.length === 0, `the browser complains: ${complaints.join("; ")}`);
  }

  close() {
    return this.page.close();
  }

  shown() {
    return this.page.evaluate(() => ({
      ...document.body.dataset,
      account: document.getElementById("account-state").textContent,
      call: document.getElementById("call-state").textContent,
      notice: document.getElementById("notice").hidden ? null : document.getElementById("notice-text").textContent,
    }));
  }
}

/** Runs in the page, before its script: a tone for a microphone, and `heardHz` for an ear. */
function instrument(saidHz, rateHz, fftSize) {
  let context = null;
  let analyser = null;
  let source = null;
  const audio = () => (context ??= new AudioContext({ sampleRate: rateHz }));

  if (saidHz !== null && navigator.mediaDevices !== undefined) {
    navigator.mediaDevices.getUserMedia = async () => {
      const tone = new OscillatorNode(audio(), { frequency: saidHz });
      const destination = audio().createMediaStreamDestination();
      tone.connect(new GainNode(audio(), { gain: 0.4 })).connect(destination);
      tone.start();
      return destination.stream;
    };
  }

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      this.addEventListener("track", ({ track }) => {
        source?.disconnect();
        analyser ??= new AnalyserNode(audio(), { fftSize, smoothingTimeConstant: 0 });
        source = audio().createMediaStreamSource(new MediaStream([track]));
        source.connect(analyser);
      });
    }
  };

  /** The strongest frequency of the last third of a second; 0 when it is silent. */
  window.heardHz = () => {
    if (analyser === null) return 0;
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    const peak = levels.indexOf(Math.max(...levels));
    return levels[peak] < -60 ? 0 : (peak * rateHz) / fftSize;
  };
}
