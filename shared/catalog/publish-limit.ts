/**
 * How much may be published, by an API key or to a topic: a bucket that holds `burst` tokens and is filled at a steady
 * rate. Counted by the generic cell rate algorithm (ITU-T I.371): one number per bucket, the instant at which it will be
 * full again, so nothing has to refill it. Pure; shared/idempotency/redis-buckets.ts does the same in Lua.
 */
export interface PublishLimit {
  /** Tokens that come back per `per`. */
  readonly limit: number;
  /** What a token is: a message (those of a bulk request are counted one by one), or a request. */
  readonly of: 'messages' | 'requests';
  readonly per: 'second' | 'minute';
  /** Tokens a full bucket has; default: `limit`. */
  readonly burst?: number | undefined;
}

/** Tokens wanted of one bucket. */
export interface Wanted {
  /** Names the bucket. */
  readonly id: string;
  readonly limit: PublishLimit;
  readonly amount: number;
}

/** A bucket after it was asked. */
export interface Level {
  /** 0: the tokens were there. Else: how long until they will be. */
  readonly waitMs: number;
  readonly remaining: number;
  readonly fullAfterMs: number;
}

export interface Buckets {
  /** Takes from all of them, or from none when one has too few. @returns a level for each, in order */
  take(wanted: readonly Wanted[]): Promise<readonly Level[]>;
}

const microseconds = { second: 1_000_000, minute: 60_000_000 } as const;

export function burstOf({ burst, limit }: PublishLimit): number {
  return burst ?? limit;
}

/** Seconds of the window that `limit` is for. */
export function windowSecondsOf({ per }: PublishLimit): number {
  return microseconds[per] / 1_000_000;
}

/** Microseconds until one token comes back, and until an empty bucket is full. */
export function fillOf(limit: PublishLimit): { readonly tokenUs: number; readonly fullUs: number } {
  const tokenUs = microseconds[limit.per] / limit.limit;
  return { tokenUs, fullUs: tokenUs * burstOf(limit) };
}

/** Buckets in memory, for one process: what counts while nobody else can be asked. */
export function createLocalBuckets(clock: { nowMs(): number }): Buckets {
  const fullAtUs = new Map<string, number>();
  return {
    take(wanted) {
      const nowUs = clock.nowMs() * 1000;
      const asked = wanted.map((each) => askOne(each, fullAtUs.get(each.id) ?? 0, nowUs));
      const isTaken = asked.every(({ waitUs }) => waitUs <= 0);
      if (isTaken) for (const { id, afterUs } of asked) keep(fullAtUs, id, { afterUs, nowUs });
      return Promise.resolve(asked.map((each) => levelOf(each, isTaken, nowUs)));
    },
  };
}

interface Asked {
  readonly id: string;
  /** Microseconds; 0 or less when the tokens are there. */
  readonly waitUs: number;
  /** When the bucket is full: as it is, and once the tokens are taken. */
  readonly beforeUs: number;
  readonly afterUs: number;
  readonly tokenUs: number;
  readonly fullUs: number;
}

function askOne({ id, limit, amount }: Wanted, keptUs: number, nowUs: number): Asked {
  const fill = fillOf(limit);
  const beforeUs = Math.max(keptUs, nowUs);
  const afterUs = beforeUs + fill.tokenUs * amount;
  return { id, ...fill, beforeUs, afterUs, waitUs: afterUs - fill.fullUs - nowUs };
}

function levelOf(
  { waitUs, beforeUs, afterUs, tokenUs, fullUs }: Asked,
  isTaken: boolean,
  nowUs: number,
): Level {
  const fullAfterUs = (isTaken ? afterUs : beforeUs) - nowUs;
  return {
    waitMs: Math.max(0, waitUs / 1000),
    remaining: Math.max(0, Math.floor((fullUs - fullAfterUs) / tokenUs)),
    fullAfterMs: fullAfterUs / 1000,
  };
}

const maxKept = 10_000;

/** A full bucket is as good as a forgotten one. */
function keep(
  fullAtUs: Map<string, number>,
  id: string,
  { afterUs, nowUs }: { readonly afterUs: number; readonly nowUs: number },
): void {
  if (fullAtUs.size >= maxKept)
    for (const [known, full] of fullAtUs) if (full <= nowUs) fullAtUs.delete(known);
  fullAtUs.set(id, afterUs);
}
