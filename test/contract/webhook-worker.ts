/** A worker that makes the webhook call it is told to make, with the platform's own `fetch`. */
import { systemClock } from '../../shared/clock.ts';
import { postWebhook } from '../../shared/webhook/request.ts';

export async function handle(request: Request): Promise<Response> {
  const { url, timeoutMs } = (await request.json()) as { readonly url: string; readonly timeoutMs: number };
  const call = {
    url,
    timeoutMs,
    headers: { 'content-type': 'application/json' },
    body: new Uint8Array([123, 125]),
  };
  const dependencies = {
    fetch: (input: string | URL | Request, init?: RequestInit) => fetch(input, init),
    clock: systemClock,
  };
  return Response.json(await postWebhook(dependencies, call));
}
