/**
 * What the send modes need of every message: when it falls due, its place in an order, its transaction, and a log of
 * what happened to it. Columns that search or release look at stand in `message`; what only the envelope carries stands
 * in `message_body.options`.
 */
export const sendModes = `
ALTER TABLE message DROP CONSTRAINT message_state_check;
ALTER TABLE message ADD CONSTRAINT message_state_check CHECK (state IN (
  'HALF', 'ROLLED_BACK', 'CHECK_EXHAUSTED', 'SCHEDULED', 'CANCELLED', 'READY', 'CONFIRMED', 'UNROUTABLE', 'FAILED'));
ALTER TABLE message
  ADD COLUMN deliver_at timestamptz,
  ADD COLUMN expires_at timestamptz,
  ADD COLUMN lane text,
  ADD COLUMN session text,
  ADD COLUMN sequence integer,
  ADD COLUMN transaction_id uuid;
ALTER TABLE message_body ADD COLUMN options json;
ALTER TABLE delivery DROP CONSTRAINT delivery_state_check;
ALTER TABLE delivery ADD CONSTRAINT delivery_state_check CHECK (state IN ('DONE', 'RETRY', 'DEAD', 'SKIPPED', 'BLOCKED'));

-- What happened to a message beside its webhook calls: moved, cancelled, committed …
CREATE TABLE message_event (
  message_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  change text NOT NULL,
  by_whom text NOT NULL,
  detail text
) PARTITION BY RANGE (message_id);
CREATE INDEX message_event_message ON message_event (message_id, at);
CREATE TABLE message_event_stray PARTITION OF message_event DEFAULT;

CREATE OR REPLACE FUNCTION make_day(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  part text;
  made boolean := false;
BEGIN
  FOREACH part IN ARRAY ARRAY['message', 'message_body', 'message_event', 'delivery', 'attempt'] LOOP
    CONTINUE WHEN to_regclass(part || to_char(day, '_YYYYMMDD')) IS NOT NULL;
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = %s)',
      part || to_char(day, '_YYYYMMDD'), part, day_floor(day), day_floor(day + 1),
      CASE part WHEN 'message' THEN 55 WHEN 'delivery' THEN 85 ELSE 100 END);
    made := true;
  END LOOP;
  RETURN made;
EXCEPTION WHEN check_violation THEN
  RETURN false; -- strays lie in that day: they keep it until the retention has taken them
END $$;

SELECT make_day(current_date + n) FROM generate_series(-1, 7) AS n;
`;
