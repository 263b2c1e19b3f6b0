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
  /** Counted ones. */
  readonly answers: number;
  /** With those of the warm-up. */
  readonly allAnswers: number;
  /** How often which status of 300 and above came. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly latenciesMs: Float64Array;
}

/** What is sent, wherever it goes. */
export type Request = Pick<LoadPlan, 'path' | 'headers' | 'body'>;

/** @throws when any request was refused: a rate of refusals is no result */
export async function generateLoad(plan: LoadPlan): Promise<LoadReport> {
  const generator: Child = await startScript('load-generator.ts');
  try {
    const report = await generator.ask<LoadReport | { readonly error: string }>(plan);
    if ('error' in report) throw new Error(report.error);
    const refused = Object.entries(report.refusals).map(([status, count]) => `${count} × ${status}`);
    if (refused.length > 0) throw new Error(`${plan.url}${plan.path} refused: ${refused.join(', ')}`);
    return report;
  } finally {
    await generator.stop();
  }
}
