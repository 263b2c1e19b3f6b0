/**
 * What a SET has not delivered goes to siblings (shared/fleet/take-over.ts): the list of what leaves, kept at the SET that
 * is left, and the three statements of a journey, each one transaction: `plan_departures`, `take_in`, `send_off`.
 */
export const takeOver = `
-- Messages that leave, or have left: a copy of one that comes out of this SET's queues later is not its own any more.
CREATE TABLE departure (
  message_id uuid PRIMARY KEY,
  set_id text NOT NULL,
  -- In this order; what has the same number goes together.
  nth bigint NOT NULL,
  size integer NOT NULL,
  left_at timestamptz,
  to_set text
);
CREATE INDEX departure_pending ON departure (set_id, nth) WHERE left_at IS NULL;
CREATE INDEX departure_left ON departure (left_at) WHERE left_at IS NOT NULL;

-- One row for each tenure that was taken over.
CREATE TABLE take_over (
  set_id text NOT NULL,
  epoch bigint NOT NULL,
  -- Who gets which buckets, as whoever began it decided.
  plan json NOT NULL,
  planned_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (set_id, epoch)
);

CREATE FUNCTION stream_of(topic text, lane text, session text, sequence integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN lane IS NOT NULL THEN 'lane/' || topic || '/' || lane
    WHEN sequence IS NOT NULL THEN 'session/' || topic || '/' || session END
$$;

-- Whoever listens: subscription, owner, topic, pattern of tags, since (Unix seconds), is_filtered.
CREATE FUNCTION listeners_in(given json) RETURNS TABLE (subscription text, owner text, topic text, pattern text,
  since_at timestamptz, is_filtered boolean) LANGUAGE sql STABLE AS $$
  SELECT l.subscription, l.owner, l.topic, l.pattern, to_timestamp(l.since), l.is_filtered FROM json_to_recordset(given)
    AS l(subscription text, owner text, topic text, pattern text, since double precision, is_filtered boolean)
$$;

-- Lists once for a tenure what is not at an end: on its way to the broker or to a webhook, waiting for its time, its turn
-- or a decision, or without an outcome for somebody who listens. Returns the plan of whoever came first.
CREATE FUNCTION plan_departures(leaving text, listeners json, wanted json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
  known record;
BEGIN
  PERFORM pg_advisory_xact_lock(778148, hashtext(leaving));
  SELECT t.state, t.epoch INTO known FROM tenure t WHERE t.set_id = leaving;
  IF known.state IS DISTINCT FROM 'fenced' THEN
    RAISE EXCEPTION 'SET % is not fenced', leaving USING ERRCODE = 'SW002';
  END IF;
  INSERT INTO take_over (set_id, epoch, plan) VALUES (leaving, known.epoch, wanted) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    WITH listener AS MATERIALIZED (SELECT * FROM listeners_in(listeners)),
    entry AS MATERIALIZED (SELECT kind, refs, subscription, stream FROM agenda WHERE set_id = leaving),
    woken AS MATERIALIZED (
      SELECT e.subscription, e.stream, l.owner, l.topic, substr(e.stream, strpos(e.stream, '/') + length(l.topic) + 2) AS name
      FROM entry e JOIN listener l USING (subscription) WHERE e.kind = 'order'
    ), found AS MATERIALIZED (
      SELECT unnest(refs) AS id FROM entry WHERE kind IN ('send', 'release', 'check', 'redeliver')
      UNION SELECT d.message_id FROM delivery d WHERE d.state <> 'DONE' AND is_open(d.state)
      UNION SELECT o.message_id FROM audit_open o
      UNION SELECT unnest(t.refs) FROM transaction t WHERE t.state IN ('PREPARED', 'CHECK_EXHAUSTED')
      UNION SELECT m.id FROM listener l JOIN message m ON m.topic = l.topic
        WHERE m.stored_at > coalesce((SELECT a.stored_at FROM audit_mark a WHERE a.set_id = leaving), '-infinity')
          AND (is_open(m.state) OR m.stored_at >= l.since_at AND m.state = 'CONFIRMED'
          AND (CASE WHEN coalesce(m.tag, '') = '' THEN '' ELSE '.' || m.tag END) ~ l.pattern
          AND (m.expires_at IS NULL OR m.expires_at > now())
          AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = m.id AND d.subscription = l.subscription))
      UNION SELECT le.message_id FROM woken w
        JOIN lane_entry le ON le.owner = w.owner AND le.topic = w.topic AND le.lane = w.name
        LEFT JOIN stream s ON s.subscription = w.subscription AND s.stream = w.stream
        WHERE w.stream LIKE 'lane/%' AND le.position > coalesce(s.position, 0)
      UNION SELECT m.id FROM woken w JOIN message m ON m.session = w.name AND m.topic = w.topic AND m.owner = w.owner
        WHERE w.stream LIKE 'session/%' AND m.sequence IS NOT NULL
    ), whole AS (
      SELECT id FROM found
      UNION SELECT other.id FROM found JOIN message m USING (id)
        JOIN message other ON other.session = m.session AND other.topic = m.topic AND other.owner = m.owner
        WHERE m.sequence IS NOT NULL AND other.sequence IS NOT NULL
    )
    INSERT INTO departure (message_id, set_id, nth, size)
    SELECT m.id, leaving, dense_rank() OVER (ORDER BY le.position NULLS LAST, CASE WHEN m.sequence IS NOT NULL
        THEN m.owner || '/' || m.topic || '/' || m.session ELSE coalesce(m.transaction_id, m.id)::text END), m.size
    FROM whole JOIN message m USING (id)
    LEFT JOIN LATERAL (SELECT e.position FROM lane_entry e WHERE e.message_id = m.id LIMIT 1) le ON true
    WHERE m.set_id = leaving
    ON CONFLICT (message_id) DO NOTHING;
  END IF;
  RETURN (SELECT t.plan FROM take_over t WHERE t.set_id = leaving AND t.epoch = known.epoch);
END $$;

-- Takes messages in with all they have. What is here already stays as it is, so that it may be told twice.
CREATE FUNCTION take_in(target text, origin text, goods json, listeners json) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  fresh uuid[];
BEGIN
  PERFORM hold_tenure(target, 'go on');
  WITH stored AS (
    INSERT INTO message SELECT r.* FROM json_populate_recordset(NULL::message, goods->'messages') r ORDER BY r.id
    ON CONFLICT (id) DO NOTHING RETURNING id
  ) SELECT coalesce(array_agg(id), '{}') INTO fresh FROM stored;
  IF cardinality(fresh) = 0 THEN RETURN 0; END IF;
  DELETE FROM departure WHERE message_id = ANY(fresh);
  INSERT INTO message_body SELECT r.* FROM json_populate_recordset(NULL::message_body, goods->'bodies') r
    WHERE r.id = ANY(fresh) ON CONFLICT DO NOTHING;
  INSERT INTO message_event SELECT r.* FROM json_populate_recordset(NULL::message_event, goods->'events') r
    WHERE r.message_id = ANY(fresh);
  INSERT INTO message_event (message_id, change, by_whom, detail) SELECT f.id, 'taken over', target, 'from ' || origin FROM unnest(fresh) AS f(id);
  INSERT INTO attempt SELECT r.* FROM json_populate_recordset(NULL::attempt, goods->'attempts') r WHERE r.message_id = ANY(fresh);
  INSERT INTO message_end SELECT r.* FROM json_populate_recordset(NULL::message_end, goods->'ends') r
    WHERE r.message_id = ANY(fresh) ON CONFLICT DO NOTHING;
  INSERT INTO delivery SELECT r.* FROM json_populate_recordset(NULL::delivery, goods->'deliveries') r
    WHERE r.message_id = ANY(fresh) ON CONFLICT DO NOTHING;
  UPDATE delivery SET entry = NULL WHERE message_id = ANY(fresh) AND entry IS NOT NULL;

  -- Lanes: numbered anew behind all that is here, in their order; each subscription stands where it stood.
  PERFORM number_lanes(array_agg(m.id ORDER BY l.position), array_agg(m.owner ORDER BY l.position),
      array_agg(m.topic ORDER BY l.position), array_agg(m.lane ORDER BY l.position))
    FROM json_to_recordset(goods->'lanes') AS l(message_id uuid, position bigint) JOIN message m ON m.id = l.message_id
    WHERE m.id = ANY(fresh) HAVING count(*) > 0;
  INSERT INTO stream AS s (subscription, stream, position)
  SELECT p.subscription, p.stream, max(e.position) FROM (
      SELECT c.subscription, c.stream, l.message_id
      FROM json_to_recordset(goods->'lanes') AS l(message_id uuid, stream text, position bigint)
      JOIN json_to_recordset(goods->'cursors') AS c(subscription text, stream text, position bigint)
        ON c.stream = l.stream AND l.position <= c.position
      UNION ALL
      SELECT li.subscription, l.stream, l.message_id
      FROM json_to_recordset(goods->'lanes') AS l(message_id uuid, stream text) JOIN message m ON m.id = l.message_id
      JOIN listeners_in(listeners) li ON li.topic = m.topic AND m.stored_at < li.since_at
    ) p JOIN lane_entry e ON e.message_id = p.message_id
  WHERE p.message_id = ANY(fresh) GROUP BY p.subscription, p.stream ORDER BY p.subscription, p.stream
  ON CONFLICT (subscription, stream) DO UPDATE SET position = greatest(s.position, excluded.position), updated_at = now();

  -- Sequences come whole. Of those that gather, what has not arrived is asked for at once.
  INSERT INTO stream SELECT r.* FROM json_populate_recordset(NULL::stream, goods->'sessions') r ON CONFLICT DO NOTHING;
  UPDATE stream s SET deadline_at = now() FROM json_to_recordset(goods->'sessions') AS r(subscription text, stream text)
    WHERE s.subscription = r.subscription AND s.stream = r.stream AND s.state = 'GATHERING' AND s.deadline_at > now();
  INSERT INTO stream_item SELECT r.* FROM json_populate_recordset(NULL::stream_item, goods->'items') r ON CONFLICT DO NOTHING;

  WITH t AS MATERIALIZED (
    SELECT r.*, CASE WHEN r.due_in IS NOT NULL THEN nextval('agenda_id_seq') END AS entry
    FROM json_to_recordset(goods->'transactions') AS r(id uuid, owner text, state text, refs uuid[], check_url text,
      checks integer, last_check_at timestamptz, last_check text, prepared_at timestamptz, due_in double precision, tries integer)
    WHERE r.id = ANY(fresh)
  ), kept AS (
    INSERT INTO transaction (id, owner, set_id, state, refs, check_entry, check_url, checks, last_check_at, last_check, prepared_at)
    SELECT id, owner, target, state, refs, entry, check_url, checks, last_check_at, last_check, prepared_at FROM t
    ON CONFLICT (id) DO NOTHING RETURNING id
  )
  INSERT INTO agenda (id, kind, set_id, refs, due_at, attempts) OVERRIDING SYSTEM VALUE
  SELECT t.entry, 'check', target, t.refs, now() + make_interval(secs => greatest(t.due_in, 0)), t.tries
  FROM t JOIN kept USING (id) WHERE t.entry IS NOT NULL;

  -- Streams, due when they were: whoever had one at work may have its item under way until then.
  INSERT INTO agenda (kind, set_id, refs, subscription, stream, due_at, attempts)
  SELECT 'order', target, '{}', o.subscription, o.stream, now() + make_interval(secs => greatest(o.due_in, 0)), o.tries
  FROM json_to_recordset(goods->'orders') AS o(subscription text, stream text, due_in double precision, tries integer)
  ORDER BY o.subscription, o.stream
  ON CONFLICT (set_id, subscription, stream) WHERE stream IS NOT NULL DO UPDATE SET signals = agenda.signals + 1;

  -- What somebody should have got and has not.
  WITH owed AS MATERIALIZED (
    SELECT m.id, l.subscription, st.stream, m.sequence IS NOT NULL AS is_sequence, l.is_filtered,
      st.stream IS NOT NULL AND coalesce(m.sequence, (SELECT max(e.position) FROM lane_entry e WHERE e.message_id = m.id), 0)
        > coalesce((SELECT s.position FROM stream s WHERE s.subscription = l.subscription AND s.stream = st.stream), 0) AS is_ahead
    FROM message m JOIN listeners_in(listeners) l ON l.topic = m.topic AND m.stored_at >= l.since_at
      AND (CASE WHEN coalesce(m.tag, '') = '' THEN '' ELSE '.' || m.tag END) ~ l.pattern
    CROSS JOIN LATERAL (SELECT stream_of(m.topic, m.lane, m.session, m.sequence) AS stream) st
    WHERE m.id = ANY(fresh) AND m.state = 'CONFIRMED' AND (m.expires_at IS NULL OR m.expires_at > now())
      AND NOT EXISTS (SELECT FROM delivery d WHERE d.message_id = m.id AND d.subscription = l.subscription)
  ), begun AS (
    INSERT INTO stream (subscription, stream, state, size, arrived, on_gap, deadline_at)
    SELECT DISTINCT ON (o.subscription, o.stream) o.subscription, o.stream, 'GATHERING', (b.options->'order'->>'size')::integer, 0,
      b.options->'order'->>'onGap', now()
    FROM owed o JOIN message_body b ON b.id = o.id WHERE o.is_sequence ORDER BY o.subscription, o.stream
    ON CONFLICT (subscription, stream) DO NOTHING
  ), woken AS (
    INSERT INTO agenda (kind, set_id, refs, subscription, stream, due_at)
    SELECT DISTINCT ON (o.subscription, o.stream) 'order', target, '{}'::uuid[], o.subscription, o.stream, now()
    FROM owed o WHERE o.is_ahead ORDER BY o.subscription, o.stream
    ON CONFLICT (set_id, subscription, stream) WHERE stream IS NOT NULL DO UPDATE SET signals = agenda.signals + 1
  )
  INSERT INTO agenda (kind, set_id, refs, subscription, due_at)
  SELECT 'redeliver', target, ARRAY[o.id], o.subscription, now() FROM owed o
  WHERE NOT o.is_ahead AND (o.stream IS NULL OR NOT o.is_filtered);

  -- Deliveries that are open, with the entry that goes on with each.
  WITH given AS MATERIALIZED (
    SELECT g.*, nextval('agenda_id_seq') AS new_entry
    FROM json_to_recordset(goods->'deliveries') AS g(message_id uuid, subscription text, state text, kind text,
      due_in double precision, tries integer) JOIN message m ON m.id = g.message_id
    WHERE m.id = ANY(fresh) AND is_open(g.state)
      AND (g.kind = 'redeliver' OR g.kind IS NULL AND stream_of(m.topic, m.lane, m.session, m.sequence) IS NULL)
  ), named AS (
    UPDATE delivery d SET entry = g.new_entry FROM given g WHERE d.message_id = g.message_id AND d.subscription = g.subscription
  )
  INSERT INTO agenda (id, kind, set_id, refs, subscription, due_at, attempts) OVERRIDING SYSTEM VALUE
  SELECT new_entry, 'redeliver', target, ARRAY[message_id], subscription, now() + make_interval(secs => greatest(due_in, 0)), coalesce(tries, 0)
  FROM given;
  UPDATE delivery d SET entry = a.id FROM message m, agenda a
  WHERE d.message_id = ANY(fresh) AND m.id = d.message_id AND d.entry IS NULL AND is_open(d.state)
    AND a.set_id = target AND a.subscription = d.subscription AND a.stream = stream_of(m.topic, m.lane, m.session, m.sequence);

  INSERT INTO agenda (kind, set_id, refs, due_at)
  SELECT 'send', target, array_agg(m.id ORDER BY m.id), now() FROM message m WHERE m.id = ANY(fresh) AND m.state = 'READY' HAVING count(*) > 0;
  INSERT INTO agenda (kind, set_id, refs, due_at)
  SELECT 'release', target, array_agg(m.id ORDER BY m.id), m.deliver_at FROM message m
  WHERE m.id = ANY(fresh) AND m.state = 'SCHEDULED' GROUP BY m.deliver_at;
  -- They are older than what the audit looks at.
  INSERT INTO audit_open (message_id, look_at) SELECT f.id, now() + interval '15 minutes' FROM unnest(fresh) AS f(id) ON CONFLICT DO NOTHING;
  RETURN cardinality(fresh);
END $$;

-- They are elsewhere now.
CREATE FUNCTION send_off(leaving text, brought uuid[], target text, sessions text[], listening text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  ids uuid[];
BEGIN
  -- Those alone that wait to leave: one that has left may have come back meanwhile.
  WITH gone AS (
    UPDATE departure SET left_at = now(), to_set = target WHERE message_id = ANY(brought) AND left_at IS NULL RETURNING message_id
  ) SELECT coalesce(array_agg(message_id), '{}') INTO ids FROM gone;
  IF cardinality(ids) = 0 THEN RETURN; END IF;
  DELETE FROM message WHERE id = ANY(ids) AND set_id = leaving;
  DELETE FROM message_body WHERE id = ANY(ids);
  DELETE FROM message_event WHERE message_id = ANY(ids);
  DELETE FROM delivery WHERE message_id = ANY(ids);
  DELETE FROM attempt WHERE message_id = ANY(ids);
  DELETE FROM message_end WHERE message_id = ANY(ids);
  DELETE FROM audit_open WHERE message_id = ANY(ids);
  DELETE FROM lane_entry WHERE message_id = ANY(ids);
  DELETE FROM stream_item WHERE message_id = ANY(ids);
  DELETE FROM transaction WHERE id = ANY(ids);
  DELETE FROM stream WHERE subscription = ANY(listening) AND stream = ANY(sessions);
END $$;

-- Nobody gives a SET back to its hosts while a part of what it had is on its way to others.
CREATE FUNCTION refuse_early_return() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM departure d WHERE d.set_id = new.set_id AND d.left_at IS NULL)
    OR EXISTS (SELECT FROM take_over t WHERE t.set_id = new.set_id AND t.ended_at IS NULL) THEN
    RAISE EXCEPTION 'SET % is being taken over', new.set_id USING ERRCODE = 'SW002';
  END IF;
  RETURN new;
END $$;
CREATE TRIGGER early_return BEFORE UPDATE ON tenure FOR EACH ROW
  WHEN (old.state = 'fenced' AND new.state <> 'fenced') EXECUTE FUNCTION refuse_early_return();

-- What belongs to no message that leaves: schedules, and what is still to be told.
CREATE FUNCTION take_in_belongings(target text, goods json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM hold_tenure(target, 'go on');
  CREATE TEMPORARY TABLE IF NOT EXISTS brought (ref uuid PRIMARY KEY) ON COMMIT DROP;
  WITH s AS (INSERT INTO schedule SELECT r.* FROM json_populate_recordset(NULL::schedule, goods->'schedules') r ON CONFLICT DO NOTHING RETURNING id),
  c AS (INSERT INTO delivery_callback SELECT r.* FROM json_populate_recordset(NULL::delivery_callback, goods->'callbacks') r ON CONFLICT DO NOTHING RETURNING id),
  g AS (INSERT INTO gap_callback SELECT r.* FROM json_populate_recordset(NULL::gap_callback, goods->'gaps') r ON CONFLICT DO NOTHING RETURNING id)
  INSERT INTO brought SELECT id FROM s UNION ALL SELECT id FROM c UNION ALL SELECT id FROM g;
  INSERT INTO schedule_run SELECT r.* FROM json_populate_recordset(NULL::schedule_run, goods->'runs') r ON CONFLICT DO NOTHING;
  INSERT INTO agenda (kind, set_id, refs, subscription, due_at, attempts)
  SELECT e.kind, target, ARRAY[e.ref], e.subscription, now() + make_interval(secs => greatest(e.due_in, 0)), e.tries
  FROM json_to_recordset(goods->'entries') AS e(kind text, ref uuid, subscription text, due_in double precision, tries integer)
  JOIN brought b ON b.ref = e.ref;
END $$;
`;
