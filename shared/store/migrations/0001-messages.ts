/**
 * Messages, deliveries and the agenda of one SET's database.
 *
 * Messages are partitioned by day through their id: a UUIDv7 begins with its time, so `PARTITION BY RANGE (id)` cuts
 * by day and the id alone is a primary key. `message` is narrow and its `state` is not indexed, so that marking a
 * confirm is a heap-only update; what waits to be done stands in `agenda`.
 */
export const messages = `
CREATE TABLE message (
  id uuid PRIMARY KEY,
  owner text NOT NULL,
  topic text NOT NULL,
  tag text,
  key text,
  state text NOT NULL DEFAULT 'READY' CHECK (state IN ('READY', 'CONFIRMED', 'UNROUTABLE', 'FAILED')),
  set_id text NOT NULL,
  reason text NOT NULL,
  distance_km real,
  send_attempts integer NOT NULL DEFAULT 0,
  error text,
  size integer NOT NULL,
  accepted_at timestamptz NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT now(),
  confirmed_at timestamptz
) PARTITION BY RANGE (id);

CREATE TABLE message_body (
  id uuid PRIMARY KEY,
  content_type text NOT NULL,
  headers json NOT NULL,
  traceparent text,
  body bytea NOT NULL
) PARTITION BY RANGE (id);

-- A row appears with the first outcome of a delivery.
CREATE TABLE delivery (
  message_id uuid NOT NULL,
  subscription text NOT NULL,
  state text NOT NULL CHECK (state IN ('DONE', 'RETRY', 'DEAD')),
  attempts integer NOT NULL,
  next_attempt_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (message_id, subscription)
) PARTITION BY RANGE (message_id);

CREATE TABLE attempt (
  message_id uuid NOT NULL,
  subscription text NOT NULL,
  attempt integer NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  host text NOT NULL,
  status integer,
  outcome text NOT NULL,
  duration_ms real NOT NULL,
  error text
) PARTITION BY RANGE (message_id);
CREATE INDEX attempt_message ON attempt (message_id, subscription, attempt);

CREATE SEQUENCE lease_token;

-- Due work of every kind. A claim pushes due_at into the future and takes a new lease token: whoever dies with it
-- leaves it to be claimed again, and whoever comes late with an old token changes nothing.
CREATE TABLE agenda (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  set_id text NOT NULL,
  refs uuid[] NOT NULL,
  subscription text,
  due_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  lease_token bigint NOT NULL DEFAULT nextval('lease_token')
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX agenda_due ON agenda (set_id, kind, due_at);

-- The second half of a client's Idempotency-Key.
CREATE TABLE idempotency (
  owner text NOT NULL,
  key_hash text NOT NULL,
  fingerprint text NOT NULL,
  message_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (owner, key_hash)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

-- First and last id of a UTC day.
CREATE FUNCTION day_floor(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(to_hex((extract(epoch FROM day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of one day; says whether there was anything to make.
CREATE FUNCTION make_day(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  part text;
BEGIN
  IF to_regclass('message_' || to_char(day, 'YYYYMMDD')) IS NOT NULL THEN RETURN false; END IF;
  FOREACH part IN ARRAY ARRAY['message', 'message_body', 'delivery', 'attempt'] LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = %s)',
      part || to_char(day, '_YYYYMMDD'), part, day_floor(day), day_floor(day + 1),
      CASE part WHEN 'message' THEN 55 WHEN 'delivery' THEN 85 ELSE 100 END);
  END LOOP;
  RETURN true;
EXCEPTION WHEN check_violation THEN
  RETURN false; -- strays lie in that day: they keep it until the retention has taken them
END $$;

-- For clocks far off: ids of days that have no partition.
CREATE TABLE message_stray PARTITION OF message DEFAULT;
CREATE TABLE message_body_stray PARTITION OF message_body DEFAULT;
CREATE TABLE delivery_stray PARTITION OF delivery DEFAULT;
CREATE TABLE attempt_stray PARTITION OF attempt DEFAULT;

SELECT make_day(current_date + n) FROM generate_series(-1, 7) AS n;
`;
