import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { mintMessageId } from '../../shared/identifier.ts';
import { createDeliveryIds } from '../../shared/webhook/delivery-id.ts';
import { leaseMsOf } from '../../shared/webhook/lease.ts';

const [older, newer] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
const delivery = {
  messageId: mintMessageId({ setNumber: 3, shard: 1 }, 1_700_000_000_000),
  set: 'frankfurt',
  subscription: 'mail.receipts',
  attempt: 3,
};

describe('the id of a delivery', () => {
  it('says again what it was written for', () => {
    const ids = createDeliveryIds([newer]);
    expect(ids.read(ids.write(delivery))).toEqual(delivery);
  });

  it('is signed by an HMAC-SHA256, as another implementation makes it', () => {
    const bytes = Buffer.from(createDeliveryIds([newer]).write(delivery).slice(4), 'base64url');
    const key = createHmac('sha256', newer).update('setway delivery id').digest();
    const mac = createHmac('sha256', key).update(bytes.subarray(16)).digest().subarray(0, 16);
    expect(bytes.subarray(0, 16)).toEqual(mac);
  });

  it('outlives the rotation of its key', () => {
    const text = createDeliveryIds([older]).write(delivery);
    expect(createDeliveryIds([newer, older]).read(text)).toEqual(delivery);
    expect(() => createDeliveryIds([newer]).read(text)).toThrow('There is no delivery');
  });

  it('cannot be made out of another one', () => {
    const ids = createDeliveryIds([newer]);
    const text = ids.write(delivery);
    for (let at = 0; at < text.length; at++) {
      const other = `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
      expect(() => ids.read(other)).toThrow('There is no delivery');
    }
    for (const other of [
      '',
      'dlv_',
      text.slice(0, -1),
      `${text}A`,
      `${text}=`,
      ` ${text}`,
      'dlv_'.padEnd(600, 'A'),
    ])
      expect(() => ids.read(other)).toThrow('There is no delivery');
  });
});

describe('the lease a webhook asks for', () => {
  it.each([
    [undefined, 600_000],
    ['10m', 600_000],
    ['90', 90_000],
    ['0', 1_000],
    ['48h', 86_400_000],
    ['-1', 600_000],
    ['soon', 600_000],
  ])('%s is %s ms', (written, ms) => {
    expect(leaseMsOf(written)).toBe(ms);
  });
});
