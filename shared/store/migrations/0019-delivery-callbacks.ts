/**
 * What is still to be told of deliveries that have ended. A row is made by the statement that records the end, with an
 * agenda entry of kind `callback` that refers to it, and goes when it was told or given up.
 */
export const deliveryCallbacks = `
CREATE TABLE delivery_callback (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  message_id uuid NOT NULL,
  subscription text NOT NULL,
  state text NOT NULL,
  tries integer NOT NULL,
  set_id text NOT NULL,
  url text NOT NULL,
  status integer,
  error text,
  answer text,
  ended_at timestamptz NOT NULL DEFAULT now(),
  attempts integer NOT NULL DEFAULT 0
);
`;
