// Level of one audio stream in decibels below full scale.

const FLOOR_DB = -60;

export class Level {
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
    const rms = Math.sqrt(sum / this.samples.length);
    return rms > 0 ? Math.max(FLOOR_DB, 20 * Math.log10(rms)) : FLOOR_DB;
  }

  close(): void {
    this.source.disconnect();
  }
}

/** Maps dBFS to the 0 to 100 of a `<meter>`. */
export function percent(decibels: number): number {
  return Math.round((1 - decibels / FLOOR_DB) * 100);
}

export function words(decibels: number): string {
  return decibels <= FLOOR_DB ? "silent" : `${Math.round(decibels)} dB`;
}
