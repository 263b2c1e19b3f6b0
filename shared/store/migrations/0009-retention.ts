/**
 * Days that end without taking along what is still open: scheduled for next year, undecided, not delivered yet.
 */
export const retention = `
-- Tables that are partitioned by the day of a message's id, in the order in which statements lock them, and the column
-- that holds the id.
CREATE VIEW daily_table AS SELECT * FROM (VALUES (1, 'message', 'id'), (2, 'message_body', 'id'), (3, 'message_event', 'message_id'),
  (4, 'delivery', 'message_id'), (5, 'attempt', 'message_id')) AS t (place, name, key);

CREATE FUNCTION columns_of(name text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
  WHERE attrelid = name::regclass AND attnum > 0 AND NOT attisdropped
$$;

-- Makes the partitions of one day; says whether there was anything to make. Ids of that day that came before it had any
-- (clocks far ahead) move in. Whoever stores another one meanwhile is met again at the next call.
CREATE OR REPLACE FUNCTION make_day(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  t record;
  part text;
  cols text;
  made boolean := false;
BEGIN
  FOR t IN SELECT * FROM daily_table ORDER BY place LOOP
    part := t.name || to_char(day, '_YYYYMMDD');
    CONTINUE WHEN to_regclass(part) IS NOT NULL;
    cols := columns_of(t.name);
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (fillfactor = %s)',
      part, t.name, CASE t.name WHEN 'message' THEN 55 WHEN 'delivery' THEN 85 ELSE 100 END);
    EXECUTE format('WITH moved AS (DELETE FROM %1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) INSERT INTO %5$I (%6$s) SELECT %6$s FROM moved',
      t.name || '_stray', t.key, day_floor(day), day_floor(day + 1), part, cols);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
      t.name, part, day_floor(day), day_floor(day + 1));
    made := true;
  END LOOP;
  RETURN made;
EXCEPTION WHEN check_violation THEN
  RETURN false;
END $$;

CREATE FUNCTION is_open(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state IN ('SCHEDULED', 'HALF', 'CHECK_EXHAUSTED', 'READY', 'RETRY', 'BLOCKED')
$$;

-- Messages of a day that are not at an end: they have yet to be sent, or a delivery has yet to be made. At most so many.
CREATE FUNCTION open_messages(day date, most integer) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
  found uuid[];
BEGIN
  EXECUTE format('SELECT coalesce(array_agg(id), ARRAY[]::uuid[]) FROM (
      SELECT id FROM %I WHERE is_open(state) UNION SELECT message_id FROM %I WHERE is_open(state) LIMIT $1) AS o',
    to_char(day, '"message_"YYYYMMDD'), to_char(day, '"delivery_"YYYYMMDD')) INTO found USING most;
  RETURN found;
END $$;

-- Drops a day, its open messages moved to the strays with all they have. A day with more of them than may be moved at
-- once stays, since dropping locks everybody out while it lasts. Returns how many tables were dropped.
CREATE FUNCTION retire_day(day date, most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  t record;
  part text;
  cols text;
  kept uuid[] := ARRAY[]::uuid[];
  dropped integer := 0;
BEGIN
  IF to_regclass(to_char(day, '"message_"YYYYMMDD')) IS NOT NULL AND to_regclass(to_char(day, '"delivery_"YYYYMMDD')) IS NOT NULL THEN
    IF cardinality(open_messages(day, most + 1)) > most THEN RETURN 0; END IF;
    FOR t IN SELECT * FROM daily_table ORDER BY place LOOP
      part := t.name || to_char(day, '_YYYYMMDD');
      IF to_regclass(part) IS NOT NULL THEN EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', t.name, part); END IF;
    END LOOP;
    -- Asked again: nobody can change them any more.
    kept := open_messages(day, most + 1);
    IF cardinality(kept) > most THEN RAISE EXCEPTION 'Too many messages of % are open.', day; END IF;
  END IF;
  FOR t IN SELECT * FROM daily_table ORDER BY place LOOP
    part := t.name || to_char(day, '_YYYYMMDD');
    CONTINUE WHEN to_regclass(part) IS NULL;
    cols := columns_of(t.name);
    IF cardinality(kept) > 0 THEN
      EXECUTE format('INSERT INTO %I (%s) SELECT %2$s FROM %I WHERE %I = ANY ($1)', t.name || '_stray', cols, part, t.key) USING kept;
    END IF;
    EXECUTE format('DROP TABLE %I', part);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;
`;
