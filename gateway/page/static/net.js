// What the page reads from the gateway, and the stream of events that it stays connected to.

import { base } from "./state.js";

const FIRST_WAIT = 2_000; // ms before the stream is opened again, doubled up to the longest
const LONGEST_WAIT = 15_000;

// The gateway cannot be reached, or has no such thing.
export class Unreachable extends Error {}

export async function read(path, query = {}) {
  const url = new URL(`page/${path}`, base);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(15_000) });
    if (answer.ok) return await answer.json();
    throw new Error(`HTTP ${answer.status}`);
  } catch (error) {
    throw new Unreachable(`${path}: ${error.message}`);
  }
}

// For `catch`: only a gateway that cannot be reached is handled; a fault of the page itself is not hidden.
export const unreachable = (handle) => (error) => {
  if (!(error instanceof Unreachable)) throw error;
  return handle();
};

// Connected until the page is left: opened again after the gateway restarted, closed while nobody can see the page.
export class Events {
  #source = null;
  #wait = FIRST_WAIT;
  #timer = 0;

  constructor(model, handlers, onStatus) {
    this.url = new URL("page/events", base);
    this.url.searchParams.set("model", model);
    this.handlers = handlers;
    this.onStatus = onStatus;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    this.#open();
  }

  #open() {
    if (this.#source || document.hidden) return;
    clearTimeout(this.#timer);
    const source = (this.#source = new EventSource(this.url));
    source.addEventListener("open", () => {
      this.#wait = FIRST_WAIT;
      this.onStatus("live");
    });
    source.addEventListener("error", () => this.#lost());
    for (const [name, handle] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  }

  #lost() {
    this.#close();
    this.onStatus("lost");
    this.#timer = setTimeout(() => this.#open(), this.#wait * (1 + Math.random() / 4));
    this.#wait = Math.min(LONGEST_WAIT, this.#wait * 2);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
