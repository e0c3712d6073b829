// What a call needs of this machine: microphone, loudspeaker, level meters and ringing.
import { HeardLevel, SaidLevel } from "./meter";
import { openMicrophone, silence } from "./microphone";
import { Sounds } from "./sounds";

/** Loudness in dBFS of what is heard and said; null while there is none. */
export interface Levels {
  heard: number | null;
  said: number | null;
}

export class CallAudio {
  private context: AudioContext | null = null;
  private ringer: Sounds | null = null;
  private microphone: MediaStream | null = null;
  private said: SaidLevel | null = null;
  private heard: HeardLevel | null = null;

  constructor(private readonly speaker: HTMLAudioElement) {}

  /** Lets the page make sound; browsers allow it from the first click or key on. */
  unlock(): void {
    void this.running().resume();
  }

  get sounds(): Sounds {
    return (this.ringer ??= new Sounds(this.running()));
  }

  /** The microphone, or silence in its place; throws a `MicrophoneError`. */
  async open(listenOnly: boolean): Promise<MediaStream> {
    return listenOnly ? silence(this.running()) : openMicrophone();
  }

  /** What `open` gave becomes the voice of the call, until `release`. */
  speak(microphone: MediaStream): void {
    this.microphone = microphone;
    this.said = new SaidLevel(this.running(), microphone);
  }

  /** Plays what comes; rejects when the browser holds it back until the page is clicked. */
  async play(stream: MediaStream, receiver: RTCRtpReceiver): Promise<void> {
    this.speaker.srcObject = stream;
    this.heard?.close();
    this.heard = new HeardLevel(receiver);
    await this.speaker.play();
  }

  async playAgain(): Promise<void> {
    this.unlock();
    await this.speaker.play();
  }

  levels(): Levels {
    return { heard: this.heard?.decibels() ?? null, said: this.said?.decibels() ?? null };
  }

  /** Gives back the microphone and is silent. */
  release(): void {
    this.ringer?.stop();
    for (const level of [this.said, this.heard]) level?.close();
    this.said = this.heard = null;
    this.microphone?.getTracks().forEach((track) => track.stop());
    this.microphone = null;
    this.speaker.srcObject = null;
  }

  private running(): AudioContext {
    return (this.context ??= new AudioContext());
  }
}
