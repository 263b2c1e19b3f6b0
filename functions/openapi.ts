/** The OpenAPI 3.1 document, generated from the descriptions and schemas the doors themselves carry. */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { RouteConfig } from '@hono/zod-openapi';

/** @example buildOpenApi(doors.map((door) => door.description)).paths */
export function buildOpenApi(descriptions: readonly RouteConfig[]) {
  const registrar = new OpenAPIHono();
  registrar.openAPIRegistry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'sk_<id>_<secret>',
    description: 'An API key with the scope the route needs: publish, read or manage.',
  });
  for (const description of descriptions) registrar.openAPIRegistry.registerPath(description);
  return registrar.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Setway',
      version: '1',
      description:
        'Reliable messaging: publish over HTTP, stored and sent through RabbitMQ, pushed to signed webhooks. Failures are problems (RFC 9457).',
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
    },
    servers: [{ url: '/', description: 'The deployment that serves this document.' }],
    tags: [
      { name: 'messages', description: 'Publish and look up.' },
      { name: 'dead letters', description: 'What nobody tries again unless told to, and replays.' },
      { name: 'transactions', description: 'Half messages: prepare, commit, roll back.' },
      { name: 'schedules', description: 'Messages published at the ticks of a cron expression.' },
      { name: 'topics', description: 'What messages are published to.' },
      { name: 'subscriptions', description: 'Who gets the messages of a topic.' },
      { name: 'sets', description: 'Regional cells and routing.' },
      { name: 'health', description: 'Probes and metrics.' },
      { name: 'reference', description: 'The API about itself.' },
    ],
  });
}
