/** A bar that a terminal redraws in place; elsewhere a line at every tenth, so that a log stays readable. */

export interface ProgressBar {
  update(done: number): void;
  /** Leaves the last state on the screen. */
  end(): void;
}

/** Often enough to look alive, seldom enough to cost nothing. */
const redrawMs = 100;

/** @example const bar = startBar({ label: 'publishing', total: 10_000, stream: process.stdout }); bar.update(500); */
export function startBar(wish: {
  readonly label: string;
  readonly total: number;
  readonly stream: NodeJS.WriteStream;
}): ProgressBar {
  const { label, total, stream } = wish;
  const beganMs = performance.now();
  let done = 0;
  let drawnAtMs = -Infinity;
  let tenths = -1;
  const line = (): string => {
    const share = total === 0 ? 1 : Math.min(done / total, 1);
    const perSecond = done / Math.max((performance.now() - beganMs) / 1000, 0.001);
    const percent = `${Math.floor(share * 100)} %`.padStart(5);
    const numbers = `${percent}  ${grouped(done)}/${grouped(total)}  ${grouped(Math.round(perSecond))}/s`;
    if (!stream.isTTY) return `${label.padEnd(11)}${numbers}`;
    const width = Math.max(10, Math.min(40, (stream.columns ?? 80) - 11 - numbers.length - 5));
    const full = Math.round(share * width);
    return `${label.padEnd(11)}${'█'.repeat(full)}${'░'.repeat(width - full)} ${numbers}`;
  };
  const draw = (): void => {
    drawnAtMs = performance.now();
    stream.write(`\r${line()}\u001B[K`);
  };
  return {
    update(now) {
      done = now;
      if (stream.isTTY && performance.now() - drawnAtMs > redrawMs) draw();
      const tenth = Math.floor((done / total) * 10);
      if (stream.isTTY || tenth <= tenths) return;
      tenths = tenth;
      stream.write(`${line()}\n`);
    },
    end() {
      if (!stream.isTTY) return;
      draw();
      stream.write('\n');
    },
  };
}

/** @example grouped(10000) // '10,000' */
export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}
