// What a phone never shows: lost ACKs, repeated requests, broken messages, over a bare UDP socket.
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { randomBytes } from "node:crypto";
import { expect } from "./lib/report.mjs";
import { splitAddress, timeout } from "./lib/server.mjs";

const ANSWER_MS = 3000;

/** `isFull` adds what takes half a minute. */
export async function runWire(server, report, { isFull }) {
  const checks = {
    "a repeated INVITE gets the same answer": repeatedInvite,
    "a lost ACK brings the 200 again": lostAck,
    "an ACK stops the 200": ackStops,
    ...(isFull ? { "a call whose ACK never comes ends": neverAcknowledged } : {}),
    "broken messages are answered 400 or dropped": brokenMessages,
    "a stream that is no SIP is closed": brokenStream,
    "a WebSocket frame of 2^63-1 bytes is refused with 1009": hugeFrame,
    "a WebSocket from another origin on any path is accepted": anyOrigin,
  };
  await Promise.all(Object.entries(checks).map(([name, check]) =>
    report.check(`wire ${name}`, async () => {
      const peer = await Peer.open(server.address("udp"));
      try {
        return await check(peer, server);
      } finally {
        peer.close();
      }
    })));
}

/** SIGTERM during a call: the caller gets a BYE, the server exits with 0. */
export async function stopDuringCall(server) {
  const peer = await Peer.open(server.address("udp"));
  try {
    const call = peer.newCall();
    peer.send(call.invite());
    const ok = await peer.next((message) => message.startsWith("SIP/2.0 200"));
    peer.send(call.inDialog("ACK", 1, ok));
    const stopped = server.stop();
    const bye = peer.next((message) => message.startsWith("BYE ")).then((message) => peer.send(reply(message)));
    await Promise.all([stopped, bye]);
  } finally {
    peer.close();
  }
}

async function repeatedInvite(peer) {
  const call = peer.newCall();
  peer.send(call.invite());
  const first = await peer.next((message) => message.startsWith("SIP/2.0 200"));
  peer.send(call.invite());
  const second = await peer.next((message) => message.startsWith("SIP/2.0 200"));
  expect(first === second, `two answers differ:\n${first}\n${second}`);
  await hangUp(peer, call, first);
}

async function lostAck(peer) {
  const call = peer.newCall();
  peer.send(call.invite());
  const first = await peer.next((message) => message.startsWith("SIP/2.0 200"));
  const atMs = performance.now();
  const second = await peer.next((message) => message.startsWith("SIP/2.0 200"));
  const gapMs = performance.now() - atMs;
  expect(first === second, `two answers differ:\n${first}\n${second}`);
  expect(gapMs > 400 && gapMs < 700, `the 200 came again after ${gapMs.toFixed(0)} ms, expected 500 (T1)`);
  await hangUp(peer, call, second);
  return `again after ${gapMs.toFixed(0)} ms`;
}

async function ackStops(peer) {
  const call = peer.newCall();
  peer.send(call.invite());
  const ok = await peer.next((message) => message.startsWith("SIP/2.0 200"));
  peer.send(call.inDialog("ACK", 1, ok));
  peer.send(call.invite());
  // The repeated INVITE is absorbed (RFC 6026 §7.1), so what comes next answers the OPTIONS.
  peer.send(call.inDialog("OPTIONS", 2, ok));
  const next = await peer.next(() => true);
  expect(/^CSeq: *2 OPTIONS/im.test(next), `after the ACK came:\n${next}`);
  await hangUp(peer, call, ok, 3);
}

/** The 200 is repeated for 64*T1, then the call is ended by BYE (RFC 3261 §13.3.1.4). */
async function neverAcknowledged(peer) {
  const call = peer.newCall();
  peer.send(call.invite());
  const ok = await peer.next((message) => message.startsWith("SIP/2.0 200"));
  const bye = await peer.next((message) => message.startsWith("BYE "), 40_000);
  peer.send(reply(bye));
  expect(bye.includes(call.callId), "the BYE is of another call");
  expect(ok.includes(call.callId), "the 200 is of another call");
}

async function brokenMessages(peer) {
  const call = peer.newCall();
  const options = call.request("OPTIONS", 1);
  const statuses = [];
  for (const [what, message, allowed] of [
    ["a CSeq that is no number", options.replace(/^CSeq: .*$/m, "CSeq: one OPTIONS"), [400]],
    ["a CSeq of another method", options.replace(/^CSeq: .*$/m, "CSeq: 1 INVITE"), [400]],
    ["a body shorter than announced", options.replace("Content-Length: 0", "Content-Length: 999"), [400]],
    ["SIP/3.0", options.replace(/^(OPTIONS \S+) SIP\/2.0/, "$1 SIP/3.0"), [505]],
    ["a request URI of another scheme", options.replace(/^OPTIONS \S+/, "OPTIONS http://example.com/"), [416]],
  ]) {
    peer.send(fresh(message));
    const answer = await peer.next(() => true).catch((error) => { throw new Error(`${what}: ${error.message}`); });
    const status = Number(answer.split(" ")[1]);
    expect(allowed.includes(status), `${what} was answered ${status}, expected ${allowed}`);
    statuses.push(status);
  }
  for (const noise of ["", "\r\n\r\n", "hello", "INVITE", "\0".repeat(64), "SIP/2.0 200 OK\r\n\r\n"]) peer.send(noise);
  peer.send(fresh(options));
  const answer = await peer.next(() => true);
  expect(answer.startsWith("SIP/2.0 200"), `after noise, OPTIONS was answered:\n${answer}`);
  return statuses.join(", ");
}

