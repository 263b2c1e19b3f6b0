import { afterAll } from 'vitest';
import { systemClock } from '../../shared/clock.ts';
import { connectBroker } from '../../shared/broker/rabbitmq.ts';
import { useStack } from '../stack/current-stack.ts';
import { callManagement } from '../stack/rabbitmq.ts';
import { startTcpProxy, type TcpProxy } from '../stack/tcp-proxy.ts';
import { brokerContract } from './broker-contract.ts';
import type { BrokerPlace } from './broker-contract.ts';
import { takingContract } from './broker-taking.ts';

let place: Promise<BrokerPlace> | undefined;
let proxy: TcpProxy | undefined;

const openedPlace = (): Promise<BrokerPlace> => (place ??= openPlace());
afterAll(() => proxy?.close());

brokerContract(openedPlace);
takingContract(openedPlace);

async function openPlace(): Promise<BrokerPlace> {
  const stack = useStack();
  const { amqpUrl, vhost } = await stack.createCorner('broker');
  const before = await startTcpProxy(amqpUrl);
  proxy = before;
  const remove = async (kind: 'queues' | 'exchanges', name: string): Promise<void> => {
    await callManagement(stack.managementUrl, 'DELETE', `/api/${kind}/${vhost}/${name}`);
  };
  return {
    connect: () =>
      connectBroker({
        urls: [before.through(amqpUrl)],
        heartbeatSeconds: 10,
        connectTimeoutMs: 3000,
        clock: systemClock,
      }),
    deleteQueue: (name) => remove('queues', name),
    deleteExchange: (name) => remove('exchanges', name),
    cut() {
      before.become('closed');
      before.become('open');
    },
  };
}
