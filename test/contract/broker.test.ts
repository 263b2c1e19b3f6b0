import { systemClock } from '../../shared/clock.ts';
import { connectBroker } from '../../shared/broker/rabbitmq.ts';
import { useStack } from '../stack/current-stack.ts';
import { callManagement } from '../stack/rabbitmq.ts';
import { brokerContract } from './broker-contract.ts';
import type { BrokerPlace } from './broker-contract.ts';

let place: Promise<BrokerPlace> | undefined;

brokerContract(() => (place ??= openPlace()));

async function openPlace(): Promise<BrokerPlace> {
  const stack = useStack();
  const { amqpUrl, vhost } = await stack.createCorner('broker');
  const remove = async (kind: 'queues' | 'exchanges', name: string): Promise<void> => {
    await callManagement(stack.managementUrl, 'DELETE', `/api/${kind}/${vhost}/${name}`);
  };
  return {
    connect: () =>
      connectBroker({ urls: [amqpUrl], heartbeatSeconds: 10, connectTimeoutMs: 3000, clock: systemClock }),
    deleteQueue: (name) => remove('queues', name),
    deleteExchange: (name) => remove('exchanges', name),
  };
}
