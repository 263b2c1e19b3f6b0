/**
 * What moves messages between brokers: federation upstreams, upstream sets and shovels are runtime parameters; their
 * links say how they are. https://www.rabbitmq.com/docs/federation, https://www.rabbitmq.com/docs/shovel-dynamic
 */
import { Problem } from '../problem.ts';
import { given, rowsOf, textOf } from './found.ts';
import type { Management } from './management.ts';
import { pathOf, type CallManagement } from './management-request.ts';

export function linkCalls(call: CallManagement): Pick<Management, 'parameters' | 'links'> {
  return {
    parameters: {
      async list(component, vhost) {
        const doing = `list the ${component} parameters of "${vhost}"`;
        const answer = await call({ method: 'GET', path: pathOf('parameters', component, vhost), doing });
        return rowsOf(answer).map((row) => ({ name: textOf(row['name']), value: row['value'] }));
      },
      async put(component, vhost, { name, value }) {
        const doing = `set the ${component} "${name}" of "${vhost}"`;
        const path = pathOf('parameters', component, vhost, name);
        await call({ method: 'PUT', path, doing, body: { value } });
      },
      async remove(component, vhost, name) {
        const doing = `delete the ${component} "${name}" of "${vhost}"`;
        await call({ method: 'DELETE', path: pathOf('parameters', component, vhost, name), doing });
      },
    },
    links: {
      async federation(vhost) {
        const rows = await linksOf(call, 'federation', pathOf('federation-links', vhost));
        return rows.map((row) => ({
          upstream: textOf(row['upstream']),
          type: row['type'] === 'queue' ? 'queue' : 'exchange',
          name: textOf(row['exchange']) || textOf(row['queue']),
          status: textOf(row['status']),
          ...given('error', row['error']),
          ...given('since', row['timestamp']),
        }));
      },
      async shovels(vhost) {
        const rows = await linksOf(call, 'shovel', pathOf('shovels', vhost));
        return rows.map((row) => ({
          name: textOf(row['name']),
          state: textOf(row['state']),
          ...given('reason', row['reason']),
        }));
      },
    },
  };
}

/** The path is there only with its plugin. */
async function linksOf(call: CallManagement, plugin: 'federation' | 'shovel', path: string) {
  const answer = await call({ method: 'GET', path, doing: `look at the ${plugin} links` });
  if (answer !== undefined) return rowsOf(answer);
  throw new Problem(
    'invalid-settings',
    `RabbitMQ does not tell its ${plugin} links. Is the vhost there, and the plugin on? rabbitmq-plugins enable rabbitmq_${plugin} rabbitmq_${plugin}_management`,
  );
}
