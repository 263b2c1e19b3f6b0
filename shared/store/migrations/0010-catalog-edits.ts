/**
 * Edits of the catalog inside the database, so that a change of one topic or subscription neither carries the whole
 * document nor meets another change half-way; and what each SET's hosts have declared in RabbitMQ, so that what is wanted
 * no longer can be found and taken down.
 */
export const catalogEdits = `
CREATE FUNCTION catalog_entry(document jsonb, list text, name text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $body$
  (SELECT entry FROM jsonb_array_elements(coalesce($1->$2, '[]')) AS entry WHERE entry->>'name' = $3 LIMIT 1)
$body$;

CREATE FUNCTION catalog_with(document jsonb, list text, name text, entry jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $body$
  (SELECT $1 || jsonb_build_object($2,
    coalesce(jsonb_agg(each ORDER BY place) FILTER (WHERE each->>'name' <> $3), '[]')
      || CASE WHEN $4 IS NULL THEN '[]'::jsonb ELSE jsonb_build_array($4) END)
  FROM jsonb_array_elements(coalesce($1->$2, '[]')) WITH ORDINALITY AS listed(each, place))
$body$;

CREATE TABLE declared (
  set_id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('exchange', 'queue', 'binding')),
  name text NOT NULL,
  detail jsonb NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (set_id, kind, name)
);
`;
