// Joins the page to the phone.
import { Level, percent, words as levelWords } from "./meter";
import { MicrophoneError, openMicrophone, silence } from "./microphone";
import { Phone, type CallState } from "./phone";
import { report } from "./report";
import { certificatePage, certificateWords, defaultServer, fetchNumbers } from "./server";
import { View } from "./view";
import { ending, failure, microphone, noAudioPath, unreachable } from "./words";

const REPORT_MS = 500;
/** A healthy call is heard long before; the server itself gives up after 10 s. */
const NO_AUDIO_MS = 4000;
const DIGITS = "0123456789*#ABCD";

const STATE_WORDS: Record<CallState, string> = {
  idle: "No call",
  calling: "Calling",
  ringing: "Ringing",
  answered: "Connected",
  ended: "Call ended",
  failed: "Call failed",
};

const query = new URLSearchParams(location.search);
const view = new View();
let server = query.get("server") ?? defaultServer(location);
let dialled = "";
let audioContext: AudioContext | null = null;
let said: Level | null = null;
let heard: Level | null = null;
let audio: MediaStream | null = null;
let answeredAt: number | null = null;
let ticker: number | null = null;
let isOpeningMicrophone = false;

const phone = new Phone({
  server(state) {
    view.showServer(state, server);
    if (state === "connected") view.showNotice(null);
    if (state === "disconnected") {
      const page = certificatePage(server);
      view.showNotice({
        text: unreachable(server, page),
        isError: true,
        ...(page === null ? {} : { link: { href: page, text: page } }),
      });
    }
  },
  call: showState,
  heard(stream) {
    view.audio.srcObject = stream;
    view.audio.play().catch(() => view.showNotice({
      text: "The browser holds the sound back until you allow it.",
      isError: false,
      action: { text: "Let me hear", run: () => void view.audio.play().then(() => view.showNotice(null)) },
    }));
    heard?.close();
    heard = audioContext === null ? null : new Level(audioContext, stream);
  },
  ended(who, cause, answer) {
    release();
    showState("ended");
    view.showNotice({ text: ending(who, cause, answer), isError: who === "system" });
  },
  failed(cause, answer) {
    release();
    showState("failed");
    view.showNotice({ text: failure(dialled, cause, answer), isError: cause !== "Canceled" });
  },
});

function showState(state: CallState): void {
  view.showCall(state, STATE_WORDS[state], state === "calling" || state === "ringing" || state === "answered");
  if (state === "answered") {
    answeredAt = performance.now();
    view.showNotice(null);
  }
}

async function dial(number: string, listenOnly: boolean): Promise<void> {
  dialled = number.trim();
  if (dialled === "" || isOpeningMicrophone || phone.connection !== null) return;
  // Still inside the click, so that the browser lets the page make sound.
  audioContext ??= new AudioContext();
  void audioContext.resume();
  view.showNotice(null);
  try {
    audio = listenOnly ? silence(audioContext) : await microphoneFor(dialled);
  } catch (error) {
    showState("idle");
    const problem = error instanceof MicrophoneError ? error.problem : "other";
    view.showNotice({
      text: microphone(problem),
      isError: true,
      action: { text: `Call ${dialled} and only listen`, run: () => void dial(dialled, true) },
    });
    return;
  }
  said = new Level(audioContext, audio);
  ticker = window.setInterval(() => void tick(), REPORT_MS);
  requestAnimationFrame(showLevels);
  phone.call(dialled, audio);
}

async function microphoneFor(number: string): Promise<MediaStream> {
  isOpeningMicrophone = true;
  view.showCall("microphone", `Waiting for the microphone, then calling ${number}`, false);
  try {
    return await openMicrophone();
  } finally {
    isOpeningMicrophone = false;
  }
}

async function tick(): Promise<void> {
  const connection = phone.connection;
  if (connection === null) return;
  const now = await report(connection);
  if (phone.connection !== connection) return;
  view.showNegotiated(now);
  if (answeredAt === null) return;
  const elapsedMs = performance.now() - answeredAt;
  view.showClock(elapsedMs / 1000);
  if (elapsedMs > NO_AUDIO_MS && now.packetsReceived === 0) {
    view.showNotice({ text: noAudioPath(now.ice), isError: true });
  }
}

function showLevels(): void {
  for (const [which, level] of [["heard", heard], ["said", said]] as const) {
    if (level === null) continue;
    const decibels = level.decibels();
    view.showLevel(which, percent(decibels), levelWords(decibels));
  }
  if (said !== null) requestAnimationFrame(showLevels);
}

/** Gives back the microphone and stills the meters; what was negotiated stays readable. */
function release(): void {
  if (ticker !== null) window.clearInterval(ticker);
  ticker = null;
  answeredAt = null;
  for (const level of [said, heard]) level?.close();
  said = heard = null;
  audio?.getTracks().forEach((track) => track.stop());
  audio = null;
  view.audio.srcObject = null;
  view.showClock(null);
  view.showLevel("heard", 0, "silent");
  view.showLevel("said", 0, "silent");
}

function press(digit: string): void {
  if (phone.connection === null) {
    view.number.value += digit;
    return;
  }
  phone.sendDigit(digit);
  view.flashDigit(digit);
}

function connect(address: string): void {
  server = address.trim();
  view.server.value = server;
  view.showServer("connecting", server);
  try {
    phone.connect(server);
  } catch {
    view.showServer("disconnected", server);
    view.showNotice({ text: `“${server}” is not a WebSocket address. It starts with ws:// or wss://.`, isError: true });
  }
}

view.dialForm.addEventListener("submit", (event) => {
  event.preventDefault();
  if (phone.isConnected) void dial(view.number.value, false);
});
view.hangUp.addEventListener("click", () => phone.hangUp());
view.serverForm.addEventListener("submit", (event) => {
  event.preventDefault();
  connect(view.server.value);
});
view.keypad.addEventListener("click", (event) => {
  const digit = (event.target as HTMLElement).closest("button")?.dataset["digit"];
  if (digit !== undefined) press(digit);
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === "Escape") phone.hangUp();
  else if (!isTyping && !event.ctrlKey && !event.metaKey && !event.altKey && DIGITS.includes(event.key)) press(event.key);
});
// A page that goes away ends its call; the server would notice within its grace, this is sooner.
window.addEventListener("pagehide", () => phone.close());
window.addEventListener("pageshow", (event) => {
  if (event.persisted) connect(server);
});

view.number.value = query.get("number") ?? "";
view.showNegotiated(null);
view.showCertificate(certificateWords(location));
view.serverCard.open = location.protocol === "https:";
connect(server);
fetchNumbers()
  .then((numbers) => view.showNumbers(numbers, (number) => {
    view.number.value = number;
    void dial(number, false);
  }))
  .catch(() => view.showNumbers([], () => undefined));
