import { describe, expect, it } from 'vitest';
import { Problem } from '../shared/problem.ts';
import { readSettings } from '../shared/settings.ts';

const key = Buffer.alloc(32, 7).toString('base64');
const enough = { SETWAY_CATALOG_DATABASES: 'postgres://db/center', SETWAY_ENCRYPTION_KEYS: key };

function faultsOf(environment: Readonly<Record<string, unknown>>): readonly (readonly [string, string])[] {
  try {
    readSettings(environment);
    return [];
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'invalid-settings') throw error;
    return (error.extras.faults ?? []).map(({ at, detail }) => [at, detail] as const);
  }
}

describe('settings', () => {
  it('need two of their own, and have a default for the rest', () => {
    const settings = readSettings(enough);
    expect(settings).toMatchObject({
      SETWAY_CATALOG_DATABASES: ['postgres://db/center'],
      SETWAY_PLATFORM: 'none',
      SETWAY_HOSTED_SETS: ['*'],
      SETWAY_PRIVATE_WEBHOOKS: 'refuse',
      SETWAY_PORT: 8700,
      SETWAY_HEARTBEAT_SECONDS: 30_000,
      SETWAY_HEARTBEAT_EXPIRY_SECONDS: 120_000,
    });
    expect(settings.SETWAY_ENCRYPTION_KEYS).toEqual([new Uint8Array(32).fill(7)]);
    expect(Object.isFrozen(settings)).toBe(true);
  });

  it('promise a refusal within 3 s by default', () => {
    const { SETWAY_ACCEPT_DEADLINE_MS: deadlineMs, SETWAY_ACCEPT_TIMEOUT_MS: timeoutMs } =
      readSettings(enough);
    expect(deadlineMs).toBeLessThan(3_000);
    expect(timeoutMs * 2).toBeLessThan(deadlineMs);
  });

  it('report every fault at once, each with its name and a remedy', () => {
    const faults = faultsOf({
      SETWAY_ENCRYPTION_KEYS: 'c2hvcnQ=',
      SETWAY_PORT: '70000',
      SETWAY_PLATFORM: 'heroku',
      SETWAY_REDIS_URL: 'http://redis',
      SETWAY_HEARTBEAT_SECONDS: '1.5',
    });
    expect(Object.fromEntries(faults)).toEqual({
      SETWAY_CATALOG_DATABASES: expect.stringContaining('is not set') as string,
      SETWAY_ENCRYPTION_KEYS: expect.stringContaining('openssl rand -base64 32') as string,
      SETWAY_PORT: expect.stringContaining('65535') as string,
      SETWAY_PLATFORM: expect.stringContaining('cloudfront') as string,
      SETWAY_REDIS_URL: expect.any(String) as string,
      SETWAY_HEARTBEAT_SECONDS: 'must be a whole number',
    });
    expect(() => readSettings({})).toThrow(/SETWAY_CATALOG_DATABASES: is not set[^]*SETWAY_ENCRYPTION_KEYS/);
  });

  it.each([
    ['SETWAY_PORT', '0x10'],
    ['SETWAY_PORT', '-1'],
    ['SETWAY_MAX_BODY_BYTES', '1e6'],
    ['SETWAY_ACCEPT_DEADLINE_MS', 'soon'],
    ['SETWAY_ENCRYPTION_KEYS', 'not base64!'],
    ['SETWAY_CATALOG_DATABASES', ' , '],
    ['SETWAY_CRON', 'yes'],
    ['SETWAY_WEBHOOK_DATABASE', 'mysql://db/x'],
  ])('refuse %s = %s', (name, value) => {
    expect(faultsOf({ ...enough, [name]: value }).map(([at]) => at)).toEqual([name]);
  });

  it('take an empty text for not set, and ignore what is not text or not theirs', () => {
    const settings = readSettings({ ...enough, SETWAY_PORT: '', SET_HOST: {}, SETWAY_X: 5, PATH: '/bin' });
    expect(settings.SETWAY_PORT).toBe(8700);
  });
});
