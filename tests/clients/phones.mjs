// baresip and linphone call the numbers of the default dialplan.
import { purity, strongestHz } from "./lib/audio.mjs";
import { startBaresip } from "./lib/baresip.mjs";
import { startLinphone } from "./lib/linphone.mjs";
import { inParallel } from "./lib/parallel.mjs";
import { expect } from "./lib/report.mjs";
import { splitAddress } from "./lib/server.mjs";

const SAID_HZ = 600;
const TONE_HZ = 1004;
const START = { baresip: startBaresip, linphone: startLinphone };

/** Which phone calls over which transport, with which codec. */
const COMBINED = [["baresip", "udp", "pcmu"], ["linphone", "tcp", "pcma"]];
const CODECS = ["pcmu", "pcma", "g722", "opus"];

/** `isFull` adds every transport and codec. */
export async function runPhones(server, report, { isFull, place = "" }) {
  const all = Object.keys(START).flatMap((phone) =>
    ["udp", "tcp", "tls"].flatMap((transport) => CODECS.map((codec) => [phone, transport, codec])));
  await inParallel(isFull ? all : COMBINED, 3, ([phone, transport, codec]) =>
    report.check(`${phone} ${transport} ${codec} ${place}`.trim(), () => numbers(server, phone, transport, codec)));
  await report.check(`baresip from another address of this machine ${place}`.trim(), () =>
    numbers(server, "baresip", "udp", "pcmu", { isBound: false }));
}

/** The tone, the echo with hold and a digit in between, the prompt to its end, and a number that is not there. */
async function numbers(server, name, transport, codec, options = {}) {
  const phone = await START[name]({
    user: "guest",
    password: "",
    server: splitAddress(server.address(transport)),
    transport,
    codecs: [codec],
    toneHz: SAID_HZ,
    registers: false,
    ...options,
  });
  try {
    await answered(phone, "9197");
    await hears(phone, TONE_HZ, "the tone of 9197");
    await phone.hangUp();
    await phone.ended();

    await answered(phone, "9196");
    await hears(phone, SAID_HZ, "the echo of 9196");
    await phone.sendDigit("5");
    await phone.hold();
    await phone.resume();
    await hears(phone, SAID_HZ, "the echo after hold");
    await phone.hangUp();
    await phone.ended();

    await answered(phone, "07010002000");
    await phone.ended();

    await phone.call("404404");
    const { isAnswered, status } = await phone.outcome();
    expect(!isAnswered && status === 404, `404404 got ${status}`);
  } catch (error) {
    throw new Error(`${error.message}\n${phone.trace().slice(-4000)}`);
  } finally {
    await phone.close();
  }
}

async function answered(phone, number) {
  await phone.call(number);
  const { isAnswered, status } = await phone.outcome();
  expect(isAnswered, `${number} was not answered: ${status}`);
}

/** One frequency and nothing else. A jitter buffer that has just been filled is given a moment. */
async function hears(phone, hz, what) {
  await phone.listen(300);
  const { samples, rateHz } = await phone.listen(800);
  const strongest = strongestHz(samples, rateHz);
  expect(Math.abs(strongest - hz) < 5, `${what} is ${strongest.toFixed(1)} Hz, expected ${hz}`);
  const pure = purity(samples, rateHz, hz);
  expect(pure > 0.9, `only ${(pure * 100).toFixed(0)} % of ${what} is at ${hz} Hz`);
}
