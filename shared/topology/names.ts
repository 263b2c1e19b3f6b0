/** Every name Setway gives to something in RabbitMQ. */
export const deadLetterExchange = 'setway.dead';
export const deadLetterQueue = 'setway.dead';

/**
 * Messages of high priority have exchanges and queues of their own: a quorum queue keeps one order, so nothing overtakes
 * inside it.
 */
export const priorities = ['normal', 'high'] as const;
export type Priority = (typeof priorities)[number];

const infix: Readonly<Record<Priority, string>> = { normal: '', high: 'high.' };

export function exchangeOf(topic: string, priority: Priority = 'normal'): string {
  return `setway.${infix[priority]}topic.${topic}`;
}

export function queueOf(subscription: string, priority: Priority = 'normal'): string {
  return `setway.${infix[priority]}sub.${subscription}`;
}
