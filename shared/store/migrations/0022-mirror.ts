/**
 * Copies of other SETs' messages (shared/publish/mirror.ts): passive, until the home is gone and they are promoted.
 * `message.mirror` names the SET that keeps a copy, and is empty again once the copy is not needed any more; the index
 * holds mirrored messages only.
 */
export const mirror = `
ALTER TABLE message ADD COLUMN mirror text;
CREATE INDEX message_mirrored ON message (stored_at) WHERE mirror IS NOT NULL;

CREATE TABLE mirror_copy (
  id uuid NOT NULL,
  -- The SET that has the original. Two SETs may have been offered the same message.
  home text NOT NULL,
  -- In the order in which they came.
  nth bigint GENERATED ALWAYS AS IDENTITY,
  offer json NOT NULL,
  due_at timestamptz,
  kept_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, home)
);
CREATE INDEX mirror_copy_by_home ON mirror_copy (home, nth);
CREATE INDEX mirror_copy_by_age ON mirror_copy (kept_at);
`;
