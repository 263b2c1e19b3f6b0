/** Policies and operator policies, which are told apart by their path alone. https://www.rabbitmq.com/docs/policies */
import { fieldsOf, numberOf, rowsOf, textOf } from './found.ts';
import type { Policy, PolicyCalls, PolicyTarget } from './management.ts';
import { pathOf, type CallManagement } from './management-request.ts';

const words = { policies: 'policy', 'operator-policies': 'operator policy' } as const;

export function policyCalls(call: CallManagement, kind: 'policies' | 'operator-policies'): PolicyCalls {
  const word = words[kind];
  return {
    async list(vhost) {
      const doing = `list the ${kind} of "${vhost}"`;
      return rowsOf(await call({ method: 'GET', path: pathOf(kind, vhost), doing })).map((row) => ({
        name: textOf(row['name']),
        pattern: textOf(row['pattern']),
        applyTo: textOf(row['apply-to']) as PolicyTarget,
        priority: numberOf(row['priority']),
        definition: fieldsOf(row['definition']) as Policy['definition'],
      }));
    },
    async put(vhost, { name, pattern, applyTo, priority, definition }) {
      await call({
        method: 'PUT',
        path: pathOf(kind, vhost, name),
        doing: `set the ${word} "${name}" of "${vhost}"`,
        body: { pattern, 'apply-to': applyTo, priority, definition },
      });
    },
    async remove(vhost, name) {
      const doing = `delete the ${word} "${name}" of "${vhost}"`;
      await call({ method: 'DELETE', path: pathOf(kind, vhost, name), doing });
    },
  };
}
