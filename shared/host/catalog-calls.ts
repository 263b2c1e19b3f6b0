/** What an edge asks of a host about the catalog: that it follows it now, and what this SET has stopped by itself. */
import type { Broker } from '../broker/broker.ts';
import type { CatalogSource } from '../catalog/catalog.ts';
import type { Clock } from '../clock.ts';
import { dispatchOf } from '../delivery/caller.ts';
import type { Courier } from '../delivery/courier.ts';
import type { Deliverer } from '../delivery/deliver.ts';
import { isPushed } from '../subscriptions/subscription.ts';
import { priorities, queueOf, type QueueShape } from '../topology/names.ts';
import type { SetLink } from '../sets/set-link.ts';
import type { HostView } from './host-view.ts';
import type { Register } from './register.ts';

export interface CatalogCallParts {
  readonly set: string;
  readonly catalog: CatalogSource;
  readonly register: Pick<Register, 'disabled'>;
  readonly courier: Courier;
  readonly deliverer: Pick<Deliverer, 'waiting'>;
  readonly broker: Pick<Broker, 'depths'>;
  readonly clock: Clock;
}

export function createCatalogCalls(
  { set, broker, catalog, clock, courier, deliverer, register }: CatalogCallParts,
  view: Pick<HostView, 'enable' | 'subscription'>,
  reconcile: () => Promise<void>,
): Pick<SetLink, 'stopped' | 'enable' | 'follow' | 'tryOut'> {
  return {
    async tryOut(name, message) {
      const subscription = view.subscription(name);
      if (!subscription || !isPushed(subscription)) return undefined;
      const [answer] = await courier.carry([{ ...dispatchOf(clock, subscription, message, 1), set }]);
      return answer;
    },
    stopped: async (name) => ({
      set,
      ready: await readyOf(broker, view.subscription(name) ?? { name }),
      stops: Object.fromEntries(await register.disabled()),
      waiting: deliverer.waiting(),
    }),
    async enable(name) {
      await view.enable(name);
      await reconcile();
    },
    async follow() {
      const { version } = await (catalog.renew?.() ?? catalog.current());
      await reconcile();
      return version;
    },
  };
}

async function readyOf(broker: Pick<Broker, 'depths'>, shape: QueueShape): Promise<number | null> {
  const queues = priorities.map((priority) => queueOf(shape, priority));
  const depths = await broker.depths(queues).catch(() => undefined);
  return depths ? [...depths.values()].reduce((sum, depth) => sum + depth, 0) : null;
}
