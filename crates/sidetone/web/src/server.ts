// Where the server is: its WebSocket address, the numbers it answers, and what its certificate means here.

export interface CallableNumber {
  number: string;
  name: string;
}

/** The WebSocket address of the listener that served this page. */
export function defaultServer(page: Location): string {
  const scheme = page.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${page.host}/ws`;
}

/** The numbers that the dialplan answers; none when the server does not tell. */
export async function fetchNumbers(): Promise<CallableNumber[]> {
  const response = await fetch("numbers.json", { cache: "no-store" });
  if (!response.ok) return [];
  const list: unknown = await response.json();
  if (!Array.isArray(list)) return [];
  return list.filter(isCallableNumber);
}

function isCallableNumber(value: unknown): value is CallableNumber {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  return typeof entry["number"] === "string" && typeof entry["name"] === "string";
}

/** The https page to open in a browser so that it can accept the certificate behind a wss address. */
export function certificatePage(server: string): string | null {
  const url = parseUrl(server);
  if (url === null || url.protocol !== "wss:") return null;
  return `https://${url.host}/`;
}

/** What to say about the certificate on this page. */
export function certificateWords(page: Location): string {
  if (page.protocol === "https:") {
    return `Certificate accepted: this page came over https, so wss://${page.host}/ now works from this browser, `
      + "for this page and for any other page that connects to it.";
  }
  return "This page came over plain http. Before a page may connect to the wss address of this server, open its "
    + `https address once (https://${page.hostname}:8089/ unless configured otherwise) and accept the certificate: `
    + "Advanced, then Proceed, in Chromium; Advanced, then Accept the Risk and Continue, in Firefox.";
}

/** The host that a SIP URI of this server names. */
export function sipHost(server: string): string {
  return parseUrl(server)?.hostname || "localhost";
}

export function parseUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
