/** What a SET still holds that would be lost with it, as counts and in words. */

/** Of one database, in rows. */
export interface DatabaseLeft {
  /** READY: accepted and not confirmed by the broker. */
  readonly unsettled: number;
  /** Due later: scheduled messages. */
  readonly scheduled: number;
  /** Cron expressions, active or paused. */
  readonly schedules: number;
  /** Half messages nobody has decided about, parked ones included. */
  readonly undecided: number;
  /** Failed deliveries that will be tried again, and those a consumer has leased. */
  readonly retries: number;
  /** Streams of ordered messages with something to do. */
  readonly streams: number;
  /** Copies kept for other SETs' topics of durability `mirrored`. */
  readonly copies: number;
  /** Redrives under way, callbacks owed and the like. */
  readonly other: number;
}

export const nothingLeft: DatabaseLeft = {
  unsettled: 0,
  scheduled: 0,
  schedules: 0,
  undecided: 0,
  retries: 0,
  streams: 0,
  copies: 0,
  other: 0,
};

const words: Readonly<Record<keyof DatabaseLeft, string>> = {
  unsettled: 'messages accepted and not yet confirmed by the broker',
  scheduled: 'messages scheduled for later: cancel them or wait',
  schedules: 'schedules (cron expressions): delete them, create them anew elsewhere',
  undecided: 'transactions undecided: commit or roll them back',
  retries: 'deliveries that will be tried again',
  streams: 'lanes and sequences with something to deliver',
  copies: 'copies of messages of other SETs (durability mirrored): they go when those are delivered',
  other: 'redrives under way and callbacks owed',
};

export function sumLeft(all: readonly DatabaseLeft[]): DatabaseLeft {
  const names = Object.keys(nothingLeft) as (keyof DatabaseLeft)[];
  const sums = names.map((name) => [name, all.reduce((sum, each) => sum + each[name], 0)] as const);
  return { ...nothingLeft, ...Object.fromEntries(sums) };
}

/** One line for each kind that is left; none when nothing is. */
export function tellLeft(left: DatabaseLeft, queues: ReadonlyMap<string, number>): readonly string[] {
  const names = Object.keys(words) as (keyof DatabaseLeft)[];
  return [
    ...names.filter((name) => left[name] > 0).map((name) => `${left[name]} ${words[name]}`),
    ...[...queues]
      .filter(([, depth]) => depth > 0)
      .map(([queue, depth]) => `${depth} messages in the queue ${queue}`),
  ];
}
