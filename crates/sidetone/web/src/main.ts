// Joins the page to the phone.
import { leaveInstance, takeInstance, type Account } from "./account";
import { Conversation } from "./conversation";
import { Phone, type ServerState } from "./phone";
import { certificatePage, certificateWords, defaultServer, fetchNumbers } from "./server";
import { SignIn } from "./sign-in";
import { View } from "./view";
import * as words from "./words";

const DIGITS = "0123456789*#ABCD";

const query = new URLSearchParams(location.search);
const view = new View();
let server = query.get("server") ?? defaultServer(location);
let wasConnected = false;

const phone = new Phone({
  server: showServer,
  registration: (now) => signIn.show(now, server),
  incoming: (call) => conversation.incoming(call),
  turnedAway: (caller) => conversation.turnedAway(caller),
  changed: (call) => {
    callIsUp(true);
    conversation.changed(call);
  },
  heard: (_, stream, receiver) => conversation.heard(stream, receiver),
  finished: (call, end) => {
    callIsUp(false);
    conversation.finished(call, end);
    signIn.callFinished();
  },
});
const conversation = new Conversation(phone, view, () => signIn.open());
const signIn = new SignIn(phone, view, (account) => connect(server, account));

function connect(address: string, account: Account | null): void {
  if (address !== server) wasConnected = false;
  server = address;
  view.server.value = server;
  try {
    phone.connect(server, account);
  } catch {
    view.showServer("disconnected", `Not connected to ${server}`);
    view.showNotice({ text: `“${server}” is not a WebSocket address. It starts with ws:// or wss://.`, isError: true });
  }
}

function showServer(state: ServerState): void {
  if (state === "connected") {
    wasConnected = true;
    view.showServer(state, `Connected to ${server}`);
    view.showInterruption("server", null);
    return;
  }
  const trying = wasConnected ? `Connecting again to ${server}` : `Connecting to ${server}`;
  view.showServer(state, state === "connecting" || wasConnected ? trying : `Not connected to ${server}`);
  if (state === "connecting") return;
  signIn.disconnected();
  if (wasConnected) {
    view.showInterruption("server", words.connectionLost(phone.call !== null));
    return;
  }
  const page = certificatePage(server);
  view.showNotice({
    text: words.unreachable(server, page),
    isError: true,
    ...(page === null ? {} : { link: { href: page, text: page } }),
  });
}

function unlock(): void {
  signIn.unlock();
  conversation.unlock();
}

/** While a call is up, nobody signs in or out, and a tab that is closed by mistake asks first. */
function callIsUp(isUp: boolean): void {
  signIn.setEnabled(!isUp);
  if (isUp) window.addEventListener("beforeunload", askBeforeUnload);
  else window.removeEventListener("beforeunload", askBeforeUnload);
}

function askBeforeUnload(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

view.dialForm.addEventListener("submit", (event) => {
  event.preventDefault();
  void conversation.dial(view.number.value);
});
view.answer.addEventListener("click", () => void conversation.answer());
for (const button of [view.reject, view.hangUp]) button.addEventListener("click", () => conversation.end());
view.hold.addEventListener("click", () => conversation.toggleHold());
view.mute.addEventListener("click", () => conversation.toggleMute());
view.serverForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const address = view.server.value.trim();
  // A password is for the server it was typed for.
  connect(address, address === server ? phone.account : null);
});
view.keypad.addEventListener("click", (event) => {
  const digit = (event.target as HTMLElement).closest("button")?.dataset["digit"];
  if (digit !== undefined) conversation.press(digit);
});
document.addEventListener("keydown", (event) => {
  if (signIn.isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === "Escape") conversation.end();
  else if (!isTyping && DIGITS.includes(event.key)) conversation.press(event.key);
});
// Not at the press of a button: the page may move under it.
for (const gesture of ["click", "keydown"]) {
  document.addEventListener(gesture, unlock, { capture: true });
}
window.addEventListener("online", () => phone.reconnect());
// A page that goes away ends its call; the server would notice within its grace, this is sooner.
window.addEventListener("pagehide", () => {
  phone.close();
  leaveInstance(phone.instance);
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  takeInstance();
  connect(server, phone.account);
});

view.number.value = query.get("number") ?? "";
view.showCall(null, "idle", "No call");
view.showNegotiated(null);
view.showCertificate(certificateWords(location));
view.serverCard.open = location.protocol === "https:";
connect(server, signIn.first(server));
fetchNumbers()
  .then((numbers) => view.showNumbers(numbers, (number) => {
    view.number.value = number;
    void conversation.dial(number);
  }))
  .catch(() => view.showNumbers([], () => undefined));
