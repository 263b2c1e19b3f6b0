/** What a host says of itself with each heartbeat, and learns of the others. */
import type { Broker } from '../broker/broker.ts';
import type { Clock } from '../clock.ts';
import type { TenureState } from '../sets/tenure.ts';
import type { Telemetry } from '../telemetry.ts';
import { createFailureWatch, type FailureWatch, type FailureWatchParts } from './failure-watch.ts';
import { createIntake, type Intake } from './intake.ts';
import type { Register } from './register.ts';

export interface PulseParts extends FailureWatchParts {
  readonly set: string;
  readonly register: Register;
  readonly broker: Pick<Broker, 'state'>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Told with each beat. */
  readonly onTenure: (tenure: TenureState) => void;
}

export interface Pulse extends Pick<FailureWatch, 'note'>, Pick<Intake, 'took'> {
  /** @throws Problem when the database is away */
  readonly beat: () => Promise<void>;
  /** Live hosts of this SET, this one included; undefined before the first beat. */
  readonly hosts: number | undefined;
}

export function createPulse(parts: PulseParts): Pulse {
  const failures = createFailureWatch(parts);
  const intake = createIntake(parts.clock);
  let hosts: number | undefined;
  return {
    note: failures.note,
    took: intake.took,
    get hosts() {
      return hosts;
    },
    async beat() {
      const beaten = await parts.register.beat(parts.broker.state, intake.perSecond());
      hosts = beaten.hosts;
      parts.telemetry.set('setway_live_hosts', { set: parts.set }, hosts);
      parts.onTenure(beaten.tenure);
      if (beaten.tenure === 'fenced') return;
      await failures.report();
    },
  };
}
