// Calls for attention when the phone is in another tab or behind another window.

const BLINK_MS = 1000;

export class Attention {
  private readonly title = document.title;
  private blinking: number | null = null;
  private notification: Notification | null = null;

  /** Asks whether the phone may show notifications; only within a click. */
  ask(): void {
    if (isPossible() && Notification.permission === "default") void Notification.requestPermission();
  }

  call(words: string): void {
    this.stop();
    document.title = words;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.blinking = window.setInterval(() => {
        document.title = document.title === words ? this.title : words;
      }, BLINK_MS);
    }
    if (document.visibilityState === "hidden" || !document.hasFocus()) this.notify(words);
  }

  stop(): void {
    if (this.blinking !== null) window.clearInterval(this.blinking);
    this.blinking = null;
    document.title = this.title;
    this.notification?.close();
    this.notification = null;
  }

  private notify(words: string): void {
    if (!isPossible() || Notification.permission !== "granted") return;
    try {
      const notification = new Notification(words, { icon: "favicon.svg", requireInteraction: true });
      notification.onclick = () => {
        window.focus();
        notification.close();
      };
      this.notification = notification;
    } catch {
      // Chromium on Android shows them only from a service worker; the phone rings all the same.
    }
  }
}

function isPossible(): boolean {
  return "Notification" in window;
}
