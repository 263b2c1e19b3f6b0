/** `setway routes pin|unpin|pins`: keys that always go to one SET. */
import { parseArgs } from 'node:util';
import type { CatalogWriter } from '../../shared/catalog/catalog-writer.ts';
import type { CatalogDocument } from '../../shared/catalog/document.ts';
import { findPinEntry, pinKey, unpinKey, type PinName } from '../../shared/catalog/pins.ts';
import { Problem } from '../../shared/problem.ts';
import { readValue } from '../json-body.ts';
import { pinnedKey } from '../pins-description.ts';
import { table } from './table.ts';

export interface PinParts {
  readonly writer: CatalogWriter;
  readonly document: () => Promise<CatalogDocument>;
}

type Print = (text: string) => void;

export async function pin({ writer }: PinParts, args: readonly string[], print: Print): Promise<void> {
  const [topicText, key, set] = positionalsOf(args, 3, 'pin TOPIC|* KEY SET');
  const name = nameOf(topicText, readValue({ key }, pinnedKey).key);
  let before: string | undefined;
  await writer.write((document) => {
    before = findPinEntry(document, name)?.set;
    return pinKey(document, { ...name, set });
  });
  const from = before === undefined ? '' : before === set ? 'still ' : `${before} → `;
  print(`${topicText} ${key}: ${from}${set}`);
}

export async function unpin({ writer }: PinParts, args: readonly string[], print: Print): Promise<void> {
  const [topicText, key] = positionalsOf(args, 2, 'unpin TOPIC|* KEY');
  await writer.write((document) => unpinKey(document, nameOf(topicText, key)));
  print(`${topicText} ${key}: not pinned any more`);
}

export async function pins({ document }: PinParts, _args: readonly string[], print: Print): Promise<void> {
  const known = (await document()).pins.map(({ topic = '*', key, set }) => [topic, key, set]);
  print(known.length === 0 ? 'No key is pinned.' : table([['TOPIC', 'KEY', 'SET'], ...known]));
}

/** @throws Problem `invalid-request` with how it is called */
function positionalsOf(
  args: readonly string[],
  count: number,
  usage: string,
): readonly [string, string, string] {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  const [first = '', second = '', third = ''] = positionals;
  if (positionals.length === count) return [first, second, third];
  throw new Problem('invalid-request', `It goes like this: setway routes ${usage}`);
}

function nameOf(topic: string, key: string): PinName {
  return topic === '*' ? { key } : { topic, key };
}
