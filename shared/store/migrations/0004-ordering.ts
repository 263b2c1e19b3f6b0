/**
 * Order: numbered lanes, the items of sequences, and how far each subscription is in each of its streams
 * (shared/ordering/ordering.ts).
 */
export const ordering = `
-- Kind 'order': one row per stream of a subscription that has something to do; a claim is the stream's exclusive lease.
-- Whoever arrives counts signals up, so that nobody closes a stream over an arrival it has not seen.
ALTER TABLE agenda ADD COLUMN stream text, ADD COLUMN signals integer NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX agenda_stream ON agenda (set_id, subscription, stream) WHERE stream IS NOT NULL;

-- One sequence for all lanes, never cached: positions grow in every lane in the order of commits, with gaps.
CREATE SEQUENCE lane_position AS bigint CACHE 1;
CREATE TABLE lane_entry (
  owner text NOT NULL,
  topic text NOT NULL,
  lane text NOT NULL,
  position bigint NOT NULL,
  message_id uuid NOT NULL,
  PRIMARY KEY (owner, topic, lane, position)
);
CREATE INDEX lane_entry_message ON lane_entry (message_id);

-- Numbers messages of lanes, in the order given; to be called last in the statement that makes them READY. Whoever
-- numbers a lane holds its lock until the commit is visible, so whoever sees a position sees all before it. Few locks
-- for many lanes: they lie in shared memory, and are taken in their order, so that two groups cannot block each other.
CREATE FUNCTION number_lanes(ids uuid[], owners text[], topics text[], lanes text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  bucket integer;
  numbered bigint;
BEGIN
  FOR bucket IN
    SELECT DISTINCT mod(hashtextextended(t.topic || '/' || t.lane, 0), 256)::integer AS b
    FROM unnest(topics, lanes) AS t(topic, lane) ORDER BY b
  LOOP
    PERFORM pg_advisory_xact_lock(778146, bucket);
  END LOOP;
  INSERT INTO lane_entry (owner, topic, lane, position, message_id)
  SELECT owner, topic, lane, nextval('lane_position'), id
  FROM (SELECT * FROM unnest(ids, owners, topics, lanes) WITH ORDINALITY AS m(id, owner, topic, lane, n) ORDER BY n) given;
  GET DIAGNOSTICS numbered = ROW_COUNT;
  RETURN numbered;
END $$;

-- How far a subscription is: all up to position is decided. The rest is of sequences only.
CREATE TABLE stream (
  subscription text NOT NULL,
  stream text NOT NULL,
  position bigint NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT now(),
  state text CHECK (state IN ('GATHERING', 'ASKED', 'RELEASED', 'BLOCKED', 'DONE', 'ABORTED')),
  size integer,
  arrived integer,
  on_gap text CHECK (on_gap IN ('block', 'skip', 'abort')),
  deadline_at timestamptz,
  PRIMARY KEY (subscription, stream)
) WITH (fillfactor = 60);

CREATE TABLE stream_item (
  subscription text NOT NULL,
  stream text NOT NULL,
  position integer NOT NULL,
  message_id uuid NOT NULL,
  fingerprint text NOT NULL,
  PRIMARY KEY (subscription, stream, position)
);
CREATE INDEX stream_item_message ON stream_item (message_id);
`;
