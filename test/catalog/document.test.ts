import { describe, expect, it } from 'vitest';
import { compileCatalog, openSet, resealDocument, sealSeed } from '../../shared/catalog/document.ts';
import { parseSeed, type SeedInput } from '../../shared/catalog/seed.ts';
import { createSealer } from '../../shared/sealed.ts';

const older = createSealer([new Uint8Array(32).fill(1)]);
const newer = createSealer([new Uint8Array(32).fill(2), new Uint8Array(32).fill(1)]);
const hangzhou = {
  id: 'hangzhou',
  number: 1,
  kind: 'unit' as const,
  place: { latitude: 30.27, longitude: 120.15 },
  brokerUrls: ['amqp://broker/hangzhou'],
  databaseUrls: ['postgres://db/hangzhou'],
};
const managed: SeedInput = {
  sets: [
    {
      ...hangzhou,
      managementUrl: 'https://admin:s3cr3t@broker:15671',
      capacity: 2_000,
      drift: 'repair',
      access: 'managed',
    },
  ],
};

describe('a SET in the catalog', () => {
  it('keeps its management URL sealed and hands it to those who reach it', () => {
    const document = sealSeed(parseSeed(managed), older);
    expect(JSON.stringify(document)).not.toContain('s3cr3t');
    const { access, sets } = compileCatalog(1, document, {}, older);
    expect(access.get('hangzhou')?.managementUrl).toBe('https://admin:s3cr3t@broker:15671');
    expect(JSON.stringify([...sets.values()])).not.toContain('s3cr3t');
    const [kept] = document.sets;
    expect(kept && openSet(kept, older)).toMatchObject({
      managementUrl: 'https://admin:s3cr3t@broker:15671',
    });
  });

  it('goes on under a new key', () => {
    const document = resealDocument(sealSeed(parseSeed(managed), older), newer);
    const alone = createSealer([new Uint8Array(32).fill(2)]);
    expect(compileCatalog(1, document, {}, alone).access.get('hangzhou')?.managementUrl).toContain('s3cr3t');
  });

  it('needs none of it: documents of before still serve', () => {
    const document = sealSeed(parseSeed({ sets: [hangzhou] }), older);
    expect(Object.keys(document.sets[0] ?? {})).not.toContain('managementUrl');
    expect(compileCatalog(1, document, {}, older).access.get('hangzhou')).toEqual({
      brokerUrls: ['amqp://broker/hangzhou'],
      databaseUrls: ['postgres://db/hangzhou'],
    });
  });

  it('knows the load where it knows the capacity, and goes on when something was seen of a SET that is gone', () => {
    const seen = {
      health: { hangzhou: 'up', retired: 'up' },
      rates: { hangzhou: 1_500, retired: 9 },
    } as const;
    const compiled = (seed: SeedInput) => compileCatalog(1, sealSeed(parseSeed(seed), older), seen, older);
    expect(compiled(managed).table).toMatchObject({ health: ['up'], loads: [0.75] });
    expect(compiled({ sets: [hangzhou] }).table.loads).toEqual([undefined]);
  });
});
