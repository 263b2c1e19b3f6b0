/**
 * Gives up on webhooks that have failed for long: every host counts what its calls brought and reports it with its
 * heartbeat; the SET's database adds up, and a success that any host saw ends the count. One that failed for as long, and
 * as often, as its subscription allows is disabled in this SET, with the reason.
 */
import type { Answer } from '../delivery/courier.ts';
import { formatDuration } from '../duration.ts';
import type { DisableRules } from '../subscriptions/delivery-policy.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import type { AnswerCount, Failing, Register } from './register.ts';

export interface FailureWatchParts {
  readonly register: Pick<Register, 'reportAnswers'>;
  readonly subscription: (name: string) => Subscription | undefined;
  readonly disable: (name: string, reason: string) => Promise<void>;
}

export interface FailureWatch {
  readonly note: (subscription: string, answer: Answer) => void;
  /** @throws Problem when the database is away: what was counted is counted on */
  report(): Promise<void>;
}

const dayMs = 86_400_000;
const defaultRules: DisableRules = { afterMs: 5 * dayMs, failures: 50 };

export function createFailureWatch(parts: FailureWatchParts): FailureWatch {
  let counts = new Map<string, AnswerCount>();

  const add = (more: AnswerCount): void => {
    const { subscription } = more;
    const known = counts.get(subscription);
    counts.set(subscription, {
      subscription,
      successes: (known?.successes ?? 0) + more.successes,
      failures: (known?.failures ?? 0) + more.failures,
      error: more.error ?? known?.error ?? null,
    });
  };

  const judge = async (failing: Failing): Promise<void> => {
    const { subscription, forMs, failures, error } = failing;
    const rules = parts.subscription(subscription)?.disableAfter ?? defaultRules;
    if (forMs < rules.afterMs || failures < rules.failures) return;
    const since = formatDuration(Math.round(forMs / 1000) * 1000);
    const last = error === null ? '' : `; the last: ${error}`;
    await parts.disable(subscription, `Nothing but failures for ${since} (${failures} calls)${last}`);
  };

  return {
    note(subscription, { error, verdict }) {
      // Whoever takes a message to answer later lives.
      const isWell = verdict === 'done' || verdict === 'leased';
      add({ subscription, successes: isWell ? 1 : 0, failures: isWell ? 0 : 1, error });
    },
    async report() {
      if (counts.size === 0) return;
      const said = [...counts.values()];
      counts = new Map();
      const failing = await parts.register.reportAnswers(said).catch((error: unknown) => {
        for (const each of said) add(each);
        throw error;
      });
      for (const each of failing) await judge(each);
    },
  };
}
