/**
 * A SET: a self-contained regional cell — one RabbitMQ cluster, its message database(s), its host.
 * `center` SETs also keep what may not leave the center; `unit` SETs are everything else.
 */
export interface SetDefinition {
  /** Name in URLs and answers: `hangzhou`. */
  readonly id: string;
  /** Number inside message ids, 0–4095; never reused for another SET. */
  readonly number: number;
  readonly kind: 'center' | 'unit';
  readonly place: Place;
  /** Share of traffic among equally good candidates; 0 takes nothing new. */
  readonly weight: number;
  readonly status: 'active' | 'draining' | 'fenced';
  /** How many databases hold its messages (shards), 1–64. */
  readonly shards: number;
  /** Of a SET that is let in slowly: the part of the traffic that nothing binds to it which may go there. Absent: all. */
  readonly share?: number | undefined;
}

/** WGS 84 degrees. */
export interface Place {
  readonly latitude: number;
  readonly longitude: number;
}

/** What the registry knows of a SET's health. `unknown`: nobody has looked yet; treated as usable. */
export type SetHealth = 'up' | 'down' | 'unknown';
