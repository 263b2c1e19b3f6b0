import { describe, expect, it } from 'vitest';
import { problemKinds } from '../../shared/problem.ts';
import { openEdge } from './edge.ts';

interface Operation {
  readonly operationId: string;
  readonly responses: Record<
    string,
    { description?: string; content?: Record<string, { schema?: object; example?: unknown }> }
  >;
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema?: object }[];
  readonly security?: readonly object[];
}
interface Document {
  readonly openapi: string;
  readonly info: { title: string; version: string };
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { schemas: Record<string, object>; securitySchemes: Record<string, object> };
}

async function read(): Promise<Document> {
  const answer = await openEdge().send('/openapi.json');
  expect(answer.status).toBe(200);
  return (await answer.json()) as Document;
}

describe('the OpenAPI document', () => {
  it('is 3.1 and describes every route', async () => {
    const { openapi, info, paths } = await read();
    expect(openapi).toBe('3.1.0');
    expect(info).toMatchObject({ title: 'Setway', version: '1' });
    const routes = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method} ${path}`),
    );
    expect(routes.toSorted()).toEqual([
      'delete /v1/keys/{id}',
      'delete /v1/messages/{id}',
      'delete /v1/routes/pins',
      'delete /v1/schedules/{id}',
      'delete /v1/subscriptions/{name}',
      'delete /v1/topics/{name}',
      'get /health/live',
      'get /health/ready',
      'get /metrics',
      'get /openapi.json',
      'get /problems/{kind}',
      'get /v1/dead-letters',
      'get /v1/jobs',
      'get /v1/keys',
      'get /v1/keys/{id}',
      'get /v1/messages',
      'get /v1/messages/{id}',
      'get /v1/redrives/{id}',
      'get /v1/routes',
      'get /v1/routes/pins',
      'get /v1/schedules',
      'get /v1/schedules/{id}',
      'get /v1/sequences/{session}',
      'get /v1/sets',
      'get /v1/sets/route',
      'get /v1/sets/{id}',
      'get /v1/sets/{id}/plan',
      'get /v1/subscriptions',
      'get /v1/subscriptions/{name}',
      'get /v1/topics',
      'get /v1/topics/{name}',
      'get /v1/transactions/{id}',
      'patch /v1/keys/{id}',
      'patch /v1/messages/{id}',
      'patch /v1/sets/{id}',
      'patch /v1/subscriptions/{name}',
      'patch /v1/topics/{name}',
      'post /v1/batches',
      'post /v1/dead-letters/redrive',
      'post /v1/deliveries/{id}/done',
      'post /v1/deliveries/{id}/extend',
      'post /v1/deliveries/{id}/failed',
      'post /v1/keys',
      'post /v1/keys/{id}/revoke',
      'post /v1/messages',
      'post /v1/messages/bulk',
      'post /v1/messages/{id}/replay',
      'post /v1/routes/moves',
      'post /v1/schedules',
      'post /v1/schedules/{id}/pause',
      'post /v1/schedules/{id}/resume',
      'post /v1/sequences',
      'post /v1/sets',
      'post /v1/sets/{id}/activate',
      'post /v1/sets/{id}/apply',
      'post /v1/sets/{id}/drain',
      'post /v1/sets/{id}/fence',
      'post /v1/sets/{id}/retire',
      'post /v1/sets/{id}/take-over',
      'post /v1/subscriptions',
      'post /v1/subscriptions/{name}/ack',
      'post /v1/subscriptions/{name}/extend',
      'post /v1/subscriptions/{name}/nack',
      'post /v1/subscriptions/{name}/pause',
      'post /v1/subscriptions/{name}/pull',
      'post /v1/subscriptions/{name}/replay',
      'post /v1/subscriptions/{name}/resume',
      'post /v1/subscriptions/{name}/rotate-secret',
      'post /v1/subscriptions/{name}/test',
      'post /v1/topics',
      'post /v1/topics/{topic}/messages',
      'post /v1/transactions',
      'post /v1/transactions/{id}/commit',
      'post /v1/transactions/{id}/rollback',
      'put /v1/routes/pins',
    ]);
  });

  it('has unique operation ids, described answers and declared path parameters', async () => {
    const { paths } = await read();
    const operations = Object.entries(paths).flatMap(([path, item]) =>
      Object.values(item).map((one) => ({ path, one })),
    );
    expect(new Set(operations.map(({ one }) => one.operationId)).size).toBe(operations.length);
    for (const { path, one } of operations) {
      for (const answer of Object.values(one.responses)) expect(answer.description).toBeTruthy();
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = (one.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(declared.map((parameter) => parameter.name)).toEqual(named);
      expect(declared.every((parameter) => parameter.required)).toBe(true);
    }
  });

  it('resolves every reference', async () => {
    const document = await read();
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      ([, path]) => path ?? '',
    );
    expect(references.length).toBeGreaterThan(10);
    for (const path of references) {
      const found = path
        .split('/')
        .reduce<unknown>((at, part) => (at as Record<string, unknown>)[part], document);
      expect({ path, kind: typeof found }).toEqual({ path, kind: 'object' });
    }
  });

  it('tells the limits, the headers and the problems of publishing, with an example that is accepted', async () => {
    const { paths, components } = await read();
    const operation = paths['/v1/messages']?.['post'] as Operation & {
      requestBody: { content: Record<string, { example: unknown }> };
    };
    expect(Object.keys(operation.responses)).toEqual(
      expect.arrayContaining([
        '202',
        '400',
        '401',
        '403',
        '404',
        '408',
        '409',
        '413',
        '414',
        '415',
        '422',
        '431',
        '500',
        '503',
      ]),
    );
    expect(operation.parameters?.map((parameter) => parameter.name)).toEqual(
      expect.arrayContaining(['Idempotency-Key', 'Prefer', 'traceparent']),
    );
    expect(operation.security).toEqual([{ apiKey: [] }]);
    expect(components.schemas).toHaveProperty('Publish.additionalProperties', false);
    expect(components.schemas).toHaveProperty('Publish.properties.topic.maxLength', 128);
    const edge = openEdge();
    const answer = await edge.send('/v1/messages', {
      method: 'POST',
      key: edge.keyFor(['publish']),
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(operation.requestBody.content['application/json']?.example),
    });
    expect(answer.status).toBe(202);
  });
});

describe('the type of a problem', () => {
  it.each(Object.keys(problemKinds))('%s resolves', async (kind) => {
    const answer = await openEdge().send(`/problems/${kind}`);
    expect(await answer.json()).toMatchObject({ type: `/problems/${kind}` });
  });

  it.each(['nothing', 'constructor', '__proto__'])('%s does not', async (kind) => {
    expect((await openEdge().send(`/problems/${kind}`)).status).toBe(404);
  });
});
