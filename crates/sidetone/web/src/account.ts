// Who is signed in on this tab: a number with its password, or a token from a link.

export type Account =
  | { kind: "password"; user: string; password: string }
  | { kind: "token"; user: string; token: string; expiresAt: Date | null };

/** Gone with the tab. The address is kept too, so that a password never goes to another server. */
const ACCOUNT = "sidetone.account";
const INSTANCE = "sidetone.instance";

/** Takes the token out of the page's address, where it must not stay, and reads it. */
export function takeLinkToken(page: Location, history: History): string | null {
  const query = new URLSearchParams(page.search);
  const fragment = new URLSearchParams(page.hash.slice(1));
  const token = fragment.get("token") ?? query.get("token");
  if (token === null) return null;
  for (const parameters of [query, fragment]) parameters.delete("token");
  const [search, hash] = [query.toString(), fragment.toString()];
  history.replaceState(null, "", `${page.pathname}${search && `?${search}`}${hash && `#${hash}`}`);
  return token;
}

/** The account a JSON Web Token (RFC 7519) names; null when it names none. Only the server can check it. */
export function readToken(token: string): Account | null {
  const [, payload, signature] = token.split(".");
  if (payload === undefined || signature === undefined) return null;
  const claims = parseClaims(payload);
  const user = claims?.["sub"];
  const expiry = claims?.["exp"];
  if (typeof user !== "string" || user === "") return null;
  return { kind: "token", user, token, expiresAt: typeof expiry === "number" ? new Date(expiry * 1000) : null };
}

function parseClaims(payload: string): Record<string, unknown> | null {
  try {
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
    return parseObject(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

function parseObject(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

export function rememberAccount(server: string, account: Account): void {
  const secret = account.kind === "token" ? { token: account.token } : { user: account.user, password: account.password };
  store(ACCOUNT, JSON.stringify({ server, ...secret }));
}

/** The account of this tab on this server. */
export function recallAccount(server: string): Account | null {
  const known = parseObject(load(ACCOUNT) ?? "");
  if (known === null || known["server"] !== server) return null;
  const { token, user, password } = known;
  if (typeof token === "string") return readToken(token);
  return typeof user === "string" && typeof password === "string" ? { kind: "password", user, password } : null;
}

export function forgetAccount(): void {
  store(ACCOUNT, null);
}

/**
 * The UUID of this phone as `+sip.instance` (RFC 5626 §4.1): a reloaded tab keeps it and so replaces its own
 * binding. It is taken out while the tab lives, so that a duplicate of the tab does not get the same.
 */
export function takeInstance(): string {
  const known = load(INSTANCE);
  store(INSTANCE, null);
  return known ?? randomUuid();
}

export function leaveInstance(instance: string): void {
  store(INSTANCE, instance);
}

/** `crypto.randomUUID` is missing on plain http pages. */
function randomUuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = Array.from(bytes, (byte, index) => {
    const versioned = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte;
    return versioned.toString(16).padStart(2, "0");
  }).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** A browser that keeps nothing for this page still phones; it only forgets. */
function load(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function store(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // See `load`.
  }
}
