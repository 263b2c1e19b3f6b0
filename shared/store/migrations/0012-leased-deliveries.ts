/**
 * Deliveries that a consumer holds: it will say later what became of them (shared/delivery/answer.ts). `entry` is the
 * agenda entry that goes on with an open delivery: due when its lease ends, or at its next try.
 */
export const leasedDeliveries = `
ALTER TABLE delivery DROP CONSTRAINT delivery_state_check;
-- Partitions that were made first and attached then have the rule as their own.
DECLARE
  part regclass;
BEGIN
  FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'delivery'::regclass LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS delivery_state_check', part);
  END LOOP;
END;
ALTER TABLE delivery ADD CONSTRAINT delivery_state_check
  CHECK (state IN ('DONE', 'RETRY', 'LEASED', 'DEAD', 'SKIPPED', 'BLOCKED'));
ALTER TABLE delivery ADD COLUMN entry bigint;

CREATE OR REPLACE FUNCTION is_open(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state IN ('SCHEDULED', 'HALF', 'CHECK_EXHAUSTED', 'READY', 'RETRY', 'LEASED', 'BLOCKED')
$$;
`;
