// Runs in the audio thread: hands every 10 ms of what it hears to the page, with its place in time.
class Recorder extends AudioWorkletProcessor {
  chunk = new Float32Array(480);
  filled = 0;

  process([input]) {
    const samples = input[0];
    for (let index = 0; index < 128; index += 1) {
      this.chunk[this.filled] = samples === undefined ? 0 : samples[index];
      this.filled += 1;
      if (this.filled === this.chunk.length) {
        this.port.postMessage({ endFrame: currentFrame + index + 1, samples: this.chunk.slice() });
        this.filled = 0;
      }
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
