/** What the doors need, married by a shell. */
import type { Buckets } from '../shared/catalog/publish-limit.ts';
import type { CatalogSource } from '../shared/catalog/catalog.ts';
import type { CatalogWriter } from '../shared/catalog/catalog-writer.ts';
import type { Clock } from '../shared/clock.ts';
import type { FleetParts } from '../shared/fleet/fleet.ts';
import type { MoveParts } from '../shared/fleet/move-buckets.ts';
import type { Publisher } from '../shared/publish/publisher.ts';
import type { Sealer } from '../shared/sealed.ts';
import type { TakenOver, TakeOverWish } from '../shared/fleet/take-over.ts';
import type { JobRun } from '../shared/store/job-runs.ts';
import type { Platform } from '../shared/sets/place.ts';
import type { SetLink } from '../shared/sets/set-link.ts';
import type { Telemetry } from '../shared/telemetry.ts';
import type { DeliveryIds } from '../shared/webhook/delivery-id.ts';
import type { WebhookUrlPolicy } from '../shared/webhook/address.ts';

export interface Services {
  readonly clock: Clock;
  readonly catalog: CatalogSource;
  readonly catalogWriter: CatalogWriter;
  readonly sealer: Sealer;
  /** The control plane of SETs. */
  readonly fleet: FleetParts;
  /** Moves what a SET has not delivered to siblings, with its buckets. @throws the Problems of the take-over */
  readonly takeOver: (wish: TakeOverWish) => Promise<TakenOver>;
  /** Gives a SET back to its hosts and its traffic. @throws Problem `conflict` with what is missing */
  readonly comeBack: (set: string) => Promise<void>;
  /** Owners whose keys may use it. */
  readonly operators: readonly string[];
  /** For moves of buckets between SETs. */
  readonly moves: MoveParts;
  readonly publisher: Publisher;
  /** What keys and topics still let through. */
  readonly limiter: Buckets;
  /** The last runs of these jobs. @throws Problem `database-unavailable` */
  readonly jobRuns: (jobs: readonly string[]) => Promise<readonly JobRun[]>;
  /** The link to a SET by its id. @throws Problem `not-found` */
  readonly link: (set: string) => SetLink;
  /** Whether the breaker of a SET lets requests through now. */
  readonly isUsable: (set: string) => boolean;
  readonly telemetry: Telemetry;
  /** Whose geolocation headers to trust. */
  readonly platform: Platform;
  /** Whether `/metrics` asks for an API key. */
  readonly metricsAccess: 'open' | 'key';
  readonly limits: {
    /** Of one message. */
    readonly maxBodyBytes: number;
    /** Of a request that carries many. */
    readonly maxBulkBytes: number;
  };
  /** Which URLs clients may have called. */
  readonly webhookPolicy: WebhookUrlPolicy;
  readonly deliveryIds: DeliveryIds;
}
