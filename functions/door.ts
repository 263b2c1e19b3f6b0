/** A door: one method and path of the API, what it does, and how the OpenAPI document tells it. */
import type { RouteConfig } from '@hono/zod-openapi';
import type { Answer } from './answer.ts';

/** One request as a door sees it. */
export interface Visit {
  readonly request: Request;
  /** Path and query, parsed on demand: most doors need neither. */
  readonly url: () => URL;
  /** The value of a `{name}` in the door's path. */
  readonly parameter: (name: string) => string;
  /** Valid W3C trace context of the request. */
  readonly traceparent: string | undefined;
}

export interface Door {
  /** Method and path (`/v1/messages/{id}`), and everything OpenAPI says about them. */
  readonly description: RouteConfig;
  /** @throws Problem, which becomes the answer */
  readonly open: (visit: Visit) => Promise<Answer>;
}
