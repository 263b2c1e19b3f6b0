/** Pulling messages: contracts between edge and SET. */
import type { Message } from '../message/message.ts';

export interface PullRequest {
  readonly subscription: string;
  /** At most so many. */
  readonly max: number;
  readonly leaseMs: number;
}

/** A message in the hands of whoever pulled it. */
export interface PulledMessage {
  readonly message: Message;
  /** 1 for the first try; 0 for a `fast` message, which is handed out once and not answered. */
  readonly attempt: number;
}
