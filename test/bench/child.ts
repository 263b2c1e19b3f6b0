/**
 * A process of the benchmark: every server, load generator and consumer has its own, so that none of them shares a
 * thread with what is measured. A child tells that it is ready by a line on its standard output; a script of this
 * folder answers questions over Node's channel, one at a time.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { usageOf, type ProcessUsage } from './process-usage.ts';

export interface ChildProgram {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Matches the output of a child that is ready; its first group is where it listens. Without it, it says nothing. */
  readonly ready?: RegExp;
}

export interface Child {
  /** Where it listens; empty when it says nothing of that. */
  readonly url: string;
  /** Rejects when it ends, or cannot begin. */
  readonly failed: Promise<never>;
  usage(): ProcessUsage;
  /** Asks a script of this folder and resolves with what it sends back. */
  ask<Answer>(question: object): Promise<Answer>;
  /** Gracefully, then by force. */
  stop(): Promise<void>;
}

const readyDeadlineMs = 30_000;
const stopDeadlineMs = 15_000;
/** Enough of a child's output to see why it failed. */
const keptCharacters = 4_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a script of this folder; it is ready when it prints `listens at <url>` or `is ready`. */
export function startScript(file: string, env: Readonly<Record<string, string>> = {}): Promise<Child> {
  return startChild({
    name: file,
    command: process.execPath,
    args: [path.join(import.meta.dirname, file)],
    env,
    ready: /(?:listens at (\S+)|is ready)/,
  });
}

/** @throws with the end of its output when it dies or is not ready in time */
export async function startChild({ name, command, args, env, ready }: ChildProgram): Promise<Child> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    serialization: 'advanced',
  });
  running.add(child);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  void ended.then(() => running.delete(child));
  let output = '';
  const failed = new Promise<never>((_, reject) => {
    const fail = (why: string) => reject(new Error(`${name} ${why}; its output ends with:\n${output}`));
    child.once('error', (error) => fail(`did not start (${error.message})`));
    child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
  });
  failed.catch(() => undefined); // heard by whoever waits; a child that is stopped ends too
  const url = new Promise<string>((resolve) => {
    const listen = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-keptCharacters);
      const found = ready?.exec(output);
      if (found) resolve(found[1] ?? '');
    };
    if (!ready) resolve('');
    child.stdout?.on('data', listen);
    child.stderr?.on('data', listen);
  });
  const stop = async (): Promise<void> => {
    if (!running.has(child)) return;
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
    await ended;
    clearTimeout(force);
  };
  try {
    const readyUrl = await within(readyDeadlineMs, name, Promise.race([url, failed]));
    return { url: readyUrl, failed, usage, ask, stop };
  } catch (error) {
    await stop();
    throw error;
  }

  function usage(): ProcessUsage {
    return usageOf(child.pid ?? 0);
  }

  function ask<Answer>(question: object): Promise<Answer> {
    const answer = new Promise<Answer>((resolve) =>
      child.once('message', (message) => resolve(message as Answer)),
    );
    child.send(question);
    return Promise.race([answer, failed]);
  }
}

async function within<T>(deadlineMs: number, name: string, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${name} was not ready in time.`)), deadlineMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** In a script of this folder: answers each question of the parent, and ends with it. */
export function answerQuestions<Question, Answer>(answer: (question: Question) => Promise<Answer>): void {
  process.on('message', (question) => {
    void answer(question as Question).then((reply) => process.send?.(reply));
  });
  process.on('disconnect', () => process.exit(0));
}
