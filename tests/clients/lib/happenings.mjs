// What happened to an endpoint, in order, and a way to wait for more of it.

export class Happenings {
  list = [];
  #waiting = new Set();

  /** Records one happening: a word, and what is known about it. */
  push(type, facts = {}) {
    this.list.push({ type, atMs: performance.now(), ...facts });
    for (const look of [...this.#waiting]) look();
  }

  /** Forgets what was, before a new call. */
  clear() {
    this.list.length = 0;
  }

  /** How often something has happened. */
  count(type) {
    return this.list.filter((happening) => happening.type === type).length;
  }

  /** Resolves with the first happening, past or to come, of one of these types; `from` skips earlier ones. */
  next(types, withinMs, { from = 0, who = "the endpoint", accepts = () => true } = {}) {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = () => {
        const found = this.list.slice(from).find((happening) => types.includes(happening.type) && accepts(happening));
        if (found === undefined) return;
        done();
        resolve(found);
      };
      const timer = setTimeout(() => {
        done();
        const seen = this.list.map(({ type }) => type).join(", ") || "nothing";
        reject(new Error(`${who} saw no ${types.join(" or ")} within ${withinMs} ms, but ${seen}`));
      }, withinMs);
      this.#waiting.add(look);
      look();
    });
  }
}
