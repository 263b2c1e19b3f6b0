/**
 * The id of one try of a delivery, which is at once the right to say what became of it: handed to the webhook as
 * `setway-delivery`, or to whoever pulled the message. It names message, try, SET and subscription, and ends with 128
 * bits of an HMAC-SHA256 (RFC 2104) under a key of the deployment, so that nobody can make up another one. It opens
 * nothing but this delivery.
 *
 *     dlv_ + base64url( 16 bytes message, 2 bytes try, 16 bytes HMAC, text "<SET>/<subscription>" )
 *
 * It is not kept anywhere: the first key signs, every key is tried, so ids outlive the rotation of a key.
 */
import { Buffer } from 'node:buffer';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { fromUuid, toUuid, type MessageId } from '../identifier.ts';
import { Problem } from '../problem.ts';

/** One try of a delivery. */
export interface DeliveryTry {
  readonly messageId: MessageId;
  /** The SET that delivers it. */
  readonly set: string;
  readonly subscription: string;
  /** 1 for the first. */
  readonly attempt: number;
}

export interface DeliveryIds {
  write(each: DeliveryTry): string;
  /** @throws Problem `not-found` for what was not written here */
  read(text: string): DeliveryTry;
}

const prefix = 'dlv_';
const macBytes = 16;
const headBytes = 18;
const longest = 512;

/**
 * @param keys 32 bytes each, the newest first
 * @example createDeliveryIds(settings.SETWAY_ENCRYPTION_KEYS).write({ messageId, set: 'frankfurt', subscription: 'receipt', attempt: 1 })
 */
export function createDeliveryIds(keys: readonly Uint8Array[]): DeliveryIds {
  // A key for one purpose: the deployment's own encrypts.
  const own = keys.map((key) => createHmac('sha256', key).update('setway delivery id').digest());
  const [newest] = own;
  if (!newest) throw new Problem('invalid-settings', 'There is no key to sign delivery ids with.');
  return {
    write({ messageId, set, subscription, attempt }) {
      const head = Buffer.alloc(headBytes);
      head.write(toUuid(messageId).replaceAll('-', ''), 'hex');
      head.writeUInt16BE(Math.min(attempt, 0xffff), 16);
      const tail = Buffer.from(`${set}/${subscription}`);
      return prefix + Buffer.concat([head, macOf(newest, head, tail), tail]).toString('base64url');
    },
    read(text) {
      const bytes = Buffer.from(
        text.length <= longest && text.startsWith(prefix) ? text.slice(4) : '',
        'base64url',
      );
      const [head, tail] = [bytes.subarray(0, headBytes), bytes.subarray(headBytes + macBytes)];
      const mac = bytes.subarray(headBytes, headBytes + macBytes);
      // Decoding is lenient: only the one way of writing it is the id.
      const isWritten = mac.length === macBytes && prefix + bytes.toString('base64url') === text;
      if (!isWritten || !own.some((key) => timingSafeEqual(macOf(key, head, tail), mac)))
        throw new Problem(
          'not-found',
          'There is no delivery with this id. It is the setway-delivery of a call.',
        );
      const names = tail.toString();
      const cut = names.indexOf('/');
      return {
        messageId: fromUuid(head.toString('hex', 0, 16)),
        attempt: head.readUInt16BE(16),
        set: names.slice(0, cut),
        subscription: names.slice(cut + 1),
      };
    },
  };
}

function macOf(key: Uint8Array, head: Uint8Array, tail: Uint8Array): Buffer {
  return createHmac('sha256', key).update(head).update(tail).digest().subarray(0, macBytes);
}
