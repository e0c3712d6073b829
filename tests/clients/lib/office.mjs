// The scene of the pair tests: users, and numbers that lead to them in every way.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PLAN = fileURLToPath(new URL("../../../config/default-dialplan.xml", import.meta.url));

/** Two users for each kind of endpoint, one to call and one to be called, and one for single tests. */
const USERS = ["199", "197", "198", "196", "3001", "3003", "3002", "3004", "3009"];
/** Phones that take no call without SRTP. */
const SECURE_USERS = ["3101", "3102"];

export const passwordOf = (user) => `${user}pass`;

/** Options of `startServer` for this scene; `host` is where SIPp listens. */
export function office(host = "127.0.0.1") {
  const lines = (user) => [
    `password = "${passwordOf(user)}"`,
    // The other one is offered SRTP once it has refused what may be in the clear.
    ...(user === "3102" ? [`media = "srtp"`] : []),
  ];
  return {
    users: Object.fromEntries([...USERS, ...SECURE_USERS].map((user) => [user, lines(user)])),
    dialplan: dialplan(host),
  };
}

/** The dialplan in the binary, with more ways to a user in its context `internal`. */
function dialplan(host) {
  const uri = host.includes(":") ? `[${host}]` : host;
  const numbers = {
    // Both at once.
    "^group-(\\w+)-(\\w+)$": [["bridge", "user/$1,user/$2"]],
    // One after the other, the first for two seconds.
    "^hunt-(\\w+)-(\\w+)$": [["bridge", "[leg_timeout=2]user/$1|user/$2"]],
    // Two seconds, and no more.
    "^patient-(\\w+)$": [["set", "call_timeout=2"], ["bridge", "user/$1"]],
    // Who calls is answered at once, and has a codec before anyone else has.
    "^answered-(\\w+)$": [["answer", ""], ["bridge", "user/$1"]],
    // Whatever comes of it, a tone follows.
    "^or-tone-(\\w+)$": [["set", "call_timeout=2"], ["set", "continue_on_fail=true"], ["bridge", "user/$1"],
      ["answer", ""], ["gentones", "%(1000,0,1004)|-1"]],
    // Somewhere else: SIPp on a port.
    "^uri-(\\d+)$": [["bridge", `sip:sipp@${uri}:$1`]],
    "^patient-uri-(\\d+)$": [["set", "call_timeout=2"], ["bridge", `sip:sipp@${uri}:$1`]],
  };
  const extensions = Object.entries(numbers).map(([expression, actions], index) => [
    `<extension name="test-${index}">`,
    `<condition field="destination_number" expression="${expression}">`,
    ...actions.map(([application, data]) => `<action application="${application}" data="${data}"/>`),
    "</condition></extension>",
  ].join("\n"));
  const plan = readFileSync(PLAN, "utf8");
  const at = plan.indexOf("<context name=\"internal\">") + "<context name=\"internal\">".length;
  return `${plan.slice(0, at)}\n${extensions.join("\n")}\n${plan.slice(at)}`;
}
