/** Vhosts and their limits. https://www.rabbitmq.com/docs/vhosts */
import { fieldsOf, rowsOf, textOf } from './found.ts';
import type { Management } from './management.ts';
import { pathOf, type CallManagement } from './management-request.ts';

const limitNames = { maxConnections: 'max-connections', maxQueues: 'max-queues' } as const;

export function vhostCalls(call: CallManagement): Management['vhosts'] {
  return {
    async find(vhost) {
      const answer = await call({
        method: 'GET',
        path: pathOf('vhosts', vhost),
        doing: `look at the vhost "${vhost}"`,
      });
      if (answer === undefined) return undefined;
      const { name, description } = fieldsOf(answer);
      return { name: textOf(name), description: textOf(description) };
    },
    async put(vhost, description) {
      const doing = `create the vhost "${vhost}"`;
      await call({ method: 'PUT', path: pathOf('vhosts', vhost), doing, body: { description } });
    },
    async remove(vhost) {
      await call({
        method: 'DELETE',
        path: pathOf('vhosts', vhost),
        doing: `delete the vhost "${vhost}" with everything in it`,
      });
    },
    async limits(vhost) {
      const doing = `look at the limits of the vhost "${vhost}"`;
      const [row] = rowsOf(await call({ method: 'GET', path: pathOf('vhost-limits', vhost), doing }));
      const values = fieldsOf(row?.['value']);
      const found = Object.entries(limitNames).map(([name, key]) => [name, values[key]] as const);
      return Object.fromEntries(found.filter(([, value]) => typeof value === 'number'));
    },
    async limit(vhost, limits) {
      const doing = `limit the vhost "${vhost}"`;
      for (const name of ['maxConnections', 'maxQueues'] as const) {
        const path = pathOf('vhost-limits', vhost, limitNames[name]);
        const value = limits[name];
        if (value === undefined) await call({ method: 'DELETE', path, doing });
        else await call({ method: 'PUT', path, doing, body: { value } });
      }
    },
  };
}
