/** Which tags a subscription hears: RabbitMQ's own rules, for deliveries that come from the store. */
import type { TopicType } from './subscription.ts';

/**
 * Whether a message with this routing key reaches a queue with these binding keys.
 *
 * `fanout`: always; `direct`: an equal key; `topic`: words joined by dots, where `*` stands for exactly one word and `#`
 * for zero or more (https://www.rabbitmq.com/tutorials/tutorial-five-javascript). Words may be empty, as in RabbitMQ:
 * the empty key is no word at all, `a.` is two.
 * @example hearsTag('topic', ['eu.*'], 'eu.created') // true
 */
export function hearsTag(type: TopicType, bindings: readonly string[], tag: string): boolean {
  switch (type) {
    case 'fanout':
      return true;
    case 'direct':
      return bindings.includes(tag);
    case 'topic':
      return bindings.some((binding) => matches(wordsOf(binding), wordsOf(tag)));
  }
}

function wordsOf(key: string): readonly string[] {
  return key === '' ? [] : key.split('.');
}

/**
 * Goes through the words once and remembers the last `#` only: what an earlier one could take, the later one can take as
 * well, so the time stays below the product of both lengths whatever the pattern.
 */
function matches(pattern: readonly string[], words: readonly string[]): boolean {
  let at = 0;
  let word = 0;
  let hashAt = -1;
  let hashTook = 0;
  while (word < words.length) {
    if (pattern[at] === '#') {
      hashAt = at++;
      hashTook = word;
    } else if (at < pattern.length && (pattern[at] === '*' || pattern[at] === words[word])) {
      at++;
      word++;
    } else if (hashAt >= 0) {
      at = hashAt + 1;
      word = ++hashTook;
    } else return false;
  }
  while (pattern[at] === '#') at++;
  return at === pattern.length;
}
