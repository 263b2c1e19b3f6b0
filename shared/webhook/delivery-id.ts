/**
 * The id of one try of a delivery, which is at once the right to say what became of it: handed to the webhook as
 * `setway-delivery`, or to whoever pulled the message. It names message, try, SET and subscription, and begins with 128
 * bits of an HMAC-SHA256 (RFC 2104) under a key of the deployment, so that nobody can make up another one. It opens
 * nothing but this delivery.
 *
 *     dlv_ + base64url( 16 bytes HMAC, text "<digits of the message's id>/<try>/<SET>/<subscription>" )
 *
 * It is not kept anywhere: the first key signs, every key is tried, so ids outlive the rotation of a key.
 */
import { Buffer } from 'node:buffer';
import { timingSafeEqual } from 'node:crypto';
import { parseMessageId, type MessageId } from '../identifier.ts';
import { Problem } from '../problem.ts';
import { hmacUnder } from './hmac.ts';

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
const longest = 512;

/**
 * @param keys 32 bytes each, the newest first
 * @example createDeliveryIds(settings.SETWAY_ENCRYPTION_KEYS).write({ messageId, set: 'frankfurt', subscription: 'receipt', attempt: 1 })
 */
export function createDeliveryIds(keys: readonly Uint8Array[]): DeliveryIds {
  // A key for one purpose: the deployment's own encrypts.
  const macs = keys.map((key) => {
    const hmac = hmacUnder(hmacUnder(key)(Buffer.from('setway delivery id')));
    return (names: string): Buffer => hmac(Buffer.from(names, 'latin1')).subarray(0, macBytes);
  });
  const [newest] = macs;
  if (!newest) throw new Problem('invalid-settings', 'There is no key to sign delivery ids with.');
  return {
    write({ messageId, set, subscription, attempt }) {
      const names = `${messageId.slice(4)}/${attempt}/${set}/${subscription}`;
      return prefix + Buffer.concat([newest(names), Buffer.from(names, 'latin1')]).toString('base64url');
    },
    read(text) {
      const written = text.length <= longest && text.startsWith(prefix) ? text.slice(prefix.length) : '';
      const bytes = Buffer.from(written, 'base64url');
      const mac = bytes.subarray(0, macBytes);
      const names = bytes.toString('latin1', macBytes);
      // Decoding is lenient: only the one way of writing it is the id.
      const isWritten = mac.length === macBytes && bytes.toString('base64url') === written;
      if (!isWritten || !macs.some((macOf) => timingSafeEqual(macOf(names), mac)))
        throw new Problem(
          'not-found',
          'There is no delivery with this id. It is the setway-delivery of a call.',
        );
      const [digits = '', attempt, set = '', subscription = ''] = names.split('/');
      return { messageId: parseMessageId(`msg_${digits}`), attempt: Number(attempt), set, subscription };
    },
  };
}
