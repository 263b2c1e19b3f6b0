/**
 * A log of logins in `fast` mode: most speed, no store. A login never waits for its log, and losing a line in a crash is a
 * fair price; a graceful stop loses none. The topic lets through only so many a second (接口限流): what is more is told so.
 */
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { createMemoryGuard } from '../../../shared/idempotency/memory-guard.ts';
import { until } from '../../stack/until.ts';
import type { Example } from './example.ts';

const logins = 60;
const limit = 40;
const deadlineMs = 30_000;

export const loginLog: Example = {
  name: 'login-log',
  shows: 'a log in fast mode, behind a limit of its topic',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'logins', owner: 'demo', publishLimit: { limit, per: 'minute', of: 'messages' } }],
    subscriptions: [
      {
        name: 'log',
        owner: 'demo',
        topic: 'logins',
        endpoint: { url: `${hooksUrl}/log` },
        secrets: [secret],
      },
    ],
  }),
  async play({ say, check, client, hook, secret }) {
    const log: string[] = [];
    const options = { secrets: [secret], subscription: 'log', guard: createMemoryGuard() };
    hook(
      'log',
      webhookHandler(options, async (message) => {
        log.push((message.json() as { readonly user: string }).user);
      }),
    );
    const users = Array.from({ length: logins }, (_, n) => `user-${n}`);
    const answers = [];
    for (const user of users)
      answers.push(await client.publish({ topic: 'logins', mode: 'fast', body: { user } }));
    const taken = answers.filter(({ status }) => status === 202).length;
    const refused = answers.filter(({ status }) => status === 429);
    say(`${logins} logins: ${taken} taken, ${refused.length} over the limit of ${limit} a minute`);
    await until(deadlineMs, async () => log.length >= taken);
    check('what was taken is in the log, once', new Set(log).size === taken && log.length === taken);
    check(
      'what was over the limit was told when to come again',
      refused.length > 0 && refused.every(({ headers }) => headers.has('retry-after')),
    );
  },
};
