/** The runnable examples, in the order of the list. */
import { nearestName } from '../../../shared/nearest-name.ts';
import type { Example } from './example.ts';
import { bankTransfer } from './bank-transfer.ts';
import { loginLog } from './login-log.ts';
import { modelExamples } from './models.ts';
import { orderAutoClose } from './order-auto-close.ts';
import { orderSteps } from './order-steps.ts';
import { pageRefresh } from './page-refresh.ts';
import { peakShaving } from './peak-shaving.ts';
import { registrationMail } from './registration-mail.ts';
import { workQueue } from './work-queue.ts';

export const examples: readonly Example[] = [
  orderAutoClose,
  orderSteps,
  bankTransfer,
  registrationMail,
  peakShaving,
  pageRefresh,
  loginLog,
  ...modelExamples,
  workQueue,
];

/** Name and what it shows, one example per line. */
export function listExamples(): string {
  const width = Math.max(...examples.map(({ name }) => name.length));
  return examples.map(({ name, shows }) => `  ${name.padEnd(width)}   ${shows}`).join('\n');
}

/** @throws when there is none of this name, with the nearest one and the list */
export function findExample(name: string): Example {
  const found = examples.find((example) => example.name === name);
  if (found) return found;
  const names = examples.map((example) => example.name);
  // People say a part of a name as often as they misspell it.
  const meant = nearestName(name, names) ?? names.find((each) => name !== '' && each.includes(name));
  const hint = meant === undefined ? '' : ` Did you mean "${meant}"?`;
  throw new Error(`There is no example "${name}".${hint} There are:\n${listExamples()}`);
}
