/** The catalog's copy in every SET, the registry of hosts, and what the prober last saw of each SET. */
export const catalog = `
CREATE TABLE catalog (
  version bigint PRIMARY KEY,
  document jsonb NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE host (
  set_id text NOT NULL,
  host text NOT NULL,
  broker text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  beat_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (set_id, host)
);

CREATE TABLE set_health (
  set_id text PRIMARY KEY,
  health text NOT NULL CHECK (health IN ('up', 'down')),
  detail text NOT NULL,
  checked_at timestamptz NOT NULL DEFAULT now()
);

-- A webhook that answered 410 Gone stops its subscription in this SET until somebody enables it again.
CREATE TABLE disabled_subscription (
  subscription text PRIMARY KEY,
  reason text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
`;
