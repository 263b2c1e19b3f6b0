/** Pins are edited like topics, subscriptions and keys; what names them is their topic, or `*`, and their key. */
export const pinEdits = `
CREATE FUNCTION catalog_name(entry jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $body$
  SELECT coalesce($1->>'name', $1->>'id', coalesce($1->>'topic', '*') || ' ' || ($1->>'key'))
$body$;

CREATE OR REPLACE FUNCTION catalog_entry(document jsonb, list text, name text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $body$
  (SELECT entry FROM jsonb_array_elements(coalesce($1->$2, '[]')) AS entry WHERE catalog_name(entry) = $3 LIMIT 1)
$body$;

CREATE OR REPLACE FUNCTION catalog_with(document jsonb, list text, name text, entry jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $body$
  (SELECT $1 || jsonb_build_object($2,
    coalesce(jsonb_agg(each ORDER BY place) FILTER (WHERE catalog_name(each) <> $3), '[]')
      || CASE WHEN $4 IS NULL THEN '[]'::jsonb ELSE jsonb_build_array($4) END)
  FROM jsonb_array_elements(coalesce($1->$2, '[]')) WITH ORDINALITY AS listed(each, place))
$body$;
`;
