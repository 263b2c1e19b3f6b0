/** Every name Setway gives to something in RabbitMQ. */
export const deadLetterExchange = 'setway.dead';
export const deadLetterQueue = 'setway.dead';

export function exchangeOf(topic: string): string {
  return `setway.topic.${topic}`;
}

export function queueOf(subscription: string): string {
  return `setway.sub.${subscription}`;
}
