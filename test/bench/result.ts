/** The figures of a run: as a table for people, as JSON for programs. */
import type { Measurement } from './measurement.ts';

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly ratio?: number;
  readonly of?: string;
}

/** A measurement compared with several others stands there once for each. */
export function figuresOf(measurements: readonly Measurement[]): readonly Figure[] {
  return measurements.flatMap(({ name, rate, unit, p50Ms, p99Ms, cpuUs, rssMiB, against = [] }) => {
    const main = { name, value: rounded(rate), unit };
    const compared = against.map(({ ratio, of }) => ({ ...main, ratio: rounded(ratio), of }));
    return [
      ...(compared.length > 0 ? compared : [main]),
      ...figure(`${name}: p50`, p50Ms, 'ms'),
      ...figure(`${name}: p99`, p99Ms, 'ms'),
      ...figure(`${name}: CPU`, cpuUs, 'µs each'),
      ...figure(`${name}: memory`, rssMiB, 'MiB'),
    ];
  });
}

function figure(name: string, value: number | undefined, unit: string): readonly Figure[] {
  return value === undefined ? [] : [{ name, value: rounded(value), unit }];
}

/** Three digits say all that such a measurement knows. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

const columns = ['', 'per second', 'p50 ms', 'p99 ms', 'CPU µs', 'MiB'] as const;

export function renderTable(measurements: readonly Measurement[]): string {
  const rows = measurements.map(({ name, rate, p50Ms, p99Ms, cpuUs, rssMiB, unit }) => [
    name,
    `${whole(rate)} ${unit.replace('/s', '')}`,
    fixed(p50Ms, 1),
    fixed(p99Ms, 1),
    fixed(cpuUs, 0),
    fixed(rssMiB, 0),
  ]);
  const widths = columns.map((title, index) =>
    Math.max(title.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) =>
        index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [line(columns), rule, ...rows.map(line), '', ...renderRatios(measurements)].join('\n');
}

function renderRatios(measurements: readonly Measurement[]): readonly string[] {
  return measurements.flatMap(({ name, against = [] }) =>
    against.map(({ of, ratio, target }) => {
      const mark = target === undefined ? ' ' : ratio >= target ? '✓' : '✗';
      const goal = target === undefined ? '' : ` (target: at least ${target} ×)`;
      return `${mark} ${name} = ${ratio.toFixed(2)} × ${of}${goal}`;
    }),
  );
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? '' : value.toFixed(digits);
}
