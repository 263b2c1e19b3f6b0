/**
 * Whether a SET's hosts may work in this database, as a row that is changed by compare-and-set on its epoch
 * (shared/store/tenure.ts). A SET without a row serves, at epoch 0.
 *
 * `hold_tenure` is called by every statement that changes something for a SET. It holds the tenure until the statement's
 * transaction has ended, beside any number of others that hold it; who changes the tenure waits for all of them, and they
 * for it. It reads the row after it has the lock, by a snapshot of its own: a statement that waited here for a fence sees
 * the fence, although its other parts see the time before. It raises SQLSTATE SW001, and with it undoes its statement.
 * An advisory lock, and not one of the row: a lock of the row writes the row, and never lets a change through while others
 * keep taking it.
 */
export const tenure = `
CREATE TABLE tenure (
  set_id text PRIMARY KEY,
  epoch bigint NOT NULL,
  state text NOT NULL CHECK (state IN ('serving', 'draining', 'fenced')),
  changed_at timestamptz NOT NULL DEFAULT now()
);

-- work: 'take' is refused by a SET that drains, 'go on' only by one that is fenced.
CREATE FUNCTION hold_tenure(wanted_set text, work text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  known text;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(778147, hashtext(wanted_set));
  known := (SELECT t.state FROM tenure t WHERE t.set_id = wanted_set);
  IF known = 'fenced' OR (known = 'draining' AND work = 'take') THEN
    RAISE EXCEPTION 'SET % is %', wanted_set, known USING ERRCODE = 'SW001';
  END IF;
  RETURN true;
END $$;
`;
