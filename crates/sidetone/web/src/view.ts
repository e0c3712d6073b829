// The page: finds its elements once and writes to them. It decides nothing.
import type { Call } from "./call";
import type { CallableNumber } from "./server";
import type { Report } from "./report";

export interface Notice {
  text: string;
  isError: boolean;
  link?: { href: string; text: string };
  action?: { text: string; run: () => void };
}

export class View {
  readonly dialForm = element("dial-form", HTMLFormElement);
  readonly number = element("number", HTMLInputElement);
  readonly answer = element("answer", HTMLButtonElement);
  readonly reject = element("reject", HTMLButtonElement);
  readonly mute = element("mute", HTMLButtonElement);
  readonly hold = element("hold", HTMLButtonElement);
  readonly hangUp = element("hang-up", HTMLButtonElement);
  readonly keypad = element("keypad", HTMLDivElement);
  readonly serverForm = element("server-form", HTMLFormElement);
  readonly server = element("server", HTMLInputElement);
  readonly serverCard = element("server-card", HTMLDetailsElement);
  readonly audio = element("audio", HTMLAudioElement);
  private readonly call = element("call", HTMLButtonElement);
  private readonly incoming = element("incoming", HTMLElement);
  private readonly inCall = element("in-call", HTMLElement);
  private readonly serverState = element("server-state", HTMLElement);
  private readonly callState = element("call-state", HTMLElement);
  private readonly clock = element("call-clock", HTMLElement);
  private readonly interruption = element("interruption", HTMLElement);
  private readonly notice = element("notice", HTMLElement);
  private readonly noticeText = element("notice-text", HTMLElement);
  private readonly noticeLink = element("notice-link", HTMLAnchorElement);
  private readonly noticeAction = element("notice-action", HTMLButtonElement);
  private readonly numbersCard = element("numbers-card", HTMLElement);
  private readonly numbers = element("numbers", HTMLUListElement);
  private readonly negotiated = element("negotiated", HTMLElement);
  private readonly certificate = element("certificate", HTMLElement);
  private readonly interruptions = new Map<string, string>();
  private canCall = false;
  private isBusy = false;

  /** `state` is the word for tests and style, `words` the ones for people. */
  showServer(state: "connecting" | "connected" | "disconnected", words: string): void {
    document.body.dataset["server"] = state;
    write(this.serverState, words);
    this.canCall = state === "connected";
    this.refreshButtons();
  }

  /** As above; `call` is the call there is, whatever its state. */
  showCall(call: Call | null, state: string, words: string): void {
    document.body.dataset["state"] = state;
    document.body.dataset["hold"] = call === null ? "none" : holdWord(call);
    write(this.callState, words);
    this.isBusy = call !== null || state === "microphone";
    const isIncoming = call?.state === "incoming";
    const focused = document.activeElement;
    this.incoming.hidden = !isIncoming;
    this.inCall.hidden = !this.isBusy || isIncoming;
    this.dialForm.hidden = !this.inCall.hidden;
    const isAnswered = call?.state === "answered";
    this.mute.disabled = this.hold.disabled = !isAnswered;
    this.answer.disabled = state === "microphone";
    this.mute.textContent = call?.isMuted === true ? "Unmute" : "Mute";
    this.hold.textContent = call?.hold.local === true ? "Resume" : "Hold";
    this.refreshButtons();
    this.moveFocus(focused, isIncoming);
  }

  showClock(seconds: number | null): void {
    if (seconds === null) {
      this.clock.textContent = "";
      return;
    }
    const minutes = Math.floor(seconds / 60);
    this.clock.textContent = `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  }

  /** Something that passes by itself, or null once it has. */
  showInterruption(of: "server" | "sound", words: string | null): void {
    if (words === null) this.interruptions.delete(of);
    else this.interruptions.set(of, words);
    this.interruption.hidden = this.interruptions.size === 0;
    write(this.interruption, [...this.interruptions.values()].join(" "));
  }

  showNotice(notice: Notice | null): void {
    this.notice.hidden = notice === null;
    if (notice === null) return;
    this.notice.classList.toggle("error", notice.isError);
    write(this.noticeText, notice.text);
    this.noticeLink.hidden = notice.link === undefined;
    if (notice.link !== undefined) {
      this.noticeLink.href = notice.link.href;
      this.noticeLink.textContent = notice.link.text;
      this.noticeLink.target = "_blank";
      this.noticeLink.rel = "noopener";
    }
    this.noticeAction.hidden = notice.action === undefined;
    this.noticeAction.textContent = notice.action?.text ?? "";
    this.noticeAction.onclick = notice.action?.run ?? null;
  }

  showNumbers(numbers: CallableNumber[], choose: (number: string) => void): void {
    this.numbersCard.hidden = numbers.length === 0;
    this.numbers.replaceChildren(...numbers.map(({ number, name }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset["number"] = number;
      button.append(span("number", number), span("name", name));
      button.addEventListener("click", () => choose(number));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    this.refreshButtons();
  }

  showNegotiated(report: Report | null): void {
    const rows: [string, string][] = report === null ? [["Nothing yet", "it shows during a call"]] : [
      ["Codec", report.codec],
      ["ICE", report.ice],
      ["Path", report.pair],
      ["DTLS", report.dtls],
      ["Ciphers", report.cipher],
      ["Received", report.received],
      ["Sent", report.sent],
    ];
    this.negotiated.replaceChildren(...rows.filter(([, value]) => value !== "").flatMap(([term, value]) => {
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = term;
      dd.textContent = value;
      return [dt, dd];
    }));
  }

  showLevel(which: "heard" | "said", percent: number, words: string): void {
    element(which, HTMLMeterElement).value = percent;
    element(`${which}-text`, HTMLElement).textContent = words;
  }

  showCertificate(words: string): void {
    this.certificate.textContent = words;
  }

  flashDigit(digit: string): void {
    const button = this.keypad.querySelector<HTMLButtonElement>(`[data-digit="${CSS.escape(digit)}"]`);
    if (button === null) return;
    button.classList.add("sent");
    setTimeout(() => button.classList.remove("sent"), 160);
  }

  private refreshButtons(): void {
    this.call.disabled = !this.canCall || this.isBusy;
    for (const button of this.numbers.querySelectorAll("button")) button.disabled = this.call.disabled;
  }

  /**
   * What had the focus may be gone: then it goes to what the keyboard needs next. Whoever is typing a number when a
   * call comes in keeps it, so that no key answers by mistake.
   */
  private moveFocus(focused: Element | null, isIncoming: boolean): void {
    const isEmpty = focused === this.number && this.number.value === "";
    const isNowhere = focused === null || focused === document.body || isEmpty;
    const isLost = focused instanceof HTMLElement && !isNowhere && !isUsable(focused);
    if (isLost || (isNowhere && isIncoming)) [this.answer, this.hangUp, this.number].find(isUsable)?.focus();
  }
}

export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

/** Leaves the same words alone, which a screen reader would say again. */
export function write(target: HTMLElement, words: string): void {
  if (target.textContent !== words) target.textContent = words;
}

function isUsable(target: HTMLElement): boolean {
  return target.isConnected && target.closest("[hidden]") === null && !target.matches(":disabled");
}

function holdWord(call: Call): string {
  const { local, remote } = call.hold;
  if (local) return remote ? "both" : "local";
  return remote ? "remote" : "none";
}

function span(className: string, text: string): HTMLSpanElement {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = text;
  return span;
}
