/** Schedules and their last runs. The agenda holds one entry of kind `schedule` for each that is active. */
export const schedules = `
CREATE TABLE schedule (
  id uuid PRIMARY KEY,
  owner text NOT NULL,
  name text,
  set_id text NOT NULL,
  cron text NOT NULL,
  time_zone text NOT NULL,
  missed text NOT NULL CHECK (missed IN ('skip', 'one', 'all')),
  state text NOT NULL DEFAULT 'ACTIVE' CHECK (state IN ('ACTIVE', 'PAUSED')),
  message jsonb NOT NULL,
  body bytea NOT NULL,
  fingerprint text,
  created_at timestamptz NOT NULL DEFAULT now(),
  since timestamptz NOT NULL DEFAULT now(),
  next_at timestamptz
);
CREATE INDEX schedule_by_owner ON schedule (owner, created_at);

CREATE TABLE schedule_run (
  schedule_id uuid NOT NULL,
  tick timestamptz NOT NULL,
  message_id uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schedule_id, tick)
);
`;
