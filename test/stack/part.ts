/** One server program of the stack, as the stack and the chaos tests see it. */
export interface Part {
  readonly name: 'rabbitmq' | 'redis' | 'postgres';
  /** Starts on the data that is there and returns when it answers. */
  start(): Promise<void>;
  /** Asks it to stop and returns when every process of it is gone. Stopping twice is fine. */
  stop(): Promise<void>;
  /** SIGKILL to every process of it at once; returns when all are dead. */
  kill(): Promise<void>;
  /** SIGSTOP: it keeps its sockets and answers nothing. */
  pause(): void;
  resume(): void;
}

export type Log = (line: string) => void;

/**
 * Repeats `check` until it passes.
 *
 * @throws the last fault of `check`, once `deadlineMs` are over
 */
export async function until(check: () => Promise<void>, deadlineMs: number): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
