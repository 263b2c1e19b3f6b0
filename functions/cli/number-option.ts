import { Problem } from '../../shared/problem.ts';

/** @throws Problem `invalid-request` */
export function numberOf(option: string, text: string): number {
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text);
  throw new Problem('invalid-request', `--${option} is a number, not "${text}".`);
}
