/** Whether a cluster is well: its version, its nodes, and what ails it. https://www.rabbitmq.com/docs/monitoring */
import { Problem } from '../problem.ts';
import { featuresOf } from './broker-features.ts';
import { fieldsOf, rowsOf, textOf, textsOf } from './found.ts';
import type { FoundNode, Management } from './management.ts';
import { pathOf, type CallManagement } from './management-request.ts';

export function healthCalls(call: CallManagement): Pick<Management, 'overview' | 'nodes' | 'ailments'> {
  const nodes = async (): Promise<readonly FoundNode[]> => {
    const columns = 'name,running,mem_alarm,disk_free_alarm,partitions';
    const path = `${pathOf('nodes')}?columns=${columns}`;
    return rowsOf(await call({ method: 'GET', path, doing: 'look at the nodes' })).map((row) => ({
      name: textOf(row['name']),
      isRunning: row['running'] === true,
      alarms: [
        ...(row['mem_alarm'] === true ? (['memory'] as const) : []),
        ...(row['disk_free_alarm'] === true ? (['disk'] as const) : []),
      ],
      partitions: textsOf(row['partitions']),
    }));
  };
  return {
    async overview() {
      const answer = fieldsOf(
        await call({ method: 'GET', path: pathOf('overview'), doing: 'see which RabbitMQ it is' }),
      );
      const version = textOf(answer['rabbitmq_version']);
      if (version === '')
        throw new Problem(
          'invalid-settings',
          'What answers at the management URL does not say which RabbitMQ it is. Does its user have the tag "administrator"?',
        );
      return { version, clusterName: textOf(answer['cluster_name']), features: featuresOf(version) };
    },
    nodes,
    async ailments() {
      const found = await nodes();
      return [
        ...found.flatMap(({ name, isRunning, alarms, partitions }) => [
          ...(isRunning ? [] : [`The node ${name} is down.`]),
          ...alarms.map((alarm) => `${name} is short of ${alarm}: publishers wait until that ends.`),
          ...(partitions.length === 0
            ? []
            : [`${name} is partitioned from ${partitions.join(', ')}: restart the side that may lose.`]),
        ]),
        ...(await failedCheck(call, 'virtual-hosts', 'A vhost is down on a node')),
      ];
    },
  };
}

/** A check answers 200 or, when it fails, 503 with a reason; one this version lacks says nothing. */
async function failedCheck(call: CallManagement, check: string, meaning: string): Promise<readonly string[]> {
  const path = pathOf('health', 'checks', check);
  try {
    await call({ method: 'GET', path, doing: `run the health check ${check}` });
    return [];
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'broker-unavailable') throw error;
    return [`${meaning}. ${error.message}`];
  }
}
