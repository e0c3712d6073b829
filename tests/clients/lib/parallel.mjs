// Several things at once, but not all.

/** Runs over all items, at most `width` at a time; fails as the first one that fails. */
export async function inParallel(items, width, run) {
  const left = [...items];
  const worker = async () => {
    while (left.length > 0) await run(left.shift());
  };
  await Promise.all(Array.from({ length: width }, worker));
}
