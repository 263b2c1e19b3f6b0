/** `setway routes ACTION …`: who has which buckets, and moves of them from SET to SET. */
import { parseArgs } from 'node:util';
import type { CatalogDocument } from '../../shared/catalog/document.ts';
import { parseDurationMs } from '../../shared/duration.ts';
import {
  abortMove,
  driveMove,
  driveMoves,
  planMove,
  type MoveParts,
  type MoveReport,
} from '../../shared/fleet/move-buckets.ts';
import { didYouMean } from '../../shared/nearest-name.ts';
import { Problem } from '../../shared/problem.ts';
import { createSealer } from '../../shared/sealed.ts';
import { isWithinBuckets, type BucketMove, type BucketSpan } from '../../shared/sets/ownership.ts';
import { readSettings } from '../../shared/settings.ts';
import { createCatalogWriter } from '../../shared/store/catalog-edits.ts';
import { copyCatalog, readDocument } from '../../shared/store/catalog.ts';
import { openDatabase } from '../../shared/store/database.ts';
import { createMoveParts } from '../bucket-moves.ts';
import { openDrivers } from '../node/drivers.ts';
import { pin, pins, unpin, type PinParts } from './pins.ts';
import { table } from './table.ts';

const help = `setway routes — who has which keys

  setway routes show       which SET has which buckets since which epoch, and what is on the move
  setway routes move --from N --to M --set ID [--wait 5m]
                           give buckets N to M (0 to 16383) and their ordered lanes to another SET. It closes
                           them, waits until the SET that has them has delivered what it took, and opens them
                           at the other; after the wait it gives up, and they stay where they were. Safe to
                           repeat: a move that was interrupted goes on
  setway routes abort --from N --to M
                           give a move up that is still waiting
  setway routes resume     take every move as far as it goes
  setway routes pins       which keys are pinned to which SET
  setway routes pin TOPIC|* KEY SET
                           messages with this key go to this SET, in one topic or ('*') in all, from wherever it
                           was. Ordered lanes stay where their bucket lives
  setway routes unpin TOPIC|* KEY
                           messages with this key go by the other rules again`;

type Print = (text: string) => void;
type Action = (parts: MoveParts & PinParts, args: readonly string[], print: Print) => Promise<void>;

const actions: Readonly<Record<string, Action>> = { show, move, abort, resume, pins, pin, unpin };

/** @throws Problem with what is wrong, and what to do about it */
export async function runRoutes(args: readonly string[], print: Print): Promise<void> {
  const [name = '--help', ...rest] = args;
  if (name === '--help' || name === 'help' || rest.includes('--help')) return print(help);
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (!action)
    throw new Problem(
      'invalid-request',
      `There is no action "${name}".${didYouMean(name, Object.keys(actions))} See setway routes --help.`,
    );
  const settings = readSettings(process.env);
  const drivers = openDrivers(settings);
  try {
    const sealer = createSealer(settings.SETWAY_ENCRYPTION_KEYS);
    const [centerUrl = '', ...others] = settings.SETWAY_CATALOG_DATABASES;
    const center = openDatabase(centerUrl);
    const onWritten = async (): Promise<void> => {
      const sets = (await readDocument(center))?.document.sets ?? [];
      const firsts = sets.map(({ databaseUrls }) => sealer.open(databaseUrls[0] ?? ''));
      // A copy that is away is written by `probe-sets`.
      await copyCatalog(
        [center],
        [...new Set([...others, ...firsts])].map((url) => openDatabase(url)),
      );
    };
    const document = async (): Promise<CatalogDocument> => {
      const found = await readDocument(center);
      if (found) return found.document;
      throw new Problem('set-unavailable', 'There is no catalog yet.');
    };
    const writer = createCatalogWriter({ center, onWritten });
    await action({ ...createMoveParts({ center, sealer, onWritten }), writer, document }, rest, print);
  } finally {
    await drivers.close();
  }
}

async function show(parts: MoveParts, _args: readonly string[], print: Print): Promise<void> {
  const { buckets, moves = [] } = await parts.read();
  const rows = buckets.map(({ from, to, set, epoch }) => [`${from}-${to}`, set, `epoch ${epoch}`]);
  print(table([['BUCKETS', 'SET', 'SINCE'], ...rows]));
  for (const each of moves) print(`On the move: ${described(each)}, ${each.state}.`);
}

async function move(parts: MoveParts, args: readonly string[], print: Print): Promise<void> {
  const options = { from: text, to: text, set: text, wait: { type: 'string', default: '5m' } } as const;
  const { values } = parseArgs({ args: [...args], options });
  if (values.set === undefined) throw new Problem('invalid-request', 'Name the SET: --set ID.');
  const maxMs = parseDurationMs(values.wait, { at: '--wait' });
  const wish = { ...spanOf(values), target: values.set, untilMs: parts.clock.nowMs() + maxMs };
  const planned = await planMove(parts, wish);
  if (planned.source !== planned.target) print(`Moving ${described(planned)}.`);
  tell(await driveMove(parts, planned, progress(parts, maxMs, print)), print);
}

async function abort(parts: MoveParts, args: readonly string[], print: Print): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { from: text, to: text } });
  const span = spanOf(values);
  const { moves = [] } = await parts.read();
  const found = moves.find(({ from, to }) => from === span.from && to === span.to);
  if (!found) throw new Problem('not-found', `Buckets ${span.from} to ${span.to} are not on the move.`);
  tell(await abortMove(parts, found, progress(parts, 60_000, print)), print);
}

async function resume(parts: MoveParts, _args: readonly string[], print: Print): Promise<void> {
  const over = await driveMoves(parts, progress(parts, 300_000, print));
  print(`${over} moves are over.`);
}

const text = { type: 'string' } as const;
/** A line of progress at most so often. */
const tellEveryMs = 2_000;

function progress({ clock }: MoveParts, maxMs: number, print: Print) {
  let nextMs = 0;
  const onProgress = ({ lanesLeft, waitsFor }: MoveReport): void => {
    if (clock.nowMs() < nextMs) return;
    nextMs = clock.nowMs() + tellEveryMs;
    print(`  ${lanesLeft} lanes still to be delivered; they wait for ${waitsFor.join(', ')}.`);
  };
  // Beyond the wait it is given up, which takes a little longer.
  return { maxMs: maxMs + 60_000, onProgress };
}

function tell({ move: { from, to, source, target }, outcome, lanesLeft }: MoveReport, print: Print): void {
  if (outcome === 'moved') return print(`SET "${target}" has buckets ${from} to ${to} now.`);
  if (outcome === 'draining') return print(`${lanesLeft} lanes are left: setway routes resume goes on.`);
  throw new Problem('conflict', `It was given up: SET "${source}" keeps buckets ${from} to ${to}.`);
}

function spanOf(values: {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}): BucketSpan {
  const [from, to] = [Number(values.from ?? NaN), Number(values.to ?? NaN)];
  if (isWithinBuckets({ from, to })) return { from, to };
  throw new Problem('invalid-request', 'Say which buckets: --from N --to M, 0 to 16383, N not above M.');
}

function described({ from, to, source, target, epoch }: BucketMove): string {
  return `buckets ${from} to ${to} from "${source}" to "${target}" at epoch ${epoch}`;
}
