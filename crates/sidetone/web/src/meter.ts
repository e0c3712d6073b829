// Loudness in decibels below full scale: of what is said, and of what is heard.

const FLOOR_DB = -60;
const POLL_MS = 100;

/** Of a stream of this machine. */
export class SaidLevel {
  private readonly source: MediaStreamAudioSourceNode;
  private readonly analyser: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;

  constructor(context: AudioContext, stream: MediaStream) {
    this.source = context.createMediaStreamSource(stream);
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = 2048;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.source.connect(this.analyser);
  }

  /** Root mean square of the last 2048 samples, in dBFS; `FLOOR_DB` stands for anything quieter. */
  decibels(): number {
    this.analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    return decibelsOf(sum / this.samples.length);
  }

  close(): void {
    this.source.disconnect();
  }
}

/**
 * Of what the browser plays, by its own statistics: Chromium no longer feeds Web Audio a track that a hold took away
 * and gave back.
 */
export class HeardLevel {
  private readonly timer = window.setInterval(() => void this.poll(), POLL_MS);
  private latest = FLOOR_DB;
  private energy = 0;
  private seconds = 0;

  constructor(private readonly receiver: RTCRtpReceiver) {}

  /** Of about the last tenth of a second; `FLOOR_DB` stands for anything quieter. */
  decibels(): number {
    return this.latest;
  }

  close(): void {
    window.clearInterval(this.timer);
  }

  private async poll(): Promise<void> {
    const statistics: Record<string, unknown>[] = [];
    (await this.receiver.getStats()).forEach((entry: Record<string, unknown>) => statistics.push(entry));
    const inbound = statistics.find((entry) => entry["type"] === "inbound-rtp");
    const energy = Number(inbound?.["totalAudioEnergy"] ?? 0);
    const seconds = Number(inbound?.["totalSamplesDuration"] ?? 0);
    // The statistics begin anew after a hold.
    this.latest = seconds > this.seconds ? decibelsOf((energy - this.energy) / (seconds - this.seconds)) : FLOOR_DB;
    [this.energy, this.seconds] = [energy, seconds];
  }
}

function decibelsOf(power: number): number {
  return power > 0 ? Math.max(FLOOR_DB, 10 * Math.log10(power)) : FLOOR_DB;
}

/** Maps dBFS to the 0 to 100 of a `<meter>`. */
export function percent(decibels: number): number {
  return Math.round((1 - decibels / FLOOR_DB) * 100);
}

export function words(decibels: number): string {
  return decibels <= FLOOR_DB ? "silent" : `${Math.round(decibels)} dB`;
}
