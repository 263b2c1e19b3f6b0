import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hearsTag } from '../../shared/subscriptions/filter.ts';
import { tagPattern, tagWords } from '../../shared/subscriptions/tag-pattern.ts';

/** Few letters and many wildcards, so that patterns and tags meet. */
const word = fc.constantFrom('a', 'b', '');
const tags = fc.array(word, { maxLength: 6 }).map((words) => words.join('.'));
const bindings = fc
  .array(fc.oneof(word, fc.constantFrom('*', '#')), { maxLength: 6 })
  .map((words) => words.join('.'));

it.each(['fanout', 'direct', 'topic'] as const)(
  'a %s subscription hears the same by its words and by its pattern',
  (type) => {
    fc.assert(
      fc.property(fc.array(bindings, { maxLength: 3 }), tags, (bound, tag) => {
        const byPattern = new RegExp(tagPattern(type, bound)).test(tagWords(tag));
        expect(hearsTag(type, bound, tag)).toBe(byPattern);
      }),
      { numRuns: 2_000 },
    );
  },
);

it('a pattern full of wildcards is decided at once', () => {
  const binding = Array.from({ length: 60 }, () => '#.a').join('.');
  expect(hearsTag('topic', [binding], Array.from({ length: 100 }, () => 'b').join('.'))).toBe(false);
});
