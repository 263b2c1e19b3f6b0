/** Time as a parameter: production passes `systemClock`, tests pass a clock they can move. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Runs `task` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, task: () => void): () => void;
}

/** The longest delay a timer takes: beyond 2^31 − 1 ms `setTimeout` fires at once. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, task) {
    const dueMs = Date.now() + delayMs;
    let timer = setTimeout(step, Math.min(delayMs, longestTimerMs));
    function step(): void {
      const remainingMs = dueMs - Date.now();
      if (remainingMs <= 0) task();
      else timer = setTimeout(step, Math.min(remainingMs, longestTimerMs));
    }
    return () => clearTimeout(timer);
  },
};
