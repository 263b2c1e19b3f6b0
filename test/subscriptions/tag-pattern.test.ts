import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tagPattern, tagWords } from '../../shared/subscriptions/tag-pattern.ts';

/** RabbitMQ's rules told the long way: by trying every number of words for every `#`. */
function hears(binding: readonly string[], tag: readonly string[]): boolean {
  const [first, ...rest] = binding;
  if (first === undefined) return tag.length === 0;
  if (first === '#')
    return Array.from({ length: tag.length + 1 }, (_, taken) => taken).some((taken) =>
      hears(rest, tag.slice(taken)),
    );
  if (tag.length === 0) return false;
  return (first === '*' || first === tag[0]) && hears(rest, tag.slice(1));
}

const wordsOf = (key: string): readonly string[] => (key === '' ? [] : key.split('.'));
const word = fc.constantFrom('a', 'b', 'a-b', '', 'a+b', '(x)');
const bindingWord = fc.oneof(word, fc.constantFrom('*', '#'));
const keyOf = (words: fc.Arbitrary<string>) => fc.array(words, { maxLength: 5 }).map((all) => all.join('.'));

describe('the pattern of binding keys', () => {
  it('a topic hears what RabbitMQ would route', () => {
    fc.assert(
      fc.property(fc.array(keyOf(bindingWord), { maxLength: 3 }), keyOf(word), (bindings, tag) => {
        const expected = bindings.some((binding) => hears(wordsOf(binding), wordsOf(tag)));
        expect(new RegExp(tagPattern('topic', bindings)).test(tagWords(tag))).toBe(expected);
      }),
    );
  });

  it.each([
    ['fanout', [], 'anything', true],
    ['direct', ['a.b'], 'a.b', true],
    ['direct', ['a.*'], 'a.b', false],
    ['direct', [''], '', true],
    ['topic', ['#'], '', true],
    ['topic', ['*'], '', false],
    ['topic', ['a.#'], 'a', true],
    ['topic', ['a.b'], 'axb', false],
  ] as const)('%s %j hears "%s": %s', (type, bindings, tag, expected) => {
    expect(new RegExp(tagPattern(type, bindings)).test(tagWords(tag))).toBe(expected);
  });
});
