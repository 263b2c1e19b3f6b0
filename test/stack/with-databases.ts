/** The product's way to a database from a test's own process. */
import { createNeonBridge } from '../../functions/node/neon-bridge.ts';
import { configureDatabases } from '../../shared/store/database.ts';

/** Opens the way for as long as the work takes; afterwards no connection is left. */
export async function withDatabases(work: () => Promise<unknown>): Promise<void> {
  const bridge = createNeonBridge();
  try {
    configureDatabases({ fetch: bridge.fetch, timeoutMs: 20_000 });
    await work();
  } finally {
    await bridge.close();
  }
}
