/** Time as a parameter: production passes `systemClock`, tests pass a clock they can move. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Runs `task` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, task: () => void): () => void;
}

/** Tells how much time has passed, also when the process slept or somebody set the time. */
export interface SteadyClock extends Clock {
  /** Milliseconds since a moment of its own; never goes back. */
  steadyMs(): number;
}

/** The longest delay a timer takes: beyond 2^31 − 1 ms `setTimeout` fires at once. */
const longestTimerMs = 2 ** 31 - 1;

/** Where both clocks stand apart by more, one of them was set, or stood still. */
const jumpMs = 1_000;
let apartMs = Date.now() - performance.now();
let sleptMs = 0;

export const systemClock: SteadyClock = {
  nowMs: () => Date.now(),
  // Of a machine that was suspended only the wall clock knows; of one whose time was set back, only the other.
  steadyMs() {
    const leapMs = Date.now() - performance.now() - apartMs;
    if (Math.abs(leapMs) > jumpMs) {
      apartMs += leapMs;
      sleptMs += Math.max(0, leapMs);
    }
    return performance.now() + sleptMs;
  },
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
