/**
 * What a producer's answer to a check says. Only a 2xx with exactly `{"state": "committed" | "rolled_back" | "unknown"}`
 * counts: a proxy's friendly 200, a page, or a longer object decides nothing about somebody's money. Pure.
 */
import { Buffer } from 'node:buffer';
import { readStrictJson } from '../message/strict-json.ts';
import type { WebhookAnswer } from './outcome.ts';

export type CheckState = 'committed' | 'rolled_back' | 'unknown';

export interface CheckAnswer {
  readonly state: CheckState;
  /** Why an answer that decides nothing does not. */
  readonly error?: string;
}

const states: readonly unknown[] = ['committed', 'rolled_back', 'unknown'] satisfies readonly CheckState[];

/** @param answer with the start of its body, whatever its status */
export function checkAnswerOf(answer: WebhookAnswer): CheckAnswer {
  if ('error' in answer) return { state: 'unknown', error: answer.error };
  const { status, excerpt } = answer;
  if (status < 200 || status > 299) return { state: 'unknown', error: `HTTP ${status}` };
  const state = stateIn(excerpt);
  if (state !== undefined) return { state };
  return { state: 'unknown', error: `HTTP ${status} without exactly {"state": …} in its body` };
}

function stateIn(text: string): CheckState | undefined {
  try {
    const value = readStrictJson(Buffer.from(text));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const [[name, state] = [], ...others] = Object.entries(value as Record<string, unknown>);
    return name === 'state' && others.length === 0 && states.includes(state)
      ? (state as CheckState)
      : undefined;
  } catch {
    return undefined; // not JSON: it says nothing
  }
}
