import { describe, expect, it } from 'vitest';
import { topic } from '../../shared/catalog/topic-schema.ts';
import { federatedSets, federationFaults } from '../../shared/subscriptions/replication.ts';

const sets = [
  { id: 'center', kind: 'center' },
  { id: 'reserve', kind: 'center' },
  { id: 'hangzhou', kind: 'unit' },
  { id: 'frankfurt', kind: 'unit' },
] as const;

describe('a topic replicates between', () => {
  it('all SETs, or those it names, or none', () => {
    expect(federatedSets({}, 'anywhere', sets)).toEqual(sets.map(({ id }) => id));
    const between = ['frankfurt', 'hangzhou', 'gone'];
    expect(federatedSets({ between }, 'anywhere', sets)).toEqual(['hangzhou', 'frankfurt']);
    expect(federatedSets(undefined, 'anywhere', sets)).toEqual([]);
  });

  it('no SET alone', () => {
    expect(federatedSets({ between: ['frankfurt', 'gone'] }, 'anywhere', sets)).toEqual([]);
  });

  it('center SETs alone when it belongs to the center', () => {
    expect(federatedSets({}, 'center', sets)).toEqual(['center', 'reserve']);
  });
});

describe('refused is', () => {
  it('a SET that is not there', () => {
    expect(federationFaults({ between: ['hangzhou', 'nowhere'] }, 'anywhere', sets)).toEqual([
      { at: '/between/1', detail: 'There is no SET "nowhere".' },
    ]);
  });

  it('a center topic that would reach a unit, named or not', () => {
    for (const federated of [{}, { between: ['center', 'hangzhou'] }]) {
      const [fault] = federationFaults(federated, 'center', sets);
      expect(fault?.at).toBe('/between');
      expect(fault?.detail).toContain('"hangzhou" is a unit');
    }
    expect(federationFaults({ between: ['center', 'reserve'] }, 'center', sets)).toEqual([]);
  });

  it('what is no replication', () => {
    const refused = [
      true,
      { between: ['hangzhou'] },
      { between: ['hangzhou', 'hangzhou'] },
      { between: ['hangzhou', 'amq.x'] },
      { others: 'deliver' },
      { keepForMs: 59_999 },
      { keepForMs: '1d' },
      { max: 1 },
    ];
    const isTaken = (replicate: unknown) => topic.safeParse({ name: 'orders', replicate }).success;
    expect(refused.filter(isTaken)).toEqual([]);
    expect(topic.parse({ name: 'orders', replicate: {} }).replicate).toEqual({
      others: 'hold',
      keepForMs: 86_400_000,
    });
  });
});
