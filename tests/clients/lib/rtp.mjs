// A desk phone's ear: a UDP port that keeps the RTP packets it gets, and G.711 to listen to them.
import { createSocket } from "node:dgram";

/** Opens an even port and its odd neighbour, as RTP and RTCP want them. */
export async function openEar(address = "127.0.0.1") {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const rtp = await bind(address, 0);
    if (rtp.address().port % 2 === 0) {
      const rtcp = await bind(address, rtp.address().port + 1).catch(() => null);
      if (rtcp !== null) return new Ear(rtp, rtcp);
    }
    rtp.close();
  }
  throw new Error("no free pair of ports");
}

function bind(address, port) {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.once("error", reject);
    socket.bind(port, address, () => resolve(socket));
  });
}

class Ear {
  packets = [];
  rtcpPackets = [];

  constructor(rtp, rtcp) {
    this.rtp = rtp;
    this.rtcp = rtcp;
    this.port = rtp.address().port;
    rtp.on("message", (bytes, from) => this.packets.push({ ...parse(bytes), from, atMs: performance.now() }));
    rtcp.on("message", (bytes, from) => this.rtcpPackets.push({ bytes, from }));
  }

  /** Sends back whatever comes, so that the server hears its own packets. */
  send(bytes, port, address) {
    this.rtp.send(bytes, port, address);
  }

  close() {
    this.rtp.close();
    this.rtcp.close();
  }
}

function parse(bytes) {
  return {
    version: bytes[0] >> 6,
    marker: bytes[1] >> 7,
    payloadType: bytes[1] & 0x7f,
    sequence: bytes.readUInt16BE(2),
    timestamp: bytes.readUInt32BE(4),
    ssrc: bytes.readUInt32BE(8),
    payload: bytes.subarray(12),
  };
}

/** G.711 to samples of -1 to 1; payload type 0 is µ-law, 8 is A-law. */
export function decodeG711(payloadType, payload) {
  const decode = payloadType === 0 ? fromMuLaw : fromALaw;
  return Float32Array.from(payload, (code) => decode(code) / 32768);
}

function fromMuLaw(code) {
  const value = ~code & 0xff;
  const magnitude = (((value & 0x0f) << 3) + 0x84) << ((value & 0x70) >> 4);
  return value & 0x80 ? 0x84 - magnitude : magnitude - 0x84;
}

function fromALaw(code) {
  const value = code ^ 0x55;
  const segment = (value & 0x70) >> 4;
  const base = ((value & 0x0f) << 4) + 8;
  const magnitude = segment === 0 ? base : (base + 0x100) << (segment - 1);
  return value & 0x80 ? magnitude : -magnitude;
}
