// Who this phone is: signs in from a link, from this tab's memory or by the form, and shows how that goes.
import {
  forgetAccount, readToken, recallAccount, rememberAccount, takeLinkToken, type Account,
} from "./account";
import type { Phone, Registration } from "./phone";
import { element, write, type View } from "./view";
import * as words from "./words";

export class SignIn {
  private readonly state = element("account-state", HTMLElement);
  private readonly signIn = element("sign-in", HTMLButtonElement);
  private readonly signOut = element("sign-out", HTMLButtonElement);
  private readonly dialog = element("account-dialog", HTMLDialogElement);
  private readonly form = element("account-form", HTMLFormElement);
  private readonly user = element("user", HTMLInputElement);
  private readonly password = element("password", HTMLInputElement);
  private readonly submit = element("account-submit", HTMLButtonElement);
  private readonly cancel = element("account-cancel", HTMLButtonElement);
  /** Browsers let a page ring only once it was clicked, which nobody does who came by a link. */
  private readonly silence = element("silence", HTMLElement);
  private readonly problem = element("account-problem", HTMLElement);
  /** The refused account gives way to none as soon as no call needs its connection. */
  private isRefused = false;

  constructor(
    private readonly phone: Phone,
    private readonly view: View,
    private readonly connect: (account: Account | null) => void,
  ) {
    this.signIn.addEventListener("click", () => this.open());
    this.signOut.addEventListener("click", () => this.leave());
    this.cancel.addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.password.value = "";
      if (this.submit.disabled) this.leave();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.enter({ kind: "password", user: this.user.value.trim(), password: this.password.value });
    });
  }

  get isOpen(): boolean {
    return this.dialog.open;
  }

  /** The account to begin with: of the link the page was opened with, or of this tab before a reload. */
  first(server: string): Account | null {
    const token = takeLinkToken(location, history);
    if (token === null) return recallAccount(server);
    const account = readToken(token);
    if (account === null) this.view.showNotice({ text: words.UNREADABLE_LINK, isError: true });
    return account;
  }

  /** The connection is gone, and the registration with it. */
  disconnected(): void {
    const { account } = this.phone;
    if (account === null) return;
    document.body.dataset["registration"] = "lost";
    write(this.state, words.registrationLost(account.user));
  }

  show(now: Registration, server: string): void {
    const { account } = this.phone;
    document.body.dataset["registration"] = now.state;
    write(this.state, words.registration(now, account));
    const isOut = account === null || now.state === "refused";
    this.signIn.hidden = !isOut;
    this.signOut.hidden = isOut;
    this.silence.hidden = now.state !== "registered" || navigator.userActivation?.hasBeenActive !== false;
    if (account !== null && (now.state === "registered" || now.state === "callOnly")) this.succeed(server, account);
    if (now.state === "callOnly" && account?.kind === "password") {
      this.view.showNotice({ text: words.notRegistered(account.user, now.answer), isError: true });
    }
    if (now.state === "refused") this.refuse(now);
    if (now.state === "waiting" && this.isOpen) this.explain(words.registration(now, account));
  }

  /** The page was clicked, so it may ring. */
  unlock(): void {
    this.silence.hidden = true;
  }

  setEnabled(isEnabled: boolean): void {
    this.signIn.disabled = this.signOut.disabled = !isEnabled;
  }

  callFinished(): void {
    if (this.isRefused) this.giveUp();
  }

  open(problem = ""): void {
    if (this.phone.call !== null) return;
    this.user.value = this.phone.account?.user ?? this.user.value;
    this.explain(problem);
    if (!this.isOpen) this.dialog.showModal();
    (this.user.value === "" ? this.user : this.password).focus();
    this.password.select();
  }

  private enter(account: Account): void {
    this.problem.hidden = true;
    this.submit.disabled = true;
    write(this.submit, "Signing in…");
    this.isRefused = false;
    this.connect(account);
  }

  private leave(): void {
    forgetAccount();
    this.isRefused = false;
    this.ready();
    this.connect(null);
  }

  private succeed(server: string, account: Account): void {
    rememberAccount(server, account);
    this.ready();
    this.explain("");
    if (!this.isOpen) return;
    // Whatever the form was opened for is done.
    this.view.showNotice(null);
    this.dialog.close();
  }

  private refuse({ account, answer }: Extract<Registration, { state: "refused" }>): void {
    forgetAccount();
    const text = words.signInRefused(account, answer);
    this.ready();
    if (this.isOpen) {
      this.open(text);
    } else {
      this.view.showNotice({ text, isError: true, action: { text: "Sign in", run: () => this.open() } });
    }
    this.isRefused = true;
    if (this.phone.call === null) this.giveUp();
  }

  /** Goes on as a guest, who may call the public numbers. */
  private giveUp(): void {
    this.isRefused = false;
    this.connect(null);
  }

  private ready(): void {
    this.submit.disabled = false;
    write(this.submit, "Sign in");
  }

  private explain(problem: string): void {
    this.problem.hidden = problem === "";
    write(this.problem, problem);
  }
}
