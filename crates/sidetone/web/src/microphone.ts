// The microphone, and the silence that stands in for it when the caller only wants to listen.

export type MicrophoneProblem = "insecure-page" | "refused" | "absent" | "busy" | "other";

export class MicrophoneError extends Error {
  constructor(readonly problem: MicrophoneProblem, message: string) {
    super(message);
  }
}

/** Asks for the microphone. Throws a `MicrophoneError` that says why there is none. */
export async function openMicrophone(): Promise<MediaStream> {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) {
    throw new MicrophoneError("insecure-page", "the page is neither https nor localhost");
  }
  try {
    return await devices.getUserMedia({ audio: true, video: false });
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    const message = error instanceof Error ? error.message : String(error);
    throw new MicrophoneError(problemOf(name), message);
  }
}

function problemOf(name: string): MicrophoneProblem {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "refused";
    case "NotFoundError":
    case "OverconstrainedError":
      return "absent";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "other";
  }
}

/** A stream of silence: the call has a normal audio track, so the server sees a caller that sends. */
export function silence(context: AudioContext): MediaStream {
  return context.createMediaStreamDestination().stream;
}
