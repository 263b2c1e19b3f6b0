/** A process of its own that calls a receiver again and again, and tells what that cost in memory. */
import { createWebhookAgent } from '../../functions/node/webhook-request.ts';
import { systemClock } from '../../shared/clock.ts';

export interface BombReport {
  readonly statuses: readonly unknown[];
  /** JavaScript heap and buffers that one call left behind. */
  readonly heldBytes: number;
  /** The most that heap and buffers grew by during one call. */
  readonly peakBytes: number;
}

const url = process.argv[2] ?? '';
const agent = createWebhookAgent(
  { clock: systemClock },
  { policy: { allowHttp: true, allowLoopback: true } },
);
const call = (): Promise<unknown> =>
  agent
    .post({ url, headers: {}, body: Buffer.from('{}'), timeoutMs: 10_000 })
    .then((answer) => ('status' in answer ? answer.status : answer.error));

function usedBytes(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

const calls = 20;
for (let warm = 0; warm < calls; warm++) await call();
globalThis.gc?.();
const beforeBytes = usedBytes();
const statuses: unknown[] = [];
let peakBytes = 0;
for (let index = 0; index < calls; index++) {
  globalThis.gc?.();
  const startBytes = usedBytes();
  const sampler = setInterval(() => (peakBytes = Math.max(peakBytes, usedBytes() - startBytes)), 1);
  statuses.push(await call());
  peakBytes = Math.max(peakBytes, usedBytes() - startBytes);
  clearInterval(sampler);
}
globalThis.gc?.();
const report: BombReport = { statuses, heldBytes: (usedBytes() - beforeBytes) / calls, peakBytes };
process.send?.(report);
await agent.close();
process.disconnect();
