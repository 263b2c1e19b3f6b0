/**
 * What a key and the topics it writes to still let through, asked once per request before anything is published, and told
 * by the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), with 429 and `Retry-After`
 * when it is too much. Where nothing is limited nobody is asked. A repeated request counts again.
 */
import type { ApiKey } from '../shared/catalog/api-key.ts';
import { burstOf, windowSecondsOf, type Level, type Wanted } from '../shared/catalog/publish-limit.ts';
import type { Draft } from '../shared/message/message.ts';
import { Problem } from '../shared/problem.ts';
import type { Services } from './services.ts';

/** A bucket with the name that clients see. */
interface Quota extends Wanted {
  readonly name: string;
}

type Headers = Readonly<Record<string, string>>;

/**
 * @returns header fields of the answer; none without a limit
 * @throws Problem `rate-limited`; `invalid-request` when there is more at once than a full bucket holds
 */
export async function takeQuota(
  { catalog, limiter, telemetry }: Pick<Services, 'catalog' | 'limiter' | 'telemetry'>,
  key: ApiKey,
  drafts: readonly Pick<Draft, 'topic'>[],
): Promise<Headers> {
  if (drafts.length === 0) return {};
  const quotas = [...quotaOfKey(key, drafts.length), ...quotasOfTopics(await catalog.current(), key, drafts)];
  if (quotas.length === 0) return {};
  for (const quota of quotas) refuseTooMuch(quota);
  const levels = await limiter.take(quotas);
  const headers = {
    'ratelimit-policy': quotas.map(policyOf).join(', '),
    ratelimit: quotas.map((quota, index) => stateOf(quota, levels[index])).join(', '),
  };
  const waitMs = Math.max(...levels.map((level) => level.waitMs));
  if (waitMs <= 0) return headers;
  const refusing = quotas.filter((_, index) => (levels[index]?.waitMs ?? 0) > 0);
  for (const { name } of refusing)
    telemetry.count('setway_rate_limited_total', { by: name.split(':')[0] ?? '' });
  throw new Problem('rate-limited', refusing.map(sentenceOf).join(' '), {
    retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)),
    headers,
  });
}

function quotaOfKey({ id, publishLimit }: ApiKey, messages: number): readonly Quota[] {
  if (!publishLimit) return [];
  const amount = publishLimit.of === 'requests' ? 1 : messages;
  return [{ name: 'key', id: `key:${id}`, limit: publishLimit, amount }];
}

function quotasOfTopics(
  { topics }: Awaited<ReturnType<Services['catalog']['current']>>,
  { owner }: ApiKey,
  drafts: readonly Pick<Draft, 'topic'>[],
): readonly Quota[] {
  const amounts = new Map<string, number>();
  for (const { topic } of drafts) amounts.set(topic, (amounts.get(topic) ?? 0) + 1);
  return [...amounts].flatMap(([name, messages]) => {
    const topic = topics.get(name);
    // Another owner's topic will be answered as none: its bucket is none of this key's business.
    if (!topic?.publishLimit || topic.owner !== owner) return [];
    const amount = topic.publishLimit.of === 'requests' ? 1 : messages;
    return [{ name: `topic:${name}`, id: `topic:${name}`, limit: topic.publishLimit, amount }];
  });
}

function refuseTooMuch({ name, limit, amount }: Quota): void {
  const burst = burstOf(limit);
  if (amount <= burst) return;
  throw new Problem(
    'invalid-request',
    `${amount} messages at once are more than the limit of ${name} ever lets through (${burst}): send fewer in a request.`,
  );
}

function policyOf({ name, limit }: Quota): string {
  const unit = limit.of === 'messages' ? ';qu="messages"' : '';
  return `"${name}";q=${limit.limit};w=${windowSecondsOf(limit)}${unit}`;
}

function stateOf({ name }: Quota, level: Level | undefined): string {
  const { remaining = 0, fullAfterMs = 0 } = level ?? {};
  return `"${name}";r=${remaining};t=${Math.ceil(fullAfterMs / 1000)}`;
}

function sentenceOf({ name, limit }: Quota): string {
  return `The limit of ${name} is ${limit.limit} ${limit.of} per ${limit.per}.`;
}
