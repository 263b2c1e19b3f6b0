import { describe, expect, it } from 'vitest';
import type { Answer } from '../../shared/delivery/courier.ts';
import { createFailureWatch } from '../../shared/host/failure-watch.ts';
import type { AnswerCount, Failing } from '../../shared/host/register.ts';

const dayMs = 86_400_000;

const answer = (verdict: Answer['verdict'], status: number | null): Answer => ({
  verdict,
  status,
  error: verdict === 'done' || verdict === 'leased' ? null : `HTTP ${status}`,
  durationMs: 1,
});

/** @param failing what the register says of each report */
function open(failing: (said: readonly AnswerCount[]) => readonly Failing[]) {
  const reports: (readonly AnswerCount[])[] = [];
  const disabled: string[] = [];
  const watch = createFailureWatch({
    register: {
      async reportAnswers(said) {
        reports.push(said);
        return failing(said);
      },
    },
    subscription: () => undefined,
    async disable(name, reason) {
      disabled.push(`${name}: ${reason}`);
    },
  });
  return { watch, reports, disabled };
}

describe('the watch over webhooks that fail', () => {
  it('counts what was answered, later as well as now, as a success', async () => {
    const { watch, reports } = open(() => []);
    watch.note('receipt', answer('done', 200));
    watch.note('receipt', answer('leased', 202));
    watch.note('receipt', answer('retry', 503));
    watch.note('ledger', answer('dead', 404));
    await watch.report();
    expect(reports).toEqual([
      [
        { subscription: 'receipt', successes: 2, failures: 1, error: 'HTTP 503' },
        { subscription: 'ledger', successes: 0, failures: 1, error: 'HTTP 404' },
      ],
    ]);
    await watch.report();
    expect(reports).toHaveLength(1);
  });

  it('disables what has failed for five days and fifty calls, and nothing that falls short of either', async () => {
    const { watch, disabled } = open(() => [
      { subscription: 'gone', forMs: 5 * dayMs, failures: 50, error: 'HTTP 500' },
      { subscription: 'young', forMs: 5 * dayMs - 1, failures: 5_000, error: null },
      { subscription: 'quiet', forMs: 50 * dayMs, failures: 49, error: null },
    ]);
    watch.note('gone', answer('retry', 500));
    await watch.report();
    expect(disabled).toEqual(['gone: Nothing but failures for 5d (50 calls); the last: HTTP 500']);
  });

  it('counts on when the database was away', async () => {
    let isAway = true;
    const { watch, reports } = open(() => {
      if (isAway) throw new Error('no database');
      return [];
    });
    watch.note('receipt', answer('retry', null));
    await expect(watch.report()).rejects.toThrow('no database');
    isAway = false;
    watch.note('receipt', answer('retry', 502));
    await watch.report();
    expect(reports.at(-1)).toMatchObject([{ subscription: 'receipt', failures: 2, error: 'HTTP 502' }]);
  });
});
