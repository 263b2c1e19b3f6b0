/**
 * Which buckets a SET admits ordered lanes of into this database, each at one epoch. A SET without a single row admits
 * everything: nobody has given it buckets yet. Rows are never deleted: the epoch of a bucket only grows.
 *
 * `admit` holds the tenure as `hold_tenure` does, then reads by a snapshot of its own: who closes buckets waits for those
 * in flight, and what waited for them is refused.
 */
export const bucketAdmission = `
CREATE TABLE bucket_admission (
  set_id text NOT NULL,
  bucket integer NOT NULL,
  epoch bigint NOT NULL,
  is_open boolean NOT NULL,
  PRIMARY KEY (set_id, bucket)
);

-- Returns those of the pairs 'bucket:epoch' that are not open.
CREATE FUNCTION admit(wanted_set text, work text, wanted text[]) RETURNS text[] LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  refused text[];
BEGIN
  PERFORM hold_tenure(wanted_set, work);
  IF NOT EXISTS (SELECT FROM bucket_admission b WHERE b.set_id = wanted_set) THEN
    RETURN '{}';
  END IF;
  refused := ARRAY(
    SELECT w FROM unnest(wanted) AS w WHERE NOT EXISTS (
      SELECT FROM bucket_admission b WHERE b.set_id = wanted_set AND b.bucket = split_part(w, ':', 1)::integer
        AND b.epoch = split_part(w, ':', 2)::bigint AND b.is_open));
  RETURN refused;
END $$;
`;
