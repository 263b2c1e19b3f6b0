/**
 * Parts of a host that can die at a named step, as a process does: from then on nothing it does has any effect and
 * nothing it waits for comes back. What was called and not answered may have had its effect.
 */
import type { Broker, ConsumeOptions, InboundDelivery } from '../../shared/broker/broker.ts';
import type { SteadyClock } from '../../shared/clock.ts';

export type Moment = 'before' | 'after';

/** One life of a host. */
export interface Life {
  readonly isOver: boolean;
  /** Resolves when it ends. */
  readonly over: Promise<void>;
  /** Every step passes here; the one that was chosen ends the life, before or after its call. */
  readonly passes: (step: string, moment: Moment) => boolean;
}

/** @param end where the life ends: at the first call of this step; without it, never */
export function liveUntil(end?: { readonly step: string; readonly moment: Moment }): Life {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isOver = false;
  return {
    get isOver() {
      return isOver;
    },
    over: promise,
    passes(step, moment) {
      if (isOver || (end?.step === step && end.moment === moment)) {
        isOver = true;
        resolve();
      }
      return !isOver;
    },
  };
}

const never = new Promise<never>(() => {});

/** The same part, whose methods of these names are steps `<name>.<method>` of a life; what is no step passes freely. */
export function mortal<Part extends object>(part: Part, name: string, { life, steps }: Steps): Part {
  return new Proxy(part, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      const call = value.bind(target) as (...args: unknown[]) => unknown;
      if (!steps.includes(String(property))) return call;
      const step = `${name}.${String(property)}`;
      return async (...args: unknown[]) => {
        if (!life.passes(step, 'before')) return never;
        const result = await call(...args);
        return life.passes(step, 'after') ? result : never;
      };
    },
  });
}

interface Steps {
  readonly life: Life;
  readonly steps: readonly string[];
}

/** The broker, with `ack` as a step of its own. */
export function mortalBroker(broker: Broker, life: Life): Broker {
  const steps = ['publish', 'provision'];
  const part = mortal(broker, 'broker', { life, steps });
  return new Proxy(part, {
    get(target, property) {
      if (property === 'take') return mortalTake(broker, life);
      if (property !== 'consume') return Reflect.get(target, property, target) as unknown;
      return (options: ConsumeOptions) => broker.consume(mortalOptions(options, life));
    },
  });
}

/** Beginning and end of a take are a step; the dead never come back from what they began. */
function mortalTake(broker: Broker, life: Life): Broker['take'] {
  return async (options, work) => {
    if (!life.passes('broker.take', 'before')) return never;
    const result = await broker.take(options, (deliveries) =>
      life.isOver ? never : work(deliveries.map((delivery) => mortalDelivery(delivery, life))),
    );
    return life.passes('broker.take', 'after') ? result : never;
  };
}

function mortalOptions(options: ConsumeOptions, life: Life): ConsumeOptions {
  return {
    ...options,
    onMessage: (delivery) => (life.isOver ? undefined : options.onMessage(mortalDelivery(delivery, life))),
  };
}

function mortalDelivery(delivery: InboundDelivery, life: Life): InboundDelivery {
  const settle = (act: () => void) => (): void => {
    if (!life.passes('delivery.ack', 'before')) return;
    act();
    life.passes('delivery.ack', 'after');
  };
  return {
    message: delivery.message,
    ack: settle(() => delivery.ack()),
    requeue: () => (life.isOver ? undefined : delivery.requeue()),
    reject: () => (life.isOver ? undefined : delivery.reject()),
  };
}

/** The dead hear no timer. */
export function mortalClock(clock: SteadyClock, life: Life): SteadyClock {
  return {
    steadyMs: () => clock.steadyMs(),
    nowMs: () => clock.nowMs(),
    after: (delayMs, task) => clock.after(delayMs, () => (life.isOver ? undefined : task())),
  };
}
