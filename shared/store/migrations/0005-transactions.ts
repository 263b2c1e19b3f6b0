/**
 * Transactions of half messages. A row lies in the database of its messages and has the id of the first of them. Few
 * beside the messages, so it is not partitioned: the retention deletes rows by id.
 */
export const transactions = `
CREATE TABLE transaction (
  id uuid PRIMARY KEY,
  owner text NOT NULL,
  set_id text NOT NULL,
  state text NOT NULL DEFAULT 'PREPARED' CHECK (state IN ('PREPARED', 'COMMITTED', 'ROLLED_BACK', 'CHECK_EXHAUSTED')),
  -- Its messages, the first one first.
  refs uuid[] NOT NULL,
  -- The agenda entry that says when the producer is asked.
  check_entry bigint,
  check_url text,
  checks integer NOT NULL DEFAULT 0,
  last_check_at timestamptz,
  last_check text,
  prepared_at timestamptz NOT NULL DEFAULT now(),
  decided_at timestamptz,
  decided_by text
);
CREATE INDEX transaction_parked ON transaction (id) WHERE state = 'CHECK_EXHAUSTED';
`;
