import { describe, expect, it } from 'vitest';
import { listeningSince, subscribedSince } from '../../shared/catalog/listening.ts';

const mail = { name: 'mail', topic: 'orders', bindings: ['#'] };
const stock = { name: 'stock', topic: 'orders', bindings: ['eu.*'] };

describe('since when a subscription listens', () => {
  it('since the version that brought it; always, when the oldest kept version has it', () => {
    const since = listeningSince([
      { appliedAtMs: 300, subscriptions: [mail, stock] },
      { appliedAtMs: 200, subscriptions: [mail, stock] },
      { appliedAtMs: 100, subscriptions: [mail] },
    ]);
    expect([...since]).toEqual([
      ['mail', 0],
      ['stock', 200],
    ]);
  });

  it('other bindings are another hearing, and so is a topic', () => {
    const before = {
      appliedAtMs: 100,
      subscriptions: [
        { ...mail, topic: 'mails' },
        { ...stock, bindings: ['us.*'] },
      ],
    };
    const since = listeningSince([{ appliedAtMs: 300, subscriptions: [mail, stock] }, before]);
    expect([...since.values()]).toEqual([300, 300]);
  });

  it('another filter is another hearing', () => {
    const filtered = { ...mail, filter: 'body.paid' };
    const since = listeningSince([
      { appliedAtMs: 300, subscriptions: [{ ...mail, filter: null }] },
      { appliedAtMs: 200, subscriptions: [filtered] },
    ]);
    expect(since.get('mail')).toBe(300);
  });

  it('is there since it came, whatever it hears since then', () => {
    const since = subscribedSince([
      { appliedAtMs: 300, subscriptions: [{ ...mail, bindings: ['other'] }, stock] },
      { appliedAtMs: 200, subscriptions: [mail, stock] },
      { appliedAtMs: 100, subscriptions: [stock] },
    ]);
    expect([...since.values()]).toEqual([200, 0]);
  });

  it('since what the catalog says, when its own version is kept no longer', () => {
    const since = listeningSince([{ appliedAtMs: 300, subscriptions: [{ ...mail, since: 50 }, stock] }]);
    expect([...since.values()]).toEqual([50, 0]);
  });

  it('one that was removed and came back listens since it came back', () => {
    const since = listeningSince([
      { appliedAtMs: 300, subscriptions: [mail] },
      { appliedAtMs: 200, subscriptions: [] },
      { appliedAtMs: 100, subscriptions: [mail] },
    ]);
    expect(since.get('mail')).toBe(300);
    expect(listeningSince([]).size).toBe(0);
  });
});
