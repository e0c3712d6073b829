// The page: finds its elements once and writes to them. It decides nothing.
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
  readonly hangUp = element("hang-up", HTMLButtonElement);
  readonly keypad = element("keypad", HTMLDivElement);
  readonly serverForm = element("server-form", HTMLFormElement);
  readonly server = element("server", HTMLInputElement);
  readonly serverCard = element("server-card", HTMLDetailsElement);
  readonly audio = element("audio", HTMLAudioElement);
  private readonly call = element("call", HTMLButtonElement);
  private readonly serverState = element("server-state", HTMLElement);
  private readonly callState = element("call-state", HTMLElement);
  private readonly clock = element("call-clock", HTMLElement);
  private readonly notice = element("notice", HTMLElement);
  private readonly noticeText = element("notice-text", HTMLElement);
  private readonly noticeLink = element("notice-link", HTMLAnchorElement);
  private readonly noticeAction = element("notice-action", HTMLButtonElement);
  private readonly numbersCard = element("numbers-card", HTMLElement);
  private readonly numbers = element("numbers", HTMLUListElement);
  private readonly negotiated = element("negotiated", HTMLElement);
  private readonly certificate = element("certificate", HTMLElement);
  private canCall = false;
  private inCall = false;

  showServer(state: "connecting" | "connected" | "disconnected", server: string): void {
    const words = { connecting: "Connecting to", connected: "Connected to", disconnected: "Not connected to" };
    document.body.dataset["server"] = state;
    this.serverState.textContent = `${words[state]} ${server}`;
    this.canCall = state === "connected";
    this.refreshButtons();
  }

  /** `state` is the word for tests and style, `words` the one for people. */
  showCall(state: string, words: string, inCall: boolean): void {
    document.body.dataset["state"] = state;
    this.callState.textContent = words;
    this.inCall = inCall;
    this.refreshButtons();
  }

  showClock(seconds: number | null): void {
    if (seconds === null) {
      this.clock.textContent = "";
      return;
    }
    const minutes = Math.floor(seconds / 60);
    this.clock.textContent = `${minutes}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  }

  showNotice(notice: Notice | null): void {
    this.notice.hidden = notice === null;
    if (notice === null) return;
    this.notice.classList.toggle("error", notice.isError);
    this.noticeText.textContent = notice.text;
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
    this.call.disabled = !this.canCall || this.inCall;
    this.hangUp.disabled = !this.inCall;
    for (const button of this.numbers.querySelectorAll("button")) button.disabled = this.call.disabled;
  }
}

function span(className: string, text: string): HTMLSpanElement {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = text;
  return span;
}

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}
