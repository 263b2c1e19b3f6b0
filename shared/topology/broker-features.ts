/**
 * What RabbitMQ of a version can do: the one place that knows versions. Asked before something is declared that another
 * version would refuse, or silently do otherwise.
 */

export interface BrokerFeatures {
  /** Classic mirrored queues (`ha-mode` policies) are there: gone since 4.0, where quorum queues alone replicate. */
  readonly mirroredQueues: boolean;
  /** `x-queue-mode: lazy` means something: since 3.12 all queues keep messages on disk, since 4.x it is an error. */
  readonly queueMode: boolean;
  /** A policy may be for `quorum_queues` alone: since 3.12; before, for all `queues`. */
  readonly policiesByQueueType: boolean;
  /** `target-group-size`: since 3.13 quorum queues gain members by themselves when nodes join. */
  readonly targetGroupSize: boolean;
  /** Deliveries after which a quorum queue gives a message up when nobody says so: 20 since 4.0, before none. */
  readonly defaultDeliveryLimit: number | undefined;
  /** `GET /api/deprecated-features/used`: since 3.12. */
  readonly deprecatedFeatures: boolean;
  /** Largest message in bytes unless configured: 16 MiB since 4.0, before 128 MiB. */
  readonly maxMessageBytes: number;
}

/** [major, minor] from which on it is so. */
const since = {
  noQueueMode: [3, 12],
  policiesByQueueType: [3, 12],
  deprecatedFeatures: [3, 12],
  targetGroupSize: [3, 13],
  four: [4, 0],
} as const;

const mebibyte = 1_048_576;

/**
 * @param version as RabbitMQ tells it, such as `3.10.8` or `4.3.0-rc.1`; what cannot be read counts as the oldest
 * @example featuresOf('3.10.8').policiesByQueueType // false
 */
export function featuresOf(version: string): BrokerFeatures {
  const [, major = '3', minor = '8'] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  const isSince = ([fromMajor, fromMinor]: readonly [number, number]): boolean =>
    Number(major) > fromMajor || (Number(major) === fromMajor && Number(minor) >= fromMinor);
  const isFour = isSince(since.four);
  return {
    mirroredQueues: !isFour,
    queueMode: !isSince(since.noQueueMode),
    policiesByQueueType: isSince(since.policiesByQueueType),
    targetGroupSize: isSince(since.targetGroupSize),
    defaultDeliveryLimit: isFour ? 20 : undefined,
    deprecatedFeatures: isSince(since.deprecatedFeatures),
    maxMessageBytes: (isFour ? 16 : 128) * mebibyte,
  };
}
