// The sounds the phone makes itself: ringing here, and the tone that says it rings there.

/** A loop of so many seconds; `sample` gives its amplitude, -1 to 1, at a time in seconds. */
interface Pattern {
  seconds: number;
  sample: (at: number) => number;
}

/** Two soft notes that fade, twice every three seconds. */
const RING: Pattern = {
  seconds: 3,
  sample: (at) => [[0, 660], [0.18, 880], [0.7, 660], [0.88, 880]]
    .reduce((sum, [start = 0, hz = 0]) => sum + note(at - start, hz), 0),
};

/** The tone of most of Europe (ITU-T E.180): one second of 425 Hz, four of silence. */
const RINGBACK: Pattern = {
  seconds: 5,
  sample: (at) => (at < 1 ? 0.12 * Math.min(1, at * 100, (1 - at) * 100) * Math.sin(2 * Math.PI * 425 * at) : 0),
};

const RATE_HZ = 16_000;

function note(at: number, hz: number): number {
  if (at < 0) return 0;
  return 0.16 * Math.min(1, at * 80) * Math.exp(-at * 7) * Math.sin(2 * Math.PI * hz * at);
}

export class Sounds {
  private playing: AudioBufferSourceNode | null = null;

  constructor(private readonly context: AudioContext) {}

  ring(): void {
    this.play(RING);
  }

  ringback(): void {
    this.play(RINGBACK);
  }

  stop(): void {
    this.playing?.stop();
    this.playing = null;
  }

  /** Loops in the audio clock, which unlike a timer does not slow down in a hidden tab. */
  private play(pattern: Pattern): void {
    this.stop();
    const buffer = this.context.createBuffer(1, pattern.seconds * RATE_HZ, RATE_HZ);
    const samples = buffer.getChannelData(0);
    samples.forEach((_, index) => { samples[index] = pattern.sample(index / RATE_HZ); });
    this.playing = new AudioBufferSourceNode(this.context, { buffer, loop: true });
    this.playing.connect(this.context.destination);
    this.playing.start();
  }
}
