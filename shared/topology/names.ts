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

/** What a queue's name follows from. */
export interface QueueShape {
  readonly name: string;
  readonly maxLength?: number | undefined;
}

/**
 * RabbitMQ never changes the arguments of a queue, so one with other arguments has another name; `~` is in no
 * subscription's name.
 * @example queueOf({ name: 'mail', maxLength: 1000 }) // setway.sub.mail~max-1000
 */
export function queueOf({ name, maxLength }: QueueShape, priority: Priority = 'normal'): string {
  return `setway.${infix[priority]}sub.${name}${maxLength === undefined ? '' : `~max-${maxLength}`}`;
}

/**
 * Whose queue it is; undefined for the dead-letter queue and for what is not ours.
 * @example subscriptionOf('setway.high.sub.mail~max-1000') // mail
 */
export function subscriptionOf(queue: string): string | undefined {
  return /^setway\.(?:high\.)?sub\.([^~]+)/.exec(queue)?.[1];
}
