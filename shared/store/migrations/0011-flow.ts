/** Fair claims among subscriptions, and keys that somebody has at work. */
export const flow = `
CREATE INDEX agenda_due_by_subscription ON agenda (set_id, kind, subscription, due_at) WHERE subscription IS NOT NULL;

-- Deliveries of one key, one at a time: who calls, and until when at the latest.
CREATE TABLE key_lease (
  subscription text NOT NULL,
  key text NOT NULL,
  host text NOT NULL,
  until timestamptz NOT NULL,
  PRIMARY KEY (subscription, key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Webhooks from which nothing but failures have come, since when, and how many.
CREATE TABLE failing_subscription (
  subscription text PRIMARY KEY,
  since timestamptz NOT NULL DEFAULT now(),
  failures bigint NOT NULL,
  error text
);
`;
