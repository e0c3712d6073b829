// What ran, how it went, and how long it took.

export class Report {
  failures = 0;
  passed = 0;

  /** Runs one named check and tells whether it passed; a failure is printed and remembered, and the rest goes on. */
  async check(name, run) {
    const start = performance.now();
    try {
      const words = await run();
      this.passed += 1;
      console.log(`ok    ${name} (${seconds(start)} s)${typeof words === "string" ? `: ${words}` : ""}`);
      return true;
    } catch (error) {
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

export function expect(isTrue, words) {
  if (!isTrue) throw new Error(words);
}

function seconds(start) {
  return ((performance.now() - start) / 1000).toFixed(1);
}

function indent(text) {
  return text.split("\n").map((line) => `      ${line}`).join("\n");
}
