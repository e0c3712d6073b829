// What was negotiated, read from the statistics of the peer connection.

export interface Report {
  codec: string;
  ice: string;
  pair: string;
  dtls: string;
  cipher: string;
  received: string;
  sent: string;
  packetsReceived: number;
}

interface Entry {
  id: string;
  type: string;
  [key: string]: unknown;
}

export async function report(connection: RTCPeerConnection): Promise<Report> {
  const entries = new Map<string, Entry>();
  (await connection.getStats()).forEach((entry: Entry) => entries.set(entry.id, entry));
  const all = [...entries.values()];
  const inbound = all.find((entry) => entry.type === "inbound-rtp");
  const outbound = all.find((entry) => entry.type === "outbound-rtp");
  const transport = all.find((entry) => entry.type === "transport");
  const pair = selectedPair(all, transport);
  return {
    codec: codecWords(entries, outbound ?? inbound),
    ice: connection.iceConnectionState,
    pair: pairWords(entries, pair),
    dtls: text(transport, "dtlsState") || dtlsState(connection) || "unknown",
    cipher: [text(transport, "tlsVersion") && tlsWords(text(transport, "tlsVersion")), text(transport, "dtlsCipher"),
      text(transport, "srtpCipher")].filter(Boolean).join(", "),
    received: inboundWords(inbound),
    sent: outbound === undefined ? "" : `${number(outbound, "packetsSent")} packets`,
    packetsReceived: number(inbound, "packetsReceived"),
  };
}

function selectedPair(all: Entry[], transport: Entry | undefined): Entry | undefined {
  const pairs = all.filter((entry) => entry.type === "candidate-pair");
  return pairs.find((entry) => entry.id === transport?.["selectedCandidatePairId"])
    ?? pairs.find((entry) => entry["selected"] === true)
    ?? pairs.find((entry) => entry["nominated"] === true && entry["state"] === "succeeded");
}

function pairWords(entries: Map<string, Entry>, pair: Entry | undefined): string {
  if (pair === undefined) return "none yet";
  const local = entries.get(text(pair, "localCandidateId"));
  const remote = entries.get(text(pair, "remoteCandidateId"));
  const seconds = pair["currentRoundTripTime"];
  const trip = typeof seconds === "number" ? `, round trip ${(seconds * 1000).toFixed(1)} ms` : "";
  return `${candidateWords(local)} → ${candidateWords(remote)}${trip}`;
}

function candidateWords(candidate: Entry | undefined): string {
  if (candidate === undefined) return "?";
  const address = text(candidate, "address") || text(candidate, "ip") || "hidden";
  const host = address.includes(":") ? `[${address}]` : address;
  return `${host}:${text(candidate, "port")}/${text(candidate, "protocol")} (${text(candidate, "candidateType")})`;
}

function codecWords(entries: Map<string, Entry>, stream: Entry | undefined): string {
  const codec = stream === undefined ? undefined : entries.get(text(stream, "codecId"));
  if (codec === undefined) return "none yet";
  const name = text(codec, "mimeType").replace(/^audio\//, "");
  const channels = number(codec, "channels");
  const rate = `${number(codec, "clockRate")} Hz${channels > 1 ? `, ${channels} channels` : ""}`;
  return `${name}, ${rate}, payload type ${text(codec, "payloadType")}`;
}

function inboundWords(inbound: Entry | undefined): string {
  if (inbound === undefined) return "";
  const jitter = inbound["jitter"];
  const jitterWords = typeof jitter === "number" ? `, jitter ${(jitter * 1000).toFixed(1)} ms` : "";
  return `${number(inbound, "packetsReceived")} packets, ${number(inbound, "packetsLost")} lost${jitterWords}`;
}

function dtlsState(connection: RTCPeerConnection): string {
  return connection.getSenders()[0]?.transport?.state ?? "";
}

function tlsWords(version: string): string {
  // The wire value of the protocol version (RFC 6347 §4.1): one's complement of 1.2.
  return version.toUpperCase() === "FEFD" ? "DTLS 1.2" : version.toUpperCase() === "FEFC" ? "DTLS 1.3" : version;
}

function text(entry: Entry | undefined, key: string): string {
  const value = entry?.[key];
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function number(entry: Entry | undefined, key: string): number {
  const value = entry?.[key];
  return typeof value === "number" ? value : 0;
}
