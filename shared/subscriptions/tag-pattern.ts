/** The rules of binding keys as regular expressions, so that a database can look for what a subscription hears. */
import type { TopicType } from './subscription.ts';

/**
 * A regular expression (the same for JavaScript and Postgres) against `tagWords(tag)`.
 *
 * `fanout`: everything; `direct`: an equal key; `topic`: words joined by dots, where `*` stands for exactly one word and
 * `#` for zero or more (https://www.rabbitmq.com/tutorials/tutorial-five-javascript).
 * @example new RegExp(tagPattern('topic', ['eu.*'])).test(tagWords('eu.created')) // true
 */
export function tagPattern(type: TopicType, bindings: readonly string[]): string {
  if (type === 'fanout') return '^';
  const alternatives = bindings.map((binding) =>
    wordsOf(binding)
      .map((word) => wordPattern(type, word))
      .join(''),
  );
  // Without any binding nothing is heard: no text begins after its end.
  return alternatives.length === 0 ? '$.' : `^(?:${alternatives.join('|')})$`;
}

/** Every word with a dot before it, so that no word and an empty word are told apart, as RabbitMQ does. */
export function tagWords(tag: string): string {
  return tag === '' ? '' : `.${tag}`;
}

function wordsOf(key: string): readonly string[] {
  return key === '' ? [] : key.split('.');
}

function wordPattern(type: TopicType, word: string): string {
  if (type === 'topic' && word === '#') return String.raw`(?:\.[^.]*)*`;
  if (type === 'topic' && word === '*') return String.raw`\.[^.]*`;
  return String.raw`\.` + word.replaceAll(/[^0-9A-Za-z_]/g, String.raw`\$&`);
}
