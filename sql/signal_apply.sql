-- Signals of browsers, taken as consent by rows of a map.
-- In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_signal_apply TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_signal_apply
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET jit = off;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2025-06-01 00:00Z';
CREATE ROLE regress_cdp_sa_ingest;
CREATE ROLE regress_cdp_sa_ana;
SELECT count(cdp.define_purpose(p)) FROM unnest('{personalisation,ads,sale,profiling}'::text[]) p;
SELECT cdp.provision('regress_cdp_sa_ingest', 'ingest'), cdp.permit('regress_cdp_sa_ana', 'ads');

--
-- The map: what cannot be meant is refused, the same again changes the row
--
SELECT cdp.map_signal('cookie', 'ads');
SELECT cdp.map_signal('tcf', 'ads');
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{0}');
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{25}');
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{NULL}');
SELECT cdp.map_signal('tcf', 'ads', special_features => '{13}');
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{1}', vendor => 0);
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{1}', basis => 'contract');
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{1}', field => 'SaleOptOut');
SELECT cdp.map_signal('tcf', 'sold', tcf_purposes => '{1}');
SELECT cdp.map_signal('tcf', 'ads', 'smoke', tcf_purposes => '{1}');
SELECT cdp.map_signal('gpp', 'sale');
SELECT cdp.map_signal('gpp', 'sale', field => 'SaleOptOutNotice');
SELECT cdp.map_signal('gpp', 'sale', field => 'SaleOptOut', section => 'tcfeuv2');
SELECT cdp.map_signal('usp', 'sale', vendor => 1);
SELECT cdp.map_signal('gpc', 'sale', grants => true);
SELECT cdp.map_signal('tcf', 'ads', tcf_purposes => '{3,4}', vendor => 39) > 0 AS a, cdp.map_signal('tcf', 'personalisation', tcf_purposes => '{5,6}') > 0 AS b, cdp.map_signal('tcf', 'profiling', tcf_purposes => '{7}', special_features => '{1}', basis => 'any') > 0 AS c,
	cdp.map_signal('usp', 'sale') > 0 AS d, cdp.map_signal('gpc', 'sale') > 0 AS e, cdp.map_signal('gpp', 'sale', field => 'SaleOptOut') > 0 AS f,
	cdp.map_signal('gpp', 'ads', field => 'TargetedAdvertisingOptOut', grants => true) > 0 AS g, cdp.map_signal('gpp', 'profiling', 'email', section => 'usco', field => 'SensitiveDataProcessing') > 0 AS h;
SELECT cdp.map_signal('usp', 'sale', grants => true) = cdp.map_signal('usp', 'sale', grants => false) AS same;
SELECT kind, purpose, channel, tcf_purposes, special_features, vendor, basis, section, field, grants FROM cdp.signal_map ORDER BY map_id;
SELECT cdp.unmap_signal(cdp.map_signal('usp', 'personalisation'));
SELECT cdp.unmap_signal(0);

