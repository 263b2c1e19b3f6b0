import { describe, expect, it } from 'vitest';
import { liveSecrets } from '../../shared/subscriptions/live-secrets.ts';

describe('the secrets that sign', () => {
  const secrets = ['whsec_new', 'whsec_old', 'whsec_oldest'];

  it('are all of them while nothing is said of their end', () => {
    expect(liveSecrets({ secrets }, 5_000)).toEqual(secrets);
    expect(liveSecrets({ secrets: [] }, 5_000)).toEqual([]);
  });

  it('are the newest for ever, and each of the others until its own time is over', () => {
    const rotated = { secrets, retiring: [3_000, 2_000] };
    expect(liveSecrets(rotated, 1_999)).toEqual(secrets);
    expect(liveSecrets(rotated, 2_000)).toEqual(['whsec_new', 'whsec_old']);
    expect(liveSecrets(rotated, 3_000)).toEqual(['whsec_new']);
  });
});
