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

export interface BrokerPart extends Part {
  /**
   * Makes the names of all quorum queues durable. RabbitMQ writes a new queue's entry in its name table only about 3 s
   * later (a dets table: https://www.erlang.org/doc/apps/stdlib/dets.html, "delayed write"). Killed before that, it
   * starts the queue as a new, empty one that never elects a leader (seen on 3.10). Call it after declaring queues and
   * before `kill`, unless that is what the test is about.
   */
  syncQueueNames(): Promise<void>;
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
