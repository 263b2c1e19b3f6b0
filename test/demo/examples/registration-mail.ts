/**
 * The mail after a sign-up, decoupled from it: the message is a row of the sign-up's own transaction, so there is a mail
 * exactly when there is an account, whoever dies when.
 */
import { relayOutboxes } from '../../../scheduled/relay-outbox.ts';
import { republish } from '../../../scheduled/republish.ts';
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { createRedisGuard } from '../../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../../shared/idempotency/upstash.ts';
import { install, outbox } from '../../../shared/outbox/outbox.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';
import { runStatements } from './statements.ts';

const deadlineMs = 30_000;

export const registrationMail: Example = {
  name: 'registration-mail',
  shows: 'a sign-up and its mail, decoupled through the outbox',
  catalog: ({ hooksUrl, secret, databaseUrl }) => ({
    topics: [{ name: 'registrations', owner: 'demo' }],
    subscriptions: [
      {
        name: 'mailer',
        owner: 'demo',
        topic: 'registrations',
        endpoint: { url: `${hooksUrl}/mailer` },
        secrets: [secret],
        retryDelaysMs: [500, 500, 500],
      },
    ],
    outboxes: [{ name: 'accounts', owner: 'demo', databaseUrl }],
  }),
  async play(stage) {
    const { say, check, sql, edge } = stage;
    await runStatements(sql, 'CREATE TABLE account (mail text PRIMARY KEY)');
    await install(sql);
    const sent: string[] = [];
    stage.hook('mailer', mailer(stage, sent));

    say('ann signs up; her mail is flushed after the commit');
    await signUp(stage, 'ann@example.com');
    const flushed = await outbox(sql, { publish: edge }).flush();
    check('the flush published one message', flushed.taken === 1);

    say('bob signs up; his server dies between the commit and the flush');
    await signUp(stage, 'bob@example.com');

    say('cid signs up twice at once: one of the two transactions is rolled back, with its message');
    const both = await Promise.allSettled([
      signUp(stage, 'cid@example.com'),
      signUp(stage, 'cid@example.com'),
    ]);
    check('one sign-up won', both.filter(({ status }) => status === 'fulfilled').length === 1);

    say('the mail server is away for the first try of each: nobody who signs up notices');
    say('the crons "relay-outbox" and "republish" come by');
    await stage.runJobs(relayOutboxes);
    await until(deadlineMs, async () => {
      await stage.runJobs(republish);
      return sent.length >= 3;
    });
    await until(deadlineMs, async () => (await sql('SELECT FROM setway_outbox', [])).rows.length === 0);
    // Both come once more: what was published is gone from the table, and a copy would be known by its key.
    await stage.runJobs(relayOutboxes);
    await outbox(sql, { publish: edge }).flush();

    const accounts = (await sql('SELECT mail FROM account ORDER BY mail', [])).rows.map((row) =>
      String(row['mail']),
    );
    check(
      'everybody who has an account got one mail, and nobody else',
      sent.toSorted().join() === accounts.join(),
    );
  },
};

/** Account and message, committed together. */
async function signUp({ business }: Stage, mail: string): Promise<void> {
  const client = await business.connect();
  try {
    await client.query('BEGIN');
    await outbox((text, params) => client.query(text, [...params])).add({
      topic: 'registrations',
      key: mail,
      body: { mail },
    });
    await client.query('INSERT INTO account (mail) VALUES ($1)', [mail]);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

/** "Sends" mails behind the guard; the mail server refuses the first try of each. */
function mailer({ secret, redis, say }: Stage, sent: string[]): (request: Request) => Promise<Response> {
  const guard = createRedisGuard(connectRedis(redis));
  return webhookHandler({ secrets: [secret], subscription: 'mailer', guard }, async (message) => {
    const { mail } = message.json() as { readonly mail: string };
    if (message.attempt === 1) throw new Error('The mail server is away.');
    sent.push(mail);
    say(`a mail to ${mail}, at try ${message.attempt}`);
  });
}
