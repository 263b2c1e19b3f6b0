/**
 * What is still to be told of gaps in sequences. A row is made by the statement that decides the gap, with an agenda entry
 * of kind `gap` that refers to it, and goes when it was told or given up.
 */
export const gapCallbacks = `
CREATE TABLE gap_callback (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  topic text NOT NULL,
  subscription text NOT NULL,
  url text NOT NULL,
  -- The body that is told, without the ids' text form.
  gap json NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  -- On whose timeline the end is written.
  message_id uuid NOT NULL
);
`;
