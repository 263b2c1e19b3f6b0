/** Messages that another SET is to deliver, as plain rows: what a database has of them, whatever its columns. */

export interface UndeliveredPage {
  readonly subscriptions: readonly string[];
  /** Topics of these subscriptions. */
  readonly topics: readonly string[];
  /** Only ids after it; `''` from the beginning. */
  readonly after: string;
}

export interface CopiedMessage {
  readonly id: string;
  /** Rows of `message` and `message_body`, by column. */
  readonly message: object;
  readonly body: object;
}

export interface Undelivered {
  readonly messages: readonly CopiedMessage[];
  /** How many of them belong to a lane or a sequence. */
  readonly ordered: number;
  /** Where the next page begins; absent after the last one. */
  readonly next?: string;
}
