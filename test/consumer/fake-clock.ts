import type { SteadyClock } from '../../shared/clock.ts';

/** A clock that stands still until it is moved; due tasks run in order, and what they await is awaited. */
export class FakeClock implements SteadyClock {
  #nowMs = 1_760_000_000_000;
  #tasks: { readonly dueMs: number; readonly task: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  steadyMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, task: () => void): () => void {
    const entry = { dueMs: this.#nowMs + delayMs, task };
    this.#tasks.push(entry);
    return () => {
      this.#tasks = this.#tasks.filter((other) => other !== entry);
    };
  }

  get waiting(): number {
    return this.#tasks.length;
  }

  async move(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const next = this.#tasks.filter(({ dueMs }) => dueMs <= endMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
      if (!next) break;
      this.#tasks = this.#tasks.filter((other) => other !== next);
      this.#nowMs = next.dueMs;
      next.task();
      await new Promise(setImmediate);
    }
    this.#nowMs = endMs;
  }
}
