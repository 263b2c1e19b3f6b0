/** A terminal's Ctrl-C arrives from the terminal and once more from npm; only a later one means impatience. */
const sameSignalMs = 1_000;

/**
 * Resolves on the first SIGINT, SIGTERM or SIGHUP, which then no longer end the process. Another one, a second or more
 * later, ends it at once (what a stack started is killed with it).
 */
export function stopSignal(): Promise<NodeJS.Signals> {
  let firstAtMs: number | undefined;
  return new Promise((resolve) => {
    const receive = (name: NodeJS.Signals) => {
      const nowMs = performance.now();
      firstAtMs ??= nowMs;
      if (nowMs - firstAtMs > sameSignalMs) process.exit(130);
      resolve(name);
    };
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, receive);
  });
}
