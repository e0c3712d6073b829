// One call at a time on the page: dials and answers, shows the call, and explains how it ends.
import { Attention } from "./attention";
import { CallAudio } from "./call-audio";
import type { Call, End, Peer } from "./call";
import { percent, words as levelWords } from "./meter";
import { MicrophoneError } from "./microphone";
import type { Phone } from "./phone";
import { report } from "./report";
import type { View } from "./view";
import * as words from "./words";

const REPORT_MS = 500;
/** A healthy call is heard long before; the server itself gives up after 10 s. */
const NO_AUDIO_MS = 4000;

export class Conversation {
  private readonly audio: CallAudio;
  private readonly attention = new Attention();
  private dialled = "";
  private answeredAt: number | null = null;
  private ticker: number | null = null;
  /** Changes when what the microphone is being opened for is given up. */
  private attempt = 0;
  private isOpening = false;

  constructor(private readonly phone: Phone, private readonly view: View, private readonly signIn: () => void) {
    this.audio = new CallAudio(view.audio);
  }

  /** Within a click or key: lets the page ring and, for who can be called, notify. */
  unlock(): void {
    this.audio.unlock();
    if (this.phone.account !== null) this.attention.ask();
  }

  async dial(number: string, listenOnly = false): Promise<void> {
    const wanted = number.trim();
    if (wanted === "" || this.isOpening || this.phone.call !== null || !this.phone.isConnected) return;
    this.dialled = wanted;
    const microphone = await this.openMicrophone(`Waiting for the microphone, then calling ${wanted}`, listenOnly,
      { text: `Call ${wanted} and only listen`, run: () => void this.dial(wanted, true) });
    if (microphone === null) return;
    this.begin(microphone);
    try {
      this.phone.dial(wanted, microphone);
    } catch {
      this.release();
      this.view.showCall(null, "failed", "Call failed");
      this.view.showNotice({ text: `“${wanted}” is not a number that can be called.`, isError: true });
    }
  }

  async answer(listenOnly = false): Promise<void> {
    const call = this.phone.call;
    if (call?.state !== "incoming" || this.isOpening) return;
    const microphone = await this.openMicrophone("Waiting for the microphone, then answering", listenOnly,
      { text: "Answer and only listen", run: () => void this.answer(true) });
    if (microphone === null) return;
    if (!call.answer(microphone)) {
      stop(microphone);
      return;
    }
    this.begin(microphone);
  }

  /** Hangs up, rejects, or gives up waiting for the microphone. */
  end(): void {
    if (this.isOpening) this.giveUpOpening();
    this.phone.call?.end();
  }

  toggleHold(): void {
    const call = this.phone.call;
    if (call === null) return;
    if (!call.setHold(!call.hold.local)) this.view.showNotice({ text: words.BUSY_CHANGING, isError: false });
  }

  toggleMute(): void {
    const call = this.phone.call;
    call?.setMuted(!call.isMuted);
  }

  /** Sends a digit during a call; before one it becomes part of the number. */
  press(digit: string): void {
    if (this.phone.call === null) this.view.number.value += digit;
    else if (this.phone.call.sendDigit(digit)) this.view.flashDigit(digit);
  }

  incoming(call: Call): void {
    // Whoever is about to call sees that somebody calls instead.
    if (this.isOpening) this.giveUpOpening();
    this.dialled = "";
    this.view.showNotice(null);
    this.audio.sounds.ring();
    this.attention.call(words.callState(call));
    this.changed(call);
  }

  changed(call: Call): void {
    this.view.showCall(call, call.state, words.callState(call));
    if (call.state === "ringing") this.audio.sounds.ringback();
    else if (call.state !== "incoming") this.audio.sounds.stop();
    if (call.state !== "incoming") this.attention.stop();
    if (call.state === "answered" && this.answeredAt === null) {
      this.answeredAt = performance.now();
      this.view.showNotice(null);
    }
  }

  heard(stream: MediaStream, receiver: RTCRtpReceiver): void {
    this.audio.play(stream, receiver).catch(() => this.view.showNotice({
      text: "The browser holds the sound back until you allow it.",
      isError: false,
      action: { text: "Let me hear", run: () => void this.audio.playAgain().then(() => this.view.showNotice(null)) },
    }));
  }

  turnedAway(caller: Peer): void {
    this.view.showNotice({ text: words.turnedAway(caller), isError: false });
  }

