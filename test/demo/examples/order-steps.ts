/**
 * The steps of an order, one after the other: reserve, charge, ship. A step that fails is tried again and holds up its
 * own order only.
 */
import { webhookHandler } from '../../../shared/consumer/consumer.ts';
import { createRedisGuard } from '../../../shared/idempotency/redis-guard.ts';
import { connectRedis } from '../../../shared/idempotency/upstash.ts';
import { until } from '../../stack/until.ts';
import type { Example, Stage } from './example.ts';

const steps = ['reserve', 'charge', 'ship'] as const;
const orders = ['tea', 'cups', 'kettle'] as const;
/** The one whose card is declined at first. */
const declined = 'cups';
const deadlineMs = 30_000;

interface Done {
  readonly order: string;
  readonly step: string;
}

export const orderSteps: Example = {
  name: 'order-steps',
  shows: 'reserve, charge, ship: each step after the success of the one before',
  catalog: ({ hooksUrl, secret }) => ({
    topics: [{ name: 'orders', owner: 'demo' }],
    subscriptions: [
      {
        name: 'fulfilment',
        owner: 'demo',
        topic: 'orders',
        endpoint: { url: `${hooksUrl}/fulfilment` },
        secrets: [secret],
        retryDelaysMs: [2_000, 2_000, 2_000],
      },
    ],
  }),
  async play(stage) {
    const { say, check, client } = stage;
    const done: Done[] = [];
    stage.hook('fulfilment', fulfilment(stage, done));
    say(`${orders.length} orders are published as a sequence of ${steps.join(', ')}`);
    for (const order of orders) {
      const body = {
        topic: 'orders',
        key: order,
        session: `order-${order}`,
        messages: steps.map((step) => ({ body: { order, step } })),
      };
      const answer = await client.post('/v1/sequences', JSON.stringify(body), {
        'content-type': 'application/json',
      });
      if (answer.status !== 202) throw new Error(`Not accepted: ${JSON.stringify(answer.body)}`);
    }
    await until(deadlineMs, async () => {
      const all = await Promise.all(orders.map((order) => stateOf(stage, order)));
      return all.every((state) => state === 'DONE');
    });
    const ended = (order: string): readonly string[] =>
      done.filter((each) => each.order === order).map(({ step }) => step);
    check(
      'every order went through every step once, in order',
      orders.every((order) => ended(order).join() === steps.join()),
    );
    const declinedAt = done.findIndex(({ order, step }) => order === declined && step === 'charge');
    const others = done.filter(({ order }) => order !== declined);
    check(
      'the others did not wait for the order whose card was declined',
      others.every((each) => done.indexOf(each) < declinedAt),
    );
  },
};

/** Does a step behind the guard: a step that comes twice is done once. */
function fulfilment({ secret, redis, say }: Stage, done: Done[]): (request: Request) => Promise<Response> {
  let declines = 1;
  const guard = createRedisGuard(connectRedis(redis));
  return webhookHandler({ secrets: [secret], subscription: 'fulfilment', guard }, async (message) => {
    const { order, step } = message.json() as Done;
    if (order === declined && step === 'charge' && declines-- > 0) {
      say(`${order}: the card is declined; ${order} waits, nobody else does`);
      throw new Error('The card is declined.');
    }
    done.push({ order, step });
    say(`${order}: ${step}`);
  });
}

async function stateOf({ client }: Stage, order: string): Promise<string | undefined> {
  interface Progress {
    readonly subscriptions: readonly { readonly state: string }[];
  }
  const { status, body } = await client.get<Progress>(`/v1/sequences/order-${order}`);
  return status === 200 ? body.subscriptions[0]?.state : undefined;
}
