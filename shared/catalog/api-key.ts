export type Scope = 'publish' | 'read' | 'manage';

/** An API key as kept: never the secret, only its hash. */
export interface ApiKey {
  /** Public part, between prefix and secret: names the key in logs and lists. */
  readonly id: string;
  readonly owner: string;
  /** SHA-256 of the secret part, lower-case hex. The secret has 192 random bits, so a slow hash would add nothing. */
  readonly secretHash: string;
  readonly scopes: readonly Scope[];
  /** May send coordinates of the publisher (`Setway-Latitude`, `Setway-Longitude`). */
  readonly maySetPlace: boolean;
  /** RFC 3339, or null for no expiry. */
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
}