  finished(call: Call, end: End): void {
    if (this.isOpening) this.giveUpOpening();
    this.release();
    if (end.wasAnswered) {
      this.view.showCall(null, "ended", "Call ended");
      this.view.showNotice({ text: words.ending(end), isError: end.who === "system" });
    } else if (call.isOutgoing) {
      this.showFailed(end);
    } else {
      this.showMissed(call, end);
    }
  }

  private showFailed(end: End): void {
    this.view.showCall(null, "failed", "Call failed");
    const isGuest = this.phone.account === null;
    this.view.showNotice({
      text: words.failure(this.dialled, end, !isGuest),
      isError: end.who !== "local",
      ...(isGuest && words.mayNeedAccount(end.answer) ? { action: { text: "Sign in", run: this.signIn } } : {}),
    });
  }

  private showMissed(call: Call, end: End): void {
    this.view.showCall(null, "ended", "Call ended");
    const { number } = call.peer;
    this.view.showNotice({
      text: words.missed(call.peer, end),
      isError: false,
      ...(number === "" ? {} : { action: { text: `Call ${number}`, run: () => void this.dial(number) } }),
    });
  }

  /** Null when there is none, which the page then explains with a way on, or when it is no longer wanted. */
  private async openMicrophone(
    waiting: string, listenOnly: boolean, withoutOne: { text: string; run: () => void },
  ): Promise<MediaStream | null> {
    const attempt = ++this.attempt;
    this.isOpening = true;
    // Still inside the click, so that the browser lets the page make sound.
    this.audio.unlock();
    this.view.showNotice(null);
    this.view.showCall(this.phone.call, "microphone", waiting);
    try {
      const microphone = await this.audio.open(listenOnly);
      if (attempt === this.attempt) return microphone;
      stop(microphone);
    } catch (error) {
      if (attempt === this.attempt) {
        this.showIdleOr(this.phone.call);
        const problem = error instanceof MicrophoneError ? error.problem : "other";
        this.view.showNotice({ text: words.microphone(problem), isError: true, action: withoutOne });
      }
    } finally {
      if (attempt === this.attempt) this.isOpening = false;
    }
    return null;
  }

  private giveUpOpening(): void {
    this.attempt += 1;
    this.isOpening = false;
    this.showIdleOr(this.phone.call);
  }

  private showIdleOr(call: Call | null): void {
    if (call === null) this.view.showCall(null, "idle", "No call");
    else this.changed(call);
  }

  private begin(microphone: MediaStream): void {
    this.audio.speak(microphone);
    this.ticker = window.setInterval(() => void this.tick(), REPORT_MS);
    requestAnimationFrame(() => this.showLevels());
  }

  private async tick(): Promise<void> {
    const connection = this.phone.call?.connection ?? null;
    if (connection === null) return;
    const now = await report(connection);
    const call = this.phone.call;
    if (call === null || call.connection !== connection) return;
    this.view.showNegotiated(now);
    if (this.answeredAt === null) return;
    const elapsedMs = performance.now() - this.answeredAt;
    this.view.showClock(elapsedMs / 1000);
    if (call.hold.local || call.hold.remote) return;
    if (elapsedMs > NO_AUDIO_MS && now.packetsReceived === 0) {
      this.view.showNotice({ text: words.noAudioPath(now.ice), isError: true });
    } else {
      this.view.showInterruption("sound", now.ice === "disconnected" ? words.SOUND_INTERRUPTED : null);
    }
  }

  private showLevels(): void {
    if (this.ticker === null) return;
    const { heard, said } = this.audio.levels();
    for (const [which, level] of [["heard", heard], ["said", said]] as const) {
      if (level !== null) this.view.showLevel(which, percent(level), levelWords(level));
    }
    requestAnimationFrame(() => this.showLevels());
  }

  /** Gives back the microphone and stills the meters; what was negotiated stays readable. */
  private release(): void {
    if (this.ticker !== null) window.clearInterval(this.ticker);
    this.ticker = null;
    this.answeredAt = null;
    this.attention.stop();
    this.audio.release();
    this.view.showClock(null);
    this.view.showInterruption("sound", null);
    this.view.showLevel("heard", 0, "silent");
    this.view.showLevel("said", 0, "silent");
  }
}

function stop(stream: MediaStream): void {
  stream.getTracks().forEach((track) => track.stop());
}
