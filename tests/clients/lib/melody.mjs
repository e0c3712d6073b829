// What was heard as a melody: one frequency after the other, and silence between them.
import { decibels, powerAt } from "./audio.mjs";

const WINDOW_MS = 20;
/** What a jitter buffer or the edge between two tones may leave behind. */
const SHORTEST_MS = 60;
const SILENT_DB = -45;

/** The notes in a recording: `hz` is one of `candidates`, or null for silence. */
export function melody(samples, rateHz, candidates) {
  const size = (rateHz * WINDOW_MS) / 1000;
  const notes = [];
  for (let at = 0; at + size <= samples.length; at += size) {
    const window = samples.subarray(at, at + size);
    const level = decibels(window);
    const hz = level < SILENT_DB ? null : strongestOf(window, rateHz, candidates);
    if (notes.at(-1)?.hz === hz) {
      notes.at(-1).levels.push(level);
    } else {
      notes.push({ hz, levels: [level] });
    }
  }
  const kept = [];
  for (const { hz, levels } of notes.filter(({ levels }) => levels.length * WINDOW_MS >= SHORTEST_MS)) {
    if (kept.at(-1)?.hz === hz) kept.at(-1).levels.push(...levels);
    else kept.push({ hz, levels: [...levels] });
  }
  while (kept.length > 0 && kept[0].hz === null) kept.shift();
  while (kept.length > 0 && kept.at(-1).hz === null) kept.pop();
  return kept.map(({ hz, levels }) => ({
    hz, durationMs: levels.length * WINDOW_MS, level: levels.toSorted((a, b) => a - b)[Math.floor(levels.length / 2)],
  }));
}

/** In words, for a message. */
export function shown(notes) {
  return notes.map(({ hz, durationMs }) => `${hz ?? "-"}:${durationMs}`).join(" ");
}

function strongestOf(window, rateHz, candidates) {
  const powers = candidates.map((hz) => powerAt(window, rateHz, hz));
  return candidates[powers.indexOf(Math.max(...powers))];
}
