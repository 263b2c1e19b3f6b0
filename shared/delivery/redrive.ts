/**
 * Redrives: dead letters, or all that a subscription ever heard, tried again at a bounded rate.
 *
 *   begin ─▶ a row with what is asked, and one agenda entry of kind `redrive`, in each database
 *   step  ─▶ one statement: some deliveries DEAD → RETRY, a staggered `redeliver` entry for each, progress, the next step
 *
 * The row says how far it came and the entry says when to go on, and one statement changes both, so a redrive goes on
 * after a crash anywhere, by whichever host or cron comes next.
 */
import type { DueEntry } from '../agenda/agenda.ts';
import { redriveOf } from '../identifier.ts';
import type { Store } from '../store/store.ts';

export interface RedriveParts {
  readonly set: string;
  readonly host: string;
  /** Retries were written, the first of which falls due after this long. */
  readonly onRetry: (afterMs: number) => void;
}

export async function stepRedrives(
  parts: RedriveParts,
  store: Store,
  entries: readonly DueEntry[],
): Promise<void> {
  await Promise.all(
    entries.map(async ({ entry, token, refs: [digits] }) => {
      if (digits === undefined) return;
      const { handled } = await store.stepRedrive(parts, { entry, token, id: redriveOf(digits) });
      if (handled > 0) parts.onRetry(0);
    }),
  );
}
