/**
 * What search, dead letters and the audit look at. Every index on `message` is on columns that never change, so that
 * marking a confirm stays a heap-only update, and none holds the id: the rows of one group commit share their
 * `stored_at`, so a btree keeps each group as one entry, which is what makes these indexes cheap.
 */
export const search = `
CREATE INDEX message_by_topic ON message (topic, stored_at);
CREATE INDEX message_by_key ON message (key, stored_at) WHERE key IS NOT NULL;
CREATE INDEX message_by_lane ON message (lane, stored_at) WHERE lane IS NOT NULL;
CREATE INDEX message_by_session ON message (session, stored_at) WHERE session IS NOT NULL;

-- The rare ends of messages, kept by a trigger so that no statement that ends one can forget it.
CREATE TABLE message_end (
  message_id uuid NOT NULL,
  state text NOT NULL,
  owner text NOT NULL,
  stored_at timestamptz NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  error text,
  PRIMARY KEY (message_id, state)
);
CREATE INDEX message_end_by_state ON message_end (owner, state, stored_at);

CREATE FUNCTION keep_message_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO message_end (message_id, state, owner, stored_at, error)
  VALUES (new.id, new.state, new.owner, new.stored_at, new.error)
  ON CONFLICT (message_id, state) DO UPDATE SET at = now(), error = excluded.error;
  RETURN NULL;
END $$;
CREATE TRIGGER message_ended AFTER UPDATE OF state ON message FOR EACH ROW
  WHEN (new.state IN ('UNROUTABLE', 'FAILED', 'CANCELLED', 'ROLLED_BACK', 'CHECK_EXHAUSTED') AND old.state <> new.state)
  EXECUTE FUNCTION keep_message_end();

-- Deliveries that are not done: few, and the only ones that change.
CREATE INDEX delivery_open ON delivery (subscription, state, updated_at, message_id) WHERE state <> 'DONE';

-- Search by error text; a trusted extension since PostgreSQL 13. Without it such a search reads more rows.
IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
  CREATE EXTENSION IF NOT EXISTS pg_trgm;
  CREATE INDEX attempt_error ON attempt USING gin (error gin_trgm_ops) WHERE error IS NOT NULL;
  CREATE INDEX message_end_error ON message_end USING gin (error gin_trgm_ops) WHERE error IS NOT NULL;
END IF;

-- Redrives of dead letters, with their progress; what is left to do stands in the agenda.
CREATE TABLE redrive (
  id uuid PRIMARY KEY,
  owner text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('dead-letters', 'subscription')),
  selection jsonb NOT NULL,
  per_second real NOT NULL,
  state text NOT NULL DEFAULT 'RUNNING' CHECK (state IN ('RUNNING', 'DONE')),
  handled bigint NOT NULL DEFAULT 0,
  after_at timestamptz,
  after_id uuid,
  began_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);

-- How far the audit has looked, and what was open when it passed.
CREATE TABLE audit_mark (set_id text PRIMARY KEY, stored_at timestamptz NOT NULL);
CREATE TABLE audit_open (message_id uuid PRIMARY KEY, look_at timestamptz NOT NULL);
CREATE INDEX audit_open_due ON audit_open (look_at);

-- What each cron run did; written at the center.
CREATE TABLE job_run (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job text NOT NULL,
  began_at timestamptz NOT NULL,
  duration_ms real NOT NULL,
  handled bigint NOT NULL,
  failures json NOT NULL
);
CREATE INDEX job_run_newest ON job_run (job, id);
`;
