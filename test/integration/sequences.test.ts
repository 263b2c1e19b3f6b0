/** Sequences end to end: gathered, delivered one after the other or together, and what becomes of gaps. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, cities, type ProblemBody } from '../stack/client.ts';
import { platforms } from '../stack/platform.ts';
import { openScene, type Scene } from '../stack/scene.ts';
import { query } from '../stack/query.ts';
import { until } from '../stack/until.ts';

const deadlineMs = 20_000;

interface Accepted {
  readonly session: string;
  readonly set: string;
  readonly duplicate: boolean;
  readonly messages: readonly { readonly sequence: number; readonly id: string }[];
}

interface Progress {
  readonly subscription: string;
  readonly state: string;
  readonly missing: readonly number[];
  readonly deliveries: Readonly<Record<string, number>>;
}

describe.each(platforms)('sequences on $name', (platform) => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await openScene(platform, 'sequences', {
      listeners: { plain: {}, failing: {}, whole: { ordered: 'together' } },
    });
  });
  afterAll(() => scene.stop());

  const publish = async (tag: string, steps: readonly string[], more: object = {}): Promise<Accepted> => {
    const messages = steps.map((step) => ({ body: { step } }));
    const body = JSON.stringify({ topic: 'events', tag, messages, ...more });
    const headers = { 'content-type': 'application/json', ...at(cities.berlin) };
    const answer = await scene.client.post<Accepted>('/v1/sequences', body, headers);
    expect(answer.status, JSON.stringify(answer.body)).toBe(202);
    return answer.body;
  };
  const heard = ({ session }: Accepted): readonly string[] =>
    scene.receiver.calls
      .filter(({ headers }) => headers['setway-session'] === session)
      .map(({ body }) => (JSON.parse(body.toString()) as { readonly step: string }).step);
  const progress = ({ session }: Accepted, state: string): Promise<Progress> =>
    until(deadlineMs, async () => {
      const { body } = await scene.client.get<{ readonly subscriptions: readonly Progress[] }>(
        `/v1/sequences/${session}`,
      );
      return body.subscriptions.find((each) => each.state === state);
    });

  it('delivers each after the success of the one before, and tells how far it is', async () => {
    scene.receiver.script('/plain', [{ status: 200 }, { status: 503 }]);
    const steps = ['reserve', 'charge', 'ship'];
    const accepted = await publish('plain', steps);
    expect(accepted.messages.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    const done = await progress(accepted, 'DONE');
    expect(done).toMatchObject({ subscription: 'plain', missing: [], deliveries: { DONE: 3 } });
    expect(heard(accepted)).toEqual(['reserve', 'charge', 'charge', 'ship']);
    const numbers = scene.receiver.calls.flatMap(({ headers }) =>
      headers['setway-session'] === accepted.session
        ? [[headers['setway-sequence'], headers['setway-size']].join('/')]
        : [],
    );
    expect(numbers).toEqual(['1/3', '2/3', '2/3', '3/3']);
  });

  it('delivers all in one call to a subscription that says so', async () => {
    const accepted = await publish('whole', ['a', 'b']);
    await progress(accepted, 'DONE');
    const calls = scene.receiver.calls.filter(
      ({ headers }) => headers['setway-session'] === accepted.session,
    );
    expect(calls.map(({ body }) => JSON.parse(body.toString()) as unknown)).toEqual([
      accepted.messages.map(({ sequence, id }, index) => ({
        id,
        sequence,
        contentType: 'application/json',
        body: { step: ['a', 'b'][index] },
      })),
    ]);
  });

  it.each([
    ['skip', 'DONE', ['1', '3'], { DONE: 2, DEAD: 1 }],
    ['abort', 'ABORTED', ['1'], { DONE: 1, DEAD: 1, SKIPPED: 1 }],
    ['block', 'BLOCKED', ['1'], { DONE: 1, DEAD: 1, BLOCKED: 1 }],
  ] as const)('a dead item under onGap %s ends as %s', async (onGap, state, delivered, deliveries) => {
    scene.receiver.script('/failing', [{ status: 200 }, { status: 400 }]);
    const accepted = await publish('failing', ['1', '2', '3'], { onGap });
    expect(await progress(accepted, state)).toMatchObject({ deliveries });
    expect(heard(accepted).filter((step) => step !== '2')).toEqual(delivered);
    const { body } = await scene.client.get<{ readonly deliveries: unknown }>(
      `/v1/messages/${accepted.messages[1]?.id}`,
    );
    expect(body.deliveries).toMatchObject([{ state: 'DEAD' }]);
  });

  it('a repeated request is the same sequence', async () => {
    const body = JSON.stringify({ topic: 'events', tag: 'plain', messages: [{ body: 1 }, { body: 2 }] });
    const headers = { 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() };
    const first = await scene.client.post<Accepted>('/v1/sequences', body, headers);
    const again = await scene.client.post<Accepted>('/v1/sequences', body, headers);
    expect([first.status, again.status]).toEqual([202, 202]);
    expect(again.body).toEqual({ ...first.body, duplicate: true });
    const databases = Object.values(scene.deployment.databaseUrls);
    const stored = await Promise.all(
      databases.map((url) => query(url, 'SELECT id FROM message WHERE session = $1', [first.body.session])),
    );
    expect(stored.flat()).toHaveLength(2);
  });

  it('an unknown session is a 404', async () => {
    const { status } = await scene.client.get<ProblemBody>('/v1/sequences/nobody');
    expect(status).toBe(404);
  });
});
