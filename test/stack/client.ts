/** A small client of the HTTP API, as a user would write one. */
import type { Deployment } from './deployment.ts';
import { until } from './until.ts';

export interface Published {
  readonly id: string;
  readonly state: string;
  readonly set: string;
  readonly route: { readonly reason: string; readonly distanceKm?: number };
  readonly duplicate: boolean;
}

export interface ShownAttempt {
  readonly attempt: number;
  readonly at: string;
  readonly host: string;
  readonly status: number | null;
  readonly outcome: string;
  readonly error: string | null;
}

export interface ShownDelivery {
  readonly subscription: string;
  readonly state: string;
  readonly attempts: readonly ShownAttempt[];
  readonly nextAttemptAt: string | null;
}

export interface ShownMessage {
  readonly id: string;
  readonly state: string;
  readonly set: string;
  readonly route: { readonly reason: string; readonly distanceKm: number | null };
  readonly key: string | null;
  readonly tag: string | null;
  readonly contentType: string;
  readonly size: number;
  readonly sendAttempts: number;
  readonly error: string | null;
  readonly timeline: readonly Readonly<Record<string, unknown>>[];
  readonly replayOf: string | null;
  readonly deliverAt: string | null;
  readonly deliveries: readonly ShownDelivery[];
}

export interface Reply<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

export interface ProblemBody {
  readonly type: string;
  readonly status: number;
  readonly detail?: string;
}

export type Place = readonly [latitude: number, longitude: number];

/** Where publishers of the tests are. */
export const cities = {
  shanghai: [31.2304, 121.4737],
  berlin: [52.52, 13.405],
  newYork: [40.7128, -74.006],
  jakarta: [-6.2088, 106.8456],
} as const satisfies Record<string, Place>;

export function at([latitude, longitude]: Place): Record<string, string> {
  return { 'setway-latitude': String(latitude), 'setway-longitude': String(longitude) };
}

export interface Client {
  send<T = ProblemBody>(path: string, init: RequestInit): Promise<Reply<T>>;
  get<T = ProblemBody>(path: string, headers?: Readonly<Record<string, string>>): Promise<Reply<T>>;
  post<T = Published>(
    path: string,
    body: string | Uint8Array,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Reply<T>>;
  /** `POST /v1/messages`. */
  publish<T = Published>(
    message: Readonly<Record<string, unknown>>,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Reply<T>>;
  /** The message once `isSo` holds for it. */
  message(id: string, isSo: (message: ShownMessage) => boolean, deadlineMs?: number): Promise<ShownMessage>;
}

/** Long enough for a loaded machine; what is waited for mostly takes milliseconds. */
const defaultDeadlineMs = 20_000;

export function createClient(url: string, { apiKey }: Pick<Deployment, 'apiKey'>): Client {
  const send = async <T>(path: string, init: RequestInit): Promise<Reply<T>> => {
    const headers = new Headers({ authorization: `Bearer ${apiKey}` });
    for (const [name, value] of Object.entries(init.headers ?? {})) headers.set(name, String(value));
    const response = await fetch(url + path, { ...init, headers });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : text) as T,
    };
  };
  const post: Client['post'] = (path, body, headers = {}) =>
    send(path, { method: 'POST', body: body as NonNullable<RequestInit['body']>, headers });
  const get: Client['get'] = (path, headers = {}) => send(path, { headers });
  return {
    send,
    get,
    post,
    publish: (message, headers = {}) =>
      post('/v1/messages', JSON.stringify(message), { 'content-type': 'application/json', ...headers }),
    async message(id, isSo, deadlineMs = defaultDeadlineMs) {
      let last: unknown;
      const found = until(deadlineMs, async () => {
        const { status, body } = await get<ShownMessage>(`/v1/messages/${id}`);
        last = body;
        return status === 200 && isSo(body) && body;
      });
      return found.catch(() => {
        throw new Error(`Not so within ${deadlineMs} ms: ${isSo.toString()}\n${JSON.stringify(last)}`);
      });
    },
  };
}

/** Whether every delivery named has this state. */
export function areDeliveries(state: string, ...subscriptions: readonly string[]) {
  return ({ deliveries }: ShownMessage): boolean =>
    subscriptions.every((name) =>
      deliveries.some((delivery) => delivery.subscription === name && delivery.state === state),
    );
}
