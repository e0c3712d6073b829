// The endpoints of the pair tests, by kind, all asked the same things.
import { startBaresip } from "./baresip.mjs";
import { startLinphone } from "./linphone.mjs";
import { passwordOf } from "./office.mjs";
import { startPage } from "./pagephone.mjs";
import { expect } from "./report.mjs";
import { splitAddress } from "./server.mjs";

const PHONES = { baresip: startBaresip, linphone: startLinphone };
export const PAGES = ["jssip", "sipjs"];
export const KINDS = [...PAGES, ...Object.keys(PHONES)];

/** How each kind comes when nothing else is asked for: a browser with Opus, a desk phone with PCMU over UDP. */
const SCHEME = { jssip: "ws", sipjs: "wss" };

/** Starts endpoints on one server, and ends them all. */
export class Endpoints {
  #started = [];

  /** `browser` and `pages` may be null where no page is asked for. */
  constructor(server, browser, pages) {
    Object.assign(this, { server, browser, pages });
  }

  /** An endpoint that is not asked yet how its registration went. */
  async open(kind, { user, toneHz = 600, password = passwordOf(user), transport = "udp", ...rest }) {
    const phone = PAGES.includes(kind)
      ? await startPage({ browser: this.browser, pages: this.pages, library: kind, server: this.server.webSocket(rest.scheme ?? SCHEME[kind]), user, password, toneHz, ...rest })
      : await PHONES[kind]({ server: splitAddress(this.server.address(transport)), user, password, transport, toneHz, ...rest });
    phone.kind = kind;
    this.#started.push(phone);
    return phone;
  }

  /** An endpoint that has registered. */
  async start(kind, options) {
    const phone = await this.open(kind, options);
    const status = await phone.registered();
    expect(status === 200, `${phone.name} was refused with ${status}`);
    return phone;
  }

  async close(phone) {
    this.#started = this.#started.filter((started) => started !== phone);
    await phone.close();
  }

  async closeAll() {
    await Promise.all(this.#started.splice(0).map((phone) => phone.close()));
  }
}

/** Runs a check and, if it fails, adds what the endpoints saw. */
export async function withTraces(phones, run) {
  try {
    return await run();
  } catch (error) {
    const traces = await Promise.all(phones.map(async (phone) => `--- ${phone.name}\n${sipOf(await phone.trace())}`));
    for (const phone of phones) await Promise.resolve(phone.hangUp()).catch(() => undefined);
    throw new Error(`${error.message}\n${traces.join("\n")}`);
  }
}

/** The SIP messages of a log, without the rest. */
function sipOf(log) {
  const lines = log.split("\n");
  const kept = [];
  let isMessage = false;
  for (const line of lines) {
    if (/^(?:in |out )?(?:SIP\/2\.0 \d|[A-Z]+ sip:)/.test(line)) isMessage = true;
    else if (!/^(?:[A-Za-z-]+ ?:|[a-z]=|\s*$)/.test(line)) isMessage = false;
    if (isMessage && line.trim() !== "") kept.push(line);
  }
  return kept.slice(-TRACE_LINES).join("\n");
}

const TRACE_LINES = 120;
