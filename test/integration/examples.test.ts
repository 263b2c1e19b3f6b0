/** The runnable examples of the demo: each plays to its end and finds everything as it claims. */
import { describe, expect, it } from 'vitest';
import { examples, findExample } from '../demo/examples/examples.ts';
import { perform } from '../demo/examples/stage.ts';
import { useStack } from '../stack/current-stack.ts';

describe('the examples', () => {
  it.each(examples)(
    '$name ends right',
    async (example) => {
      const lines: string[] = [];
      const outcome = await perform(
        { addresses: useStack(), print: (line) => void lines.push(line) },
        example,
      );
      expect(outcome, lines.join('\n')).toBe('right');
    },
    60_000,
  );

  it('say that they ended wrong when a claim does not hold', async () => {
    const lines: string[] = [];
    const outcome = await perform(
      { addresses: useStack(), print: (line) => void lines.push(line) },
      {
        name: 'wrong',
        shows: 'a claim that does not hold',
        catalog: () => ({}),
        play: async ({ check }) => check('two is three', false),
      },
    );
    expect(outcome).toBe('wrong');
    expect(lines).toContain('  ✗ two is three');
  });

  it('are found by name, and a wrong name is told the nearest one', () => {
    expect(findExample('bank-transfer').name).toBe('bank-transfer');
    expect(() => findExample('bank-tranfser')).toThrow(/Did you mean "bank-transfer"\?/);
    expect(() => findExample('mail')).toThrow(/Did you mean "registration-mail"\?/);
    expect(() => findExample('nothing-like-it')).toThrow(
      /^There is no example "nothing-like-it". There are:/,
    );
  });
});
