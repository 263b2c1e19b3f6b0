import { describe, expect, it } from 'vitest';
import { didYouMean, nearestName } from '../shared/nearest-name.ts';

const names = ['hangzhou', 'frankfurt', 'virginia', 'center'];

describe('the nearest name', () => {
  it.each([
    ['hangzou', 'hangzhou'],
    ['Hangzhou', 'hangzhou'],
    ['centre', 'center'],
    ['frankfrut', 'frankfurt'],
    ['tokyo', undefined],
    ['', undefined],
    ['x'.repeat(100_000), undefined],
  ])('of %j is %j', (wrong, nearest) => {
    expect(nearestName(wrong, names)).toBe(nearest);
  });

  it('becomes a question, or nothing', () => {
    expect(didYouMean('virgina', names)).toBe(' Did you mean "virginia"?');
    expect(didYouMean('tokyo', names)).toBe('');
  });
});
