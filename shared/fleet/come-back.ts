/**
 * A SET comes back: fenced until nothing of what it had accepted is left to others to find.
 *
 * What it had not delivered has gone to siblings (take-over.ts), or goes now. Its RabbitMQ may still hold copies of it:
 * they are known as departed, acked and not called (shared/delivery/departed.ts). Its buckets stay where they are until
 * somebody moves them back. The tenure is given back at the epoch that was looked at, so that of a return and another
 * fence at once only one happens.
 */
import { asProblem, Problem } from '../problem.ts';
import type { HandoverProgress } from '../store/handover.ts';
import { closeLostBuckets } from './move-buckets.ts';
import type { TakeOverParts } from './take-over.ts';

export type ComeBackParts = Pick<TakeOverParts, 'catalog' | 'handovers' | 'moves' | 'writes' | 'report'>;

/**
 * @throws Problem `conflict` with everything that is missing; `not-found`
 * @example await comeBack(parts, 'hangzhou')
 */
export async function comeBack(parts: ComeBackParts, set: string): Promise<void> {
  const homes = await parts.handovers(set);
  const looked = await Promise.all(homes.map(async (home) => home.progress(set).catch(asProblem)));
  const { fates } = await parts.catalog();
  const isLost = fates?.get(set)?.database === 'away';
  const missing = looked.flatMap((progress, shard) => missingOf(progress, { set, shard, isLost }));
  if (missing.length > 0)
    throw new Problem(
      'conflict',
      `SET "${set}" stays fenced:\n${missing.map((line) => `  ${line}`).join('\n')}`,
    );
  // An edge of before the take-over must not be admitted to what others have now.
  await closeLostBuckets(parts.moves, set);
  for (const [shard, home] of homes.entries()) {
    const progress = looked[shard];
    if (!progress || progress instanceof Problem || progress.tenure.state === 'serving') continue;
    await home.unfence(set, progress.tenure.epoch);
  }
  await parts.writes.activate(set);
  parts.report(`${set}: active`);
}

interface Looked {
  readonly set: string;
  readonly shard: number;
  /** Its database was given up: what it held then has yet to be taken over. */
  readonly isLost: boolean;
}

function missingOf(progress: HandoverProgress | Problem, { set, shard, isLost }: Looked): readonly string[] {
  if (progress instanceof Problem) return [`database ${shard}: ${progress.message}`];
  const { state, pending, tenure } = progress;
  if (tenure.state === 'serving' && !isLost) return [];
  const command = `setway sets take-over ${set}`;
  if (state === 'begun' || pending > 0)
    return [`database ${shard}: ${pending} messages have yet to be taken over: ${command}`];
  if (isLost && state !== 'ended')
    return [`database ${shard}: it was away when others took over; what it holds is theirs: ${command}`];
  return [];
}
