/** What is asked of the load generator, and what comes of it. */
import { startScript, type Child } from './child.ts';

export interface LoadPlan {
  readonly url: string;
  readonly path: string;
  /** `{number---}` in a value becomes the number of the request. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  /** Answers of the first seconds are not counted. */
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** Ends it earlier. */
  readonly maxRequests: number;
}

export interface LoadReport {
  /** Below 300, without those of the warm-up. */
  readonly answers: number;
  /** Whatever their status, with those of the warm-up. */
  readonly allAnswers: number;
  /** How often which status of 300 and above came after the warm-up. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly latenciesMs: Float64Array;
}

/** What is sent, wherever it goes. */
export type Request = Pick<LoadPlan, 'path' | 'headers' | 'body'>;

/** Refusals beyond this share of the answers make a rate meaningless. */
const toleratedRefusals = 0.01;

/** @throws when more than a hundredth of the requests was refused */
export async function generateLoad(plan: LoadPlan): Promise<LoadReport> {
  const generator: Child = await startScript('load-generator.ts');
  try {
    const report = await generator.ask<LoadReport | { readonly error: string }>(plan);
    if ('error' in report) throw new Error(report.error);
    const refused = Object.entries(report.refusals).map(([status, amount]) => `${amount} × ${status}`);
    const count = Object.values(report.refusals).reduce((sum, each) => sum + each, 0);
    if (count > report.answers * toleratedRefusals)
      throw new Error(`${plan.url}${plan.path} refused: ${refused.join(', ')} (answered: ${report.answers})`);
    return report;
  } finally {
    await generator.stop();
  }
}

const primeDeadlineMs = 30_000;

/** Sends one request until it is taken: a server that has just begun still connects, and should not be judged by it. */
export async function prime(plan: Pick<LoadPlan, 'url' | 'path' | 'headers' | 'body'>): Promise<void> {
  const { url, path, headers, body } = plan;
  const endMs = performance.now() + primeDeadlineMs;
  for (;;) {
    const answer = await fetch(url + path, { method: 'POST', headers, body });
    const text = await answer.text();
    if (answer.ok) return;
    if (performance.now() > endMs) throw new Error(`${url}${path} answers ${answer.status}: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
