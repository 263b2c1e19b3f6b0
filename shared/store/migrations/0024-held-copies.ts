/** Copies of messages that another SET delivers: kept so that this one can take over, and gone after a while. */
export const heldCopies = `
CREATE SEQUENCE held_copy_place;

CREATE TABLE held_copy (
  id uuid PRIMARY KEY,
  -- The SET that delivers it.
  origin text NOT NULL,
  -- In the order of arrival.
  place bigint NOT NULL,
  held_at timestamptz NOT NULL DEFAULT now(),
  keep_until timestamptz NOT NULL,
  -- The message without its body.
  content json NOT NULL,
  body bytea NOT NULL
);
CREATE INDEX held_copy_origin ON held_copy (origin, place);
CREATE INDEX held_copy_end ON held_copy (keep_until);
`;
