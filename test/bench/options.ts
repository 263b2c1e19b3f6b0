import { parseArgs } from 'node:util';

export const help = `npm run bench [-- OPTIONS] — measures Setway beside what one would write oneself

  --only publish|delivery   one half of it; isolation: only what slow and failing subscribers cost the others; routing:
                            only what a routing decision costs among a thousand SETs, without any server
  --waiting N               only this: publishing while N messages wait for their time (try 1000000, which takes minutes)
  --backlog N               only this: N messages of 1 KiB wait for a paused subscription, then are delivered; what RabbitMQ
                            and the process keep in memory meanwhile (try 1000000, which takes minutes)
  --seconds N               length of one measurement (default 8)
  --json                    one JSON array of {name, value, unit, ratio?, of?} on standard output, and nothing
                            else there (with "npm run --silent bench -- --json")
  --help                    this text

It starts RabbitMQ, Redis and Postgres for itself, empty, and stops them in the end. SETWAY_PORT_BASE (30700) and
SETWAY_STACK_DIR (.setway/bench) move them. Progress goes to standard error. A target that is missed is no failure:
the exit code is 0, and 1 when something could not be measured.
`;

export interface Options {
  readonly only: 'publish' | 'delivery' | 'isolation' | 'routing' | undefined;
  readonly seconds: number;
  /** Messages that wait meanwhile; 0 leaves that measurement out. */
  readonly waiting: number;
  /** Messages that wait for a paused subscription; 0 leaves that measurement out. */
  readonly backlog: number;
  readonly output: 'table' | 'json' | 'help';
}

/** @throws with the remedy when an option is wrong */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      seconds: { type: 'string', default: '8' },
      waiting: { type: 'string', default: '0' },
      backlog: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const seconds = Number(values.seconds);
  if (!(seconds >= 0.5 && seconds <= 600)) throw new RangeError('--seconds: from 0.5 to 600');
  const waiting = readThousands('--waiting', values.waiting);
  const backlog = readThousands('--backlog', values.backlog);
  const { only } = values;
  return {
    only: halfOf(only),
    seconds,
    waiting,
    backlog,
    output: values.help ? 'help' : values.json ? 'json' : 'table',
  };
}

function halfOf(only: string | undefined): Options['only'] {
  switch (only) {
    case undefined:
    case 'publish':
    case 'delivery':
    case 'isolation':
    case 'routing':
      return only;
    default:
      throw new RangeError('--only: publish, delivery, isolation or routing');
  }
}

function readThousands(name: string, given: string): number {
  const amount = Number(given);
  if (Number.isInteger(amount / 1000) && amount >= 0 && amount <= 10_000_000) return amount;
  throw new RangeError(`${name}: thousands, up to 10000000`);
}