--
-- The vectors: each read by the map, and by what the readers agreed on is in it
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/test/data/consent-signals.jsonl'
\set content `cat :'file'`
CREATE TABLE sample AS SELECT n, j->>'kind' AS kind, j->>'input' AS input, j->'expect' AS expect, j->>'refused' AS refused
FROM regexp_split_to_table(:'content', '\n') WITH ORDINALITY l (line, n), CAST(nullif(line, '') AS jsonb) AS c (j) WHERE line <> '' AND j->>'kind' <> 'fibonacci';
-- vendors one by one, restrictions one by one: as plain as the documents
CREATE FUNCTION among(ranges jsonb, v int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT v = ANY (ARRAY(SELECT g FROM jsonb_array_elements(ranges) r, generate_series((r->>0)::int, (r->>1)::int) g))
$$;
CREATE FUNCTION naive_tcf(t jsonb, p int, v int, basis text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	consent boolean := t->'purposes_consent' ? 'x' OR p::text = ANY (ARRAY(SELECT jsonb_array_elements_text(t->'purposes_consent')));
	interest boolean := p::text = ANY (ARRAY(SELECT jsonb_array_elements_text(t->'purposes_li'))) AND p <> ALL ('{1,3,4,5,6}');
	r jsonb;
BEGIN
	IF v IS NOT NULL THEN
		consent := consent AND among(t->'vendor_consent_ids', v);
		interest := interest AND among(t->'vendor_li_ids', v);
		FOR r IN SELECT * FROM jsonb_array_elements(t->'publisher_restrictions') LOOP
			CONTINUE WHEN (r->>'purpose')::int <> p OR NOT among(r->'vendors', v);
			consent := consent AND r->>'type' NOT IN ('0', '2');
			interest := interest AND r->>'type' NOT IN ('0', '1');
		END LOOP;
	END IF;
	RETURN CASE basis WHEN 'consent' THEN consent WHEN 'any' THEN consent OR interest ELSE interest END;
END $$;
CREATE TABLE tcf_case AS SELECT s.n, p, v, b, cdp.tcf_allows(s.expect, p, v, b) AS answer, naive_tcf(s.expect, p, v, b) AS naive
FROM sample s, generate_series(1, 24, 3) p, unnest('{consent,legitimate_interest,any}'::text[]) b,
	LATERAL (SELECT NULL::int AS v UNION ALL SELECT 39 UNION ALL SELECT 1 UNION ALL (SELECT (x->0->>0)::int FROM (SELECT s.expect->'vendor_consent_ids' AS x) q WHERE jsonb_array_length(x) > 0)
		UNION ALL (SELECT (r->'vendors'->0->>0)::int FROM jsonb_array_elements(s.expect->'publisher_restrictions') r ORDER BY (r->>'purpose')::int LIMIT 3)) w
WHERE s.kind = 'tcf' AND s.refused IS NULL;
INSERT INTO tcf_case SELECT s.n, (r->>'purpose')::int, (r->'vendors'->0->>0)::int, b, cdp.tcf_allows(s.expect, (r->>'purpose')::int, (r->'vendors'->0->>0)::int, b), naive_tcf(s.expect, (r->>'purpose')::int, (r->'vendors'->0->>0)::int, b)
FROM sample s, jsonb_array_elements(s.expect->'publisher_restrictions') r, unnest('{consent,legitimate_interest,any}'::text[]) b WHERE s.kind = 'tcf' AND s.refused IS NULL AND jsonb_array_length(r->'vendors') > 0;
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE answer) > 100 AS yes, count(*) FILTER (WHERE NOT answer) > 100 AS no, count(*) FILTER (WHERE answer IS DISTINCT FROM naive) AS different FROM tcf_case;
CREATE FUNCTION answer(k text, v text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(string_agg(format('%s%s %s', r.purpose, '/' || nullif(r.channel, 'all'), r.state), ', ' ORDER BY r.purpose, r.channel), 'nothing') FROM cdp.read_signal(k, v) r
$$;
CREATE FUNCTION says(name text, yes boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT name || CASE WHEN yes THEN ' granted' ELSE ' denied' END $$;
SELECT count(*) > 20 AS strings, count(*) FILTER (WHERE answer('tcf', s.input) <> concat_ws(', ', says('ads', naive_tcf(s.expect, 3, 39, 'consent') AND naive_tcf(s.expect, 4, 39, 'consent')),
	says('personalisation', naive_tcf(s.expect, 5, NULL, 'consent') AND naive_tcf(s.expect, 6, NULL, 'consent')),
	says('profiling', naive_tcf(s.expect, 7, NULL, 'any') AND s.expect->'special_feature_opt_ins' @> '[1]'))) AS different
FROM sample s WHERE s.kind = 'tcf' AND s.refused IS NULL;
-- GPP: per field, the worst of the sections that have it
CREATE FUNCTION naive_gpp(sections jsonb, sec text, field text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN bool_or(v IN ('1', '3')) THEN false WHEN bool_or(v = '2') THEN true END FROM jsonb_each(sections) s, LATERAL (SELECT s.value->>field AS v WHERE jsonb_typeof(s.value->field) = 'number'
		UNION ALL SELECT jsonb_array_elements_text(s.value->field) WHERE jsonb_typeof(s.value->field) = 'array') x WHERE s.key LIKE 'us%' AND s.key <> 'uspv1' AND s.key = coalesce(sec, s.key)
$$;
CREATE TABLE gpp_case AS SELECT s.n, s.input, x->'tcfeuv2' AS tcf, x #>> '{uspv1,OptOutSale}' AS sale, x @> '{"uspv1": {}}' AND x->'uspv1' @> '{"Notice": "-", "OptOutSale": "-", "LspaCovered": "-"}' AS not_us,
	naive_gpp(x, NULL, 'SaleOptOut') AS sale_field, naive_gpp(x, NULL, 'TargetedAdvertisingOptOut') AS ads_field, naive_gpp(x, 'usco', 'SensitiveDataProcessing') AS sensitive, x::text LIKE '%"Gpc": true%' AS gpc
FROM sample s, LATERAL (SELECT s.expect->'sections' AS x) e WHERE s.kind = 'gpp' AND s.refused IS NULL;
SELECT count(*) > 20 AS strings, count(DISTINCT answer('gpp', input)) > 5 AS answers, count(*) FILTER (WHERE answer('gpp', input) <> coalesce(nullif(concat_ws(', ',
		CASE WHEN tcf IS NOT NULL OR ads_field IS NOT NULL THEN says('ads', (tcf IS NULL OR naive_tcf(tcf, 3, 39, 'consent') AND naive_tcf(tcf, 4, 39, 'consent')) AND ads_field IS NOT FALSE) END,
		CASE WHEN tcf IS NOT NULL THEN says('personalisation', naive_tcf(tcf, 5, NULL, 'consent') AND naive_tcf(tcf, 6, NULL, 'consent')) END,
		CASE WHEN tcf IS NOT NULL THEN says('profiling', naive_tcf(tcf, 7, NULL, 'any') AND tcf->'special_feature_opt_ins' @> '[1]') END,
		CASE WHEN sensitive IS FALSE THEN 'profiling/email denied' END,
		CASE WHEN gpc OR sale_field IS FALSE OR sale <> 'N' AND not_us IS NOT TRUE THEN 'sale denied' END), ''), 'nothing')) AS different FROM gpp_case;
SELECT input, answer('usp', input) FROM sample WHERE kind = 'usp' AND refused IS NULL ORDER BY 1;
-- what cannot be read is a no to all that it could speak of
SELECT kind, answer(kind, input), count(*) > 0 AS some FROM sample WHERE refused IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2;
SELECT kind, answer(kind, NULL), answer(kind, ''), answer(kind, repeat('C', 8193)) FROM unnest('{tcf,gpp,usp,gpc}'::text[]) kind;
SELECT value, answer('gpc', value), (SELECT broken FROM cdp.read_signal('gpc', value)) FROM unnest(ARRAY['1', '0', '', '11', ' 1', 'true', NULL]) value;
SELECT cdp.read_signal('cookie', '1');

--
-- Applied: a consent for each purpose, of exactly these identifiers, once
--
SELECT input AS yes FROM sample WHERE kind = 'tcf' AND refused IS NULL AND answer('tcf', input) LIKE 'ads granted%' ORDER BY n LIMIT 1 \gset
SELECT input AS no FROM sample WHERE kind = 'tcf' AND refused IS NULL AND answer('tcf', input) LIKE 'ads denied%' ORDER BY n LIMIT 1 \gset
SET ROLE regress_cdp_sa_ingest;
SELECT cdp.apply_signal('{cookie:a,email:a@b.c}', 'tcf', :'yes', '2025-05-01', 'm1', 'web', '2026-05-01', NULL, 'banner', 'eu') > 0 AS applied;
SELECT cdp.apply_signal('{cookie:a,email:a@b.c}', 'tcf', :'yes', '2025-05-01', 'm1', 'web', '2026-05-01', NULL, 'banner', 'eu') > 0 AS again;
SELECT cdp.apply_signal('{cookie:a,email:a@b.c}', 'tcf', :'no', '2025-05-01', 'm1', 'web');
SELECT cdp.apply_signal(ARRAY['cookie:a'], 'gpc', '1', '2025-05-02') = cdp.apply_signal('{cookie:a}'::cdp.identity_set, 'usp', '1YNN', '2025-05-03') AS said_nothing;
SELECT cdp.apply_signal('cookie:a', 'cookie', '1'), cdp.read_signal('tcf', '');
SELECT cdp.apply_signal('cookie:a', 'cookie', '1');
SELECT cdp.apply_signal('nonsense', 'gpc', '1');
SELECT cdp.apply_signal('cookie:a', 'gpc', '1', message_id => repeat('m', 512));
SELECT cdp.apply_signal(9223372036854775807, 'gpc', '1');
RESET ROLE;
SELECT namespace, purpose, channel, state, at, valid_until, basis, source, collection_point, jurisdiction, message_id LIKE 'm1/%' AS by_purpose, split_part(signal, ':', 1) AS kind, split_part(signal, ':', 2) IN (:'yes', '1') AS as_it_came FROM cdp.consent_log ORDER BY at, purpose, namespace;
SELECT allowed, state, signal LIKE 'tcf:%' AS evidence FROM cdp.explain_consent('email:a@b.c', 'ads');
SET ROLE regress_cdp_sa_ana;
SELECT count(*) AS seen FROM cdp.identifiers;
RESET ROLE;
-- the order of arrival does not matter, nor what signals mean when they come again
SELECT cdp.apply_signal('cookie:late', 'tcf', :'no', '2025-05-02', 'n2') > 0 AS newer, cdp.apply_signal('cookie:late', 'tcf', :'yes', '2025-05-01', 'n1') > 0 AS older;
SELECT allowed, state FROM cdp.explain_consent('cookie:late', 'ads');
SELECT map_id AS ads FROM cdp.signal_map WHERE kind = 'tcf' AND purpose = 'ads' \gset
BEGIN;
SELECT cdp.unmap_signal(:ads), cdp.map_signal('tcf', 'ads', special_features => '{12}') > 0 AS another;
SELECT answer('tcf', :'yes') LIKE 'ads denied%' AS means_no_now, cdp.apply_signal('{cookie:a,email:a@b.c}', 'tcf', :'yes', '2025-05-01', 'm1', 'web') > 0 AS again;
SELECT allowed, state FROM cdp.explain_consent('email:a@b.c', 'ads');
ROLLBACK;
-- nor when they mean more by then, nor is it another signal that speaks of other purposes
SELECT cdp.apply_signal('cookie:more', 'gpc', '1', '2025-05-10', 'm2', 'web') > 0 AS sale, cdp.apply_signal('cookie:more', 'usp', '1---', '2025-05-10', 'm3', 'web') IS NULL AS nothing_said;
BEGIN;
SELECT cdp.map_signal('gpc', 'ads') > 0 AS ads, cdp.map_signal('usp', 'profiling', grants => true) > 0 AS profiling;
SELECT cdp.apply_signal('cookie:more', 'gpc', '1', '2025-05-10', 'm2', 'web') = cdp.resolve('cookie:more') AS again;
SELECT purpose, state FROM cdp.consents WHERE value = 'more' ORDER BY 1;
SAVEPOINT other;
SELECT cdp.apply_signal('cookie:more', 'usp', '1YNN', '2025-05-10', 'm2', 'web');
ROLLBACK TO other;
SELECT cdp.apply_signal('cookie:more', 'usp', '1YNN', '2025-05-10', 'm3', 'web');
ROLLBACK;
-- broken: a no, kept for those who look after it and nowhere else
SET ROLE regress_cdp_sa_ingest;
SELECT cdp.apply_signal('{cookie:a,email:a@b.c}', 'tcf', 'MARKER not a signal', '2025-05-10', 'b1', 'web') > 0 AS applied, cdp.apply_signal('{cookie:a,email:a@b.c}', 'tcf', 'MARKER not a signal', '2025-05-10', 'b1', 'web') > 0 AS again;
SELECT cdp.apply_signal('cookie:none', 'gpc', 'MARKER', '2025-05-10') IS NULL AS nothing_said;
SELECT source, message_id, reason, detail, times, payload FROM cdp.rejected ORDER BY message_id;
RESET ROLE;
SELECT allowed, state, at, signal FROM cdp.explain_consent('email:a@b.c', 'ads');
SELECT count(*) FROM cdp.rejected WHERE detail LIKE '%MARKER%' UNION ALL SELECT count(*) FROM cdp.consent_log WHERE signal LIKE '%MARKER%';
SELECT cdp.resolve('cookie:none') IS NULL AS nobody_made;
SELECT * FROM cdp.verify();

\c :main
DROP DATABASE regress_cdp_signal_apply;
DROP ROLE regress_cdp_sa_ingest;
DROP ROLE regress_cdp_sa_ana;
