/** Where a stack lives: every port counted from one base, every file below one folder. */
import path from 'node:path';

export interface Ports {
  readonly amqp: number;
  readonly management: number;
  readonly epmd: number;
  readonly erlang: number;
  readonly redis: number;
  readonly postgres: number;
  readonly neonBridge: number;
  readonly upstashBridge: number;
  /** The edge on workerd. */
  readonly edge: number;
  /** The same app on Node. */
  readonly node: number;
  /** A local receiver of webhooks. */
  readonly webhooks: number;
}

export interface StackPlace {
  readonly portBase: number;
  readonly dir: string;
}

/** Ports a stack takes from its base on; a second stack keeps at least this distance. */
export const portsPerStack = 20;

/** `npm start`; below the ephemeral ports of Linux (32768 and up), so no outgoing connection sits on one. */
export const defaultPortBase = 18_700;
/** `npm run stack:ha`. */
export const haPortBase = 18_740;
/** `npm test`; private stacks of single test files follow in steps of `portsPerStack`. */
export const testPortBase = 19_700;

export const repoDir = path.resolve(import.meta.dirname, '../..');

/** @example portsFrom(18700).amqp // 18700 */
export function portsFrom(base: number): Ports {
  return {
    amqp: base,
    management: base + 1,
    epmd: base + 2,
    erlang: base + 3,
    redis: base + 4,
    postgres: base + 5,
    neonBridge: base + 6,
    upstashBridge: base + 7,
    edge: base + 8,
    node: base + 9,
    webhooks: base + 10,
  };
}

/**
 * Reads `SETWAY_PORT_BASE` and `SETWAY_STACK_DIR`.
 *
 * @throws when the base is not a whole number that leaves room for the ports above it
 */
export function stackPlace(env: NodeJS.ProcessEnv, fallback: StackPlace): StackPlace {
  const text = env['SETWAY_PORT_BASE'];
  const portBase = text === undefined ? fallback.portBase : Number(text);
  if (!Number.isInteger(portBase) || portBase < 1024 || portBase + portsPerStack > 65_536) {
    throw new Error(
      `SETWAY_PORT_BASE is "${text}"; it must be a whole number from 1024 to ${65_536 - portsPerStack}.`,
    );
  }
  return { portBase, dir: path.resolve(env['SETWAY_STACK_DIR'] ?? fallback.dir) };
}
