/** What a run of the demo prints at its end. */
import type { Audit } from './audit.ts';
import type { Journey } from './deliveries.ts';
import type { Paint } from './paint.ts';
import { grouped } from './progress-bar.ts';
import type { Ledger } from './publish-orders.ts';
import { letterOf } from './world-map.ts';

export interface Results {
  readonly ledger: Ledger;
  readonly journeys: readonly Journey[];
  readonly audit: Audit;
  readonly sets: readonly string[];
  /** From the first publish to the last delivery. */
  readonly totalMs: number;
  readonly copies: {
    /** Messages that a second SET took as well, because the first did not answer in time. */
    readonly failedOver: number;
    /** Messages put into RabbitMQ a second time. */
    readonly sent: number;
    /** Webhook calls beyond the first of each delivery, retries apart. */
    readonly calls: number;
  };
}

export function report(results: Results, paint: Paint): readonly string[] {
  return [...setTable(results, paint), '', ...latencyTable(results), '', ...effectLines(results, paint)];
}

function setTable({ ledger, sets }: Results, paint: Paint): readonly string[] {
  const total = ledger.accepted.length;
  const rows = sets.map((set) => {
    const distances = ledger.accepted.flatMap((order) => (order.set === set ? [order.distanceKm] : []));
    const mean = distances.reduce((sum, km) => sum + km, 0) / distances.length;
    const cells = [
      grouped(distances.length),
      `${((distances.length / Math.max(total, 1)) * 100).toFixed(1)} %`,
      distances.length === 0 ? '–' : `${grouped(Math.round(mean))} km`,
    ];
    const name = `${letterOf(set)} ${set}`.padEnd(14);
    return paint.set(set, name) + cells.map((cell) => cell.padStart(15)).join('');
  });
  return [
    `${'SET'.padEnd(14)}${['orders', 'share', 'mean distance'].map((h) => h.padStart(15)).join('')}`,
    ...rows,
  ];
}

const percentiles = [50, 90, 99] as const;

function latencyTable({ ledger, journeys }: Results): readonly string[] {
  const rows = [
    ['accepted (HTTP 202)', ledger.accepted.map(({ latencyMs }) => latencyMs)],
    ['confirmed by RabbitMQ', journeys.flatMap(({ confirmedMs }) => confirmedMs ?? [])],
    ['delivered to all webhooks', journeys.flatMap(({ deliveredMs }) => deliveredMs ?? [])],
  ] as const;
  const heads = [...percentiles.map((p) => `p${p}`), 'max'];
  return [
    `${'Latency'.padEnd(26)}${heads.map((head) => head.padStart(11)).join('')}`,
    ...rows.map(([name, values]) => {
      const sorted = Float64Array.from(values).sort();
      const cells = [...percentiles, 100].map((p) => milliseconds(percentile(sorted, p)));
      return name.padEnd(26) + cells.map((cell) => cell.padStart(11)).join('');
    }),
  ];
}

/** The smallest value that p percent do not exceed (nearest rank). @param sorted ascending */
export function percentile(sorted: Float64Array, p: number): number | undefined {
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)];
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '–' : `${grouped(Math.round(value))} ms`;
}

function effectLines(results: Results, paint: Paint): readonly string[] {
  const { ledger, audit, copies, totalMs } = results;
  const { accepted, refused, recognised, retries, durationMs } = ledger;
  const perSecond = (ms: number): string => `${grouped(Math.round(accepted.length / (ms / 1000)))}/s`;
  const judged = (count: number, text: string): string =>
    `${count === 0 ? paint.good('0') : paint.bad(grouped(count))}${text}`;
  const lost = audit.lost.orderLines + audit.lost.receipts;
  const doubled = audit.doubled.orderLines + audit.doubled.receipts;
  const repeated = retries === 0 ? '' : `, ${grouped(retries)} tries repeated`;
  return [
    ['accepted', `${grouped(accepted.length)} at ${perSecond(durationMs)}${repeated}`],
    ['delivered', `to both webhooks at ${perSecond(totalMs)}, from the first publish on`],
    ...(refused.length === 0 ? [] : [['refused', `${grouped(refused.length)}: ${refused[0]?.reason}`]]),
    ['sent again', `${grouped(recognised)} over HTTP with the same Idempotency-Key: same id, stored once`],
    ['', `${grouped(copies.sent)} through RabbitMQ`],
    ['', `${grouped(copies.failedOver)} to a second SET, the first being too slow to answer`],
    ['', `all together ${grouped(copies.calls)} further webhook calls`],
    ['lost', judged(lost, ` (${audit.lost.orderLines} order lines, ${audit.lost.receipts} receipts)`)],
    [
      'doubled',
      judged(doubled, ` (${audit.doubled.orderLines} order lines, ${audit.doubled.receipts} receipts)`),
    ],
    ['wrong stock', judged(audit.wrongStock, ' SKUs')],
  ].map(([name = '', text = '']) => `${name.padEnd(13)}${text}`);
}
