/** Tasks that run now, and again and again until they are stopped. */
import type { Clock } from '../clock.ts';

export interface Repeater {
  /** Waits `everyMs` after each end of the task. What fails is tried at the next turn. */
  every(everyMs: number, task: () => Promise<void>): void;
  stop(): void;
}

export function createRepeater(clock: Clock): Repeater {
  const cancels = new Set<() => void>();
  let isStopped = false;
  const every = (everyMs: number, task: () => Promise<void>): void => {
    const turn = async (): Promise<void> => {
      await task().catch(() => undefined);
      if (isStopped) return;
      const cancel = clock.after(everyMs, () => {
        cancels.delete(cancel);
        void turn();
      });
      cancels.add(cancel);
    };
    void turn();
  };
  return {
    every,
    stop() {
      isStopped = true;
      for (const cancel of cancels) cancel();
    },
  };
}
