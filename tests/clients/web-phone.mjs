// The web phone against the real binary: as a guest, and as two tabs that call each other.
import { expect } from "./lib/report.mjs";
import { openPhone } from "./lib/phone-page.mjs";
import { startServer } from "./lib/server.mjs";

/** The server's own grace in these tests is 2 s; the rest is for noticing and counting. */
const GONE_MS = 5000;
/** How long browsers wait for media that may come back. */
const LOST_MS = 60_000;
const PASSWORDS = { 198: "198pass", 199: "199pass" };
const SAID_HZ = { 198: 600, 199: 900 };

/**
 * A guest calls the public numbers. Over plain http from another address than loopback there is no microphone, and
 * the phone offers to listen only.
 */
export async function webPhone(browser, url) {
  const phone = await openPhone(browser, url);
  const { page } = phone;
  try {
    const isSecure = await page.evaluate(() => window.isSecureContext);
    const listenOnly = () => (isSecure ? null : phone.click("#notice-action"));

    const width = await page.evaluate(widthOnSmallScreen);
    expect(width <= 320, `the page is ${width} pixels wide on a screen of 320`);

    await phone.click("#numbers button[data-number='9197']");
    await listenOnly();
    await phone.state("answered");
    await phone.showsSound();
    await phone.click("#keypad button[data-digit='5']");
    await phone.says("#negotiated", /packet/);
    await phone.says("#negotiated", /opus/);
    await phone.click("#hang-up");
    await phone.state("ended");

    await phone.dial("07010002000");
    await listenOnly();
    await phone.state("answered");
    await phone.state("ended");
    await phone.says("#notice-text", /NORMAL_CLEARING/);

    await phone.dial("404404");
    await listenOnly();
    await phone.state("failed");
    await phone.says("#notice-text", /404/);
    phone.complainsOfNothing();
  } finally {
    await phone.close();
  }
}

/** Runs in the page: how wide it is where there are 320 pixels, as in a frame of that width. */
async function widthOnSmallScreen() {
  const frame = document.createElement("iframe");
  frame.style.cssText = "position: fixed; width: 320px; height: 640px; border: 0";
  frame.srcdoc = document.documentElement.outerHTML.replace(/<script[^]*?<\/script>/g, "");
  document.body.append(frame);
  await new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  const width = frame.contentDocument.documentElement.scrollWidth;
  frame.remove();
  return width;
}

/** Two tabs sign in as 198 and 199 and call each other. */
export function twoWebPhones(report, title, browser, binary, options = {}) {
  return report.check(`${title} web phones`, async () => {
    const users = Object.entries(PASSWORDS).map(([user, password]) => [user, [`password = "${password}"`]]);
    const server = await startServer(binary, { ...options, users: Object.fromEntries(users) });
    try {
      return await twoTabs(browser, server);
    } catch (error) {
      throw new Error(`${error.message}\n${server.tail()}`);
    } finally {
      await server.stop();
    }
  });
}

/** A server that dies in the middle of a call, and the words that the phone has for it. */
export function deadServer(report, title, browser, binary) {
  return report.check(`${title} web phone whose server dies`, async () => {
    const server = await startServer(binary);
    const phone = await openPhone(browser, `http://${server.address("http")}/`);
    try {
      await phone.dial("9197");
      await phone.state("answered");
      await phone.showsSound();
      await server.kill();
      const start = performance.now();
      await phone.data("server", "disconnected");
      await phone.state("ended", LOST_MS);
      await phone.says("#notice-text", /no sound came through/);
      return `ended after ${((performance.now() - start) / 1000).toFixed(1)} s`;
    } finally {
      await server.kill();
      await phone.close();
    }
  });
}

async function twoTabs(browser, server) {
  const url = `https://${server.address("https")}/`;
  const byPassword = await openPhone(browser, url, { saidHz: SAID_HZ[198] });
  await byPassword.signIn("198", "wrong");
  await byPassword.says("#account-problem", /wrong number or password/);
  await byPassword.signIn("198", PASSWORDS[198]);
  await byPassword.data("registration", "registered");
  const byLink = await openPhone(browser, `${url}#token=${server.token("199")}`, { saidHz: SAID_HZ[199] });
  await byLink.data("registration", "registered");
  expect(!byLink.page.url().includes("token"), "the token stays in the page's address");

  await conversation(byPassword, byLink);
  await unanswered(byLink, byPassword);
  const words = await closedTab(byPassword, byLink, server);
  await byLink.close();
  return words;
}

async function conversation(caller, callee) {
  await connect(caller, callee, "198", "199");
  await caller.hears(SAID_HZ[199]);
  await callee.hears(SAID_HZ[198]);

  await callee.click("#hold");
  await callee.data("hold", "local");
  await caller.hearsNo(SAID_HZ[199]);
  await callee.click("#hold");
  await callee.data("hold", "none");
  await caller.hears(SAID_HZ[199]);
  await callee.showsSound();

  await callee.click("#mute");
  await caller.hearsNo(SAID_HZ[199]);
  await callee.click("#hang-up");
  await caller.state("ended");
  await caller.says("#notice-text", /the other side hung up/);
}

async function unanswered(caller, callee) {
  await caller.dial("198");
  await callee.state("incoming");
  await callee.says("#call-state", /199.* is calling/);
  await callee.click("#reject");
  await caller.state("failed");
  await caller.says("#notice-text", /declined/);

  await caller.dial("198");
  await callee.state("incoming");
  await caller.click("#hang-up");
  await callee.state("ended");
  await callee.says("#notice-text", /missed call from .*199/);
}

/** A tab that goes away in the middle of a call takes the other one's call with it. */
async function closedTab(caller, callee, server) {
  await connect(caller, callee, "198", "199");
  await callee.hears(SAID_HZ[198]);
  caller.complainsOfNothing();
  callee.complainsOfNothing();
  await caller.close();
  await callee.state("ended");
  const elapsed = await server.metricBecomes("sidetone_calls", 0, GONE_MS);
  expect(/hung up|lost/.test(await callee.text("#notice-text")), `the phone says: ${await callee.text("#notice-text")}`);
  return `gone after ${(elapsed / 1000).toFixed(1)} s`;
}

async function connect(caller, callee, from, to) {
  await caller.dial(to);
  await callee.state("incoming");
  await callee.says("#call-state", new RegExp(`${from}.* is calling`));
  await caller.state("ringing");
  await callee.click("#answer");
  await callee.state("answered");
  await caller.state("answered");
}
