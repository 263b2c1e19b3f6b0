/** Exchanges, queues and bindings of a vhost. https://www.rabbitmq.com/docs/definitions */
import { fieldsOf, given, numberOf, rowsOf, textOf, textsOf } from './found.ts';
import type { Management } from './management.ts';
import { pathOf, type CallManagement } from './management-request.ts';

/** Only these: a queue with all its statistics is ten times as much. */
const queueColumns =
  'name,arguments,state,leader,members,online,messages,consumers,policy,operator_policy,type';

export function objectCalls(
  call: CallManagement,
): Pick<Management, 'exchanges' | 'queues' | 'bindings' | 'define'> {
  return {
    exchanges: exchangeCalls(call),
    queues: queueCalls(call),
    bindings: bindingCalls(call),
    async define(vhost, { exchanges, queues, bindings }) {
      const durable = { durable: true, auto_delete: false };
      await call({
        method: 'POST',
        path: pathOf('definitions', vhost),
        doing: `declare exchanges, queues and bindings in "${vhost}"`,
        body: {
          exchanges: exchanges.map((each) => ({ ...each, ...durable, internal: false, arguments: {} })),
          queues: queues.map((each) => ({ ...each, ...durable })),
          bindings: bindings.map(({ exchange, queue, bindingKey }) => ({
            source: exchange,
            destination: queue,
            destination_type: 'queue',
            routing_key: bindingKey,
            arguments: {},
          })),
        },
      });
    },
  };
}

function exchangeCalls(call: CallManagement): Management['exchanges'] {
  return {
    async list(vhost) {
      const path = `${pathOf('exchanges', vhost)}?columns=name,type,arguments`;
      const answer = await call({ method: 'GET', path, doing: `list the exchanges of "${vhost}"` });
      return rowsOf(answer).map((row) => ({
        name: textOf(row['name']),
        type: textOf(row['type']),
        arguments: fieldsOf(row['arguments']),
      }));
    },
    async remove(vhost, exchange) {
      const doing = `delete the exchange "${exchange}"`;
      await call({ method: 'DELETE', path: pathOf('exchanges', vhost, exchange), doing });
    },
  };
}

function queueCalls(call: CallManagement): Management['queues'] {
  return {
    async list(vhost) {
      const path = `${pathOf('queues', vhost)}?columns=${queueColumns}`;
      const answer = await call({ method: 'GET', path, doing: `list the queues of "${vhost}"` });
      return rowsOf(answer).map((row) => ({
        name: textOf(row['name']),
        arguments: fieldsOf(row['arguments']),
        ...given('state', row['state']),
        ...given('leader', row['leader']),
        members: textsOf(row['members']),
        online: textsOf(row['online']),
        messages: numberOf(row['messages']),
        consumers: numberOf(row['consumers']),
        ...given('policy', row['policy']),
        ...given('operatorPolicy', row['operator_policy']),
      }));
    },
    async remove(vhost, queue) {
      const doing = `delete the queue "${queue}"`;
      await call({ method: 'DELETE', path: pathOf('queues', vhost, queue), doing });
    },
  };
}

function bindingCalls(call: CallManagement): Management['bindings'] {
  return {
    async list(vhost) {
      const answer = await call({
        method: 'GET',
        path: pathOf('bindings', vhost),
        doing: `list the bindings of "${vhost}"`,
      });
      return rowsOf(answer).map((row) => ({
        source: textOf(row['source']),
        destination: textOf(row['destination']),
        destinationType: row['destination_type'] === 'exchange' ? 'exchange' : 'queue',
        bindingKey: textOf(row['routing_key']),
        arguments: fieldsOf(row['arguments']),
        propertiesKey: textOf(row['properties_key']),
      }));
    },
    async remove(vhost, { source, destination, destinationType, propertiesKey }) {
      const kind = destinationType === 'exchange' ? 'e' : 'q';
      await call({
        method: 'DELETE',
        path: `${pathOf('bindings', vhost, 'e', source, kind, destination)}/${encodeURIComponent(propertiesKey)}`,
        doing: `unbind "${destination}" from the exchange "${source}"`,
      });
    },
  };
}
