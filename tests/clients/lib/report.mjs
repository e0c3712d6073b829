// What ran, how it went, and how long it took.
import { readFileSync } from "node:fs";

const TICKS_PER_SECOND = 100;
/** From here on a host that gave its CPUs to others breaks what must come every 20 ms. */
const STOLEN_MS = 100;
const ATTEMPTS = 3;

export class Report {
  failures = 0;
  passed = 0;

  /**
   * Runs one named check and tells whether it passed; a failure is printed and remembered, and the rest goes on.
   * A check that failed while the host of this machine took its CPUs away is made again, and that is printed.
   */
  async check(name, run, attempt = 1) {
    const start = performance.now();
    const stolenBeforeMs = stolenMs();
    try {
      const words = await run();
      this.passed += 1;
      console.log(`ok    ${name} (${seconds(start)} s)${typeof words === "string" ? `: ${words}` : ""}`);
      return true;
    } catch (error) {
      const stolen = stolenMs() - stolenBeforeMs;
      if (stolen >= STOLEN_MS && attempt < ATTEMPTS) {
        this.note(`${name} again, since ${stolen} ms of CPU were taken from this machine: ${error.message}`);
        return this.check(name, run, attempt + 1);
      }
      this.failures += 1;
      console.log(`FAIL  ${name} (${seconds(start)} s)\n${indent(error.stack ?? String(error))}`);
      return false;
    }
  }

  note(words) {
    console.log(`      ${words}`);
  }

  /** Ends the process's work with a verdict. */
  finish() {
    console.log(`${this.passed} passed, ${this.failures} failed`);
    return this.failures === 0;
  }
}

/** Time of all CPUs that the host of a virtual machine gave to others (proc(5), `steal`). */
function stolenMs() {
  const [, , , , , , , , steal] = readFileSync("/proc/stat", "utf8").split("\n", 1)[0].split(/ +/);
  return (Number(steal) * 1000) / TICKS_PER_SECOND;
}

export function expect(isTrue, words) {
  if (!isTrue) throw new Error(words);
}

function seconds(start) {
  return ((performance.now() - start) / 1000).toFixed(1);
}

function indent(text) {
  return text.split("\n").map((line) => `      ${line}`).join("\n");
}