async function brokenStream(_peer, server) {
  const socket = connect(splitAddress(server.address("tcp")));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  socket.write(`OPTIONS sip:x SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n`);
  socket.resume();
  await Promise.race([closed, timeout(ANSWER_MS, () => "the connection stays open")]);
}

async function hugeFrame(_peer, server) {
  const { socket, next } = await openWebSocket(server, "/ws", "http://127.0.0.1");
  socket.write(Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
  const frame = await next();
  socket.destroy();
  expect((frame[0] & 0x0f) === 8, `the server sent ${frame.toString("hex")}, expected a close frame`);
  expect(frame.readUInt16BE(2) === 1009, `the server closed with ${frame.readUInt16BE(2)}`);
}

async function anyOrigin(_peer, server) {
  const { socket } = await openWebSocket(server, "/any/path?at=all", "https://elsewhere.example");
  socket.destroy();
}

/** A WebSocket by hand: the handshake, then `next` resolves with what the server sends. */
async function openWebSocket(server, path, origin) {
  const address = server.address("http");
  const socket = connect(splitAddress(address));
  const next = () => Promise.race([
    new Promise((resolve, reject) => {
      socket.once("data", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("the connection was closed")));
    }),
    timeout(ANSWER_MS, () => "nothing came over the WebSocket"),
  ]);
  socket.write([`GET ${path} HTTP/1.1`, `Host: ${address}`, "Connection: Upgrade", "Upgrade: websocket", `Origin: ${origin}`,
    "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "Sec-WebSocket-Protocol: sip", "", ""].join("\r\n"));
  const head = (await next()).toString();
  expect(head.startsWith("HTTP/1.1 101"), `the WebSocket was refused:\n${head}`);
  expect(/^Sec-WebSocket-Protocol: *sip\r$/im.test(head), `the subprotocol is not sip:\n${head}`);
  return { socket, next };
}

async function hangUp(peer, call, ok, cseq = 2) {
  peer.send(call.inDialog("ACK", 1, ok));
  peer.send(call.inDialog("BYE", cseq, ok));
  await peer.next((message) => message.startsWith("SIP/2.0 200") && new RegExp(`^CSeq: *${cseq} BYE`, "im").test(message));
}

class Peer {
  received = [];
  waiting = [];

  static async open(server) {
    const peer = new Peer();
    Object.assign(peer, splitAddress(server));
    peer.socket = createSocket(peer.host.includes(":") ? "udp6" : "udp4");
    await new Promise((resolve) => peer.socket.bind(0, peer.host, resolve));
    peer.local = `${peer.host}:${peer.socket.address().port}`;
    peer.socket.on("message", (bytes) => {
      peer.received.push(bytes.toString());
      peer.wake();
    });
    return peer;
  }

  send(text) {
    this.socket.send(text, this.port, this.host);
  }

  /** The next message that is accepted; those before it are passed over, and 100 always is. */
  next(accepts, withinMs = ANSWER_MS) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no such message within ${withinMs} ms`)), withinMs);
      this.waiting.push({ accepts, resolve: (message) => { clearTimeout(timer); resolve(message); } });
      this.wake();
    });
  }

  wake() {
    while (this.waiting.length > 0 && this.received.length > 0) {
      const message = this.received.shift();
      if (message.startsWith("SIP/2.0 100") || !this.waiting[0].accepts(message)) continue;
      this.waiting.shift().resolve(message);
    }
  }

  newCall() {
    return new Call(this);
  }

  close() {
    this.socket.close();
  }
}

class Call {
  constructor(peer) {
    this.peer = peer;
    this.callId = randomBytes(8).toString("hex");
    this.tag = randomBytes(4).toString("hex");
    this.branch = `z9hG4bK${randomBytes(8).toString("hex")}`;
    this.target = `sip:9197@${peer.host}:${peer.port}`;
  }

  request(method, cseq, { uri = this.target, to = `<${this.target}>`, branch = this.branch, body = "" } = {}) {
    return [
      `${method} ${uri} SIP/2.0`,
      `Via: SIP/2.0/UDP ${this.peer.local};branch=${branch};rport`,
      "Max-Forwards: 70",
      `From: <sip:wire@${this.peer.local}>;tag=${this.tag}`,
      `To: ${to}`,
      `Call-ID: ${this.callId}`,
      `CSeq: ${cseq} ${method}`,
      `Contact: <sip:wire@${this.peer.local}>`,
      ...(body === "" ? [] : ["Content-Type: application/sdp"]),
      `Content-Length: ${body.length}`,
      "",
      body,
    ].join("\r\n");
  }

  invite() {
    const body = ["v=0", `o=wire 1 1 IN IP4 ${this.peer.host}`, "s=-", `c=IN IP4 ${this.peer.host}`, "t=0 0",
      "m=audio 9 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", ""].join("\r\n");
    return this.request("INVITE", 1, { body });
  }

  /** A request within the dialog that a 200 made. */
  inDialog(method, cseq, ok) {
    return this.request(method, cseq, {
      uri: ok.match(/^(?:Contact|m):.*<([^>]+)>/im)[1],
      to: ok.match(/^(?:To|t): *(.*?)\r$/im)[1],
      branch: `z9hG4bK${randomBytes(8).toString("hex")}`,
    });
  }
}

/** The same request as a new one. */
function fresh(message) {
  return message.replace(/branch=[^;\r]+/, `branch=z9hG4bK${randomBytes(8).toString("hex")}`)
    .replace(/^Call-ID: .*$/m, `Call-ID: ${randomBytes(8).toString("hex")}`);
}

function reply(request) {
  const kept = request.split("\r\n").filter((line) => /^(via|from|to|call-id|cseq|v|f|t|i):/i.test(line));
  return ["SIP/2.0 200 OK", ...kept, "Content-Length: 0", "", ""].join("\r\n");
}
