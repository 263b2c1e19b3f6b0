/**
 * The guard's protocol: at least once becomes one effect.
 *
 *   reserve   SET key "P:<token>:<fingerprint>" NX PX lease     nobody else runs this handler now
 *   renew     compare token, extend the lease                    at a third of the lease, while the handler runs
 *   complete  compare token, SET key "D:<token>:<fingerprint>"   done: later copies are duplicates, for the ttl
 *   release   compare token, DEL key                             the handler failed: the next try may run
 *
 * A bare SETNX cannot tell *running* from *done*, which is why the value carries a state, a token (a stale holder can
 * neither complete nor release) and a fingerprint (the same id with another body is refused).
 * A crash after the handler's effect and before `complete` is not closed here: that takes the unique row in the
 * handler's own transaction (`once`).
 */
export type Reservation =
  | { readonly outcome: 'reserved'; readonly token: string }
  | { readonly outcome: 'duplicate' }
  | { readonly outcome: 'in-flight'; readonly retryAfterMs: number }
  | { readonly outcome: 'mismatch' };

export interface Guard {
  /** @throws Problem `redis-unavailable` or `database-unavailable` when the guard itself cannot be asked */
  reserve(key: string, fingerprint: string, leaseMs: number): Promise<Reservation>;
  /** False when the lease is lost: somebody else may run by now. */
  renew(key: string, token: string, leaseMs: number): Promise<boolean>;
  /**
   * Writes the done marker, also when the lease ran out and nobody took the key since: the effect did happen.
   * False when somebody else holds the key by now; the marker is not written then.
   */
  complete(
    key: string,
    token: string,
    options: { readonly fingerprint: string; readonly ttlMs: number },
  ): Promise<boolean>;
  release(key: string, token: string): Promise<void>;
}
