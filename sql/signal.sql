-- Consent signals: published formats, a sample of vectors, strings made by chance, what is refused.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set main :DBNAME
DROP DATABASE IF EXISTS regress_signal;
CREATE DATABASE regress_signal TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_signal
SET client_min_messages = warning;
CREATE EXTENSION cdp;

-- what a decoder gives, or the error; what is refused for length has no detail worth showing
CREATE FUNCTION attempt(kind text, input text, OUT result jsonb, OUT state text, OUT error text) LANGUAGE plpgsql AS $$
DECLARE
	message text; detail text; hint text;
BEGIN
	result := CASE kind WHEN 'tcf' THEN cdp.decode_tcf(input) WHEN 'gpp' THEN cdp.decode_gpp(input)
		WHEN 'usp' THEN cdp.decode_usp(input) END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
	error := message || ': ' || detail || ' / ' || hint;
END
$$;

--
-- The sample: none may differ, and what has to be refused is, in words that do not repeat it
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/test/data/consent-signals.jsonl'
\set content `cat :'file'`
CREATE TABLE sample AS SELECT n, j->>'kind' AS kind, j->>'input' AS input, j->'expect' AS expect, j->>'refused' AS refused
FROM regexp_split_to_table(:'content', '\n') WITH ORDINALITY l (line, n), CAST(nullif(line, '') AS jsonb) AS c (j) WHERE line <> '';
SELECT kind, count(*) FILTER (WHERE refused IS NULL) AS valid, count(*) FILTER (WHERE result = expect) AS same,
	count(refused) AS to_refuse, count(state) AS refused
FROM sample, attempt(kind, input) WHERE kind <> 'fibonacci' GROUP BY 1 ORDER BY 1;
SELECT kind, input, state, error FROM sample, attempt(kind, input) WHERE kind <> 'fibonacci' AND refused IS NULL AND result IS DISTINCT FROM expect;
SELECT state, count(*) FROM sample, attempt(kind, input) WHERE refused IS NOT NULL GROUP BY 1;
SELECT input, error FROM sample, attempt(kind, input) WHERE length(input) > 3 AND strpos(error, left(input, 8)) > 0;
SELECT DISTINCT kind, refused, regexp_replace(error, 'character \d+', 'character N', 'g') AS error
FROM sample, attempt(kind, input) WHERE refused IS NOT NULL ORDER BY 1, 2, 3;

--
-- Bits, and an encoder that is as plain as the documents
--
CREATE FUNCTION bits(value bigint, width int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT right(value::bit(64)::text, width)
$$;
CREATE FUNCTION letters(pair text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT bits(ascii(pair) - 65, 6) || bits(ascii(substr(pair, 2)) - 65, 6)
$$;
CREATE FUNCTION field(ids int[], width int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(string_agg(CASE WHEN i = ANY (ids) THEN '1' ELSE '0' END, '' ORDER BY i), '') FROM generate_series(1, width) i
$$;
CREATE FUNCTION base64url(bits text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(substr('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
		rpad(substr(bits, i, 6), 6, '0')::bit(6)::int + 1, 1), '' ORDER BY i) FROM generate_series(1, length(bits), 6) i
$$;
-- a sum of Fibonacci numbers, the largest first; written from the smallest on
CREATE FUNCTION fibonacci(value int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	f int[] := '{1,2}'; word text := '1'; started boolean := false;
BEGIN
	WHILE f[cardinality(f)] < value LOOP f := f || f[cardinality(f)] + f[cardinality(f) - 1]; END LOOP;
	FOR i IN REVERSE cardinality(f)..1 LOOP
		IF f[i] <= value THEN
			value := value - f[i]; word := '1' || word; started := true;
		ELSIF started THEN word := '0' || word;
		END IF;
	END LOOP;
	RETURN word;
END
$$;
-- ids as runs
CREATE FUNCTION runs(ids int[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_array(a, b) ORDER BY a), '[]') FROM (
		SELECT min(id) AS a, max(id) AS b FROM (
			SELECT id, id - row_number() OVER (ORDER BY id) AS run FROM (SELECT DISTINCT unnest(ids)) u (id)) r GROUP BY run) x
$$;
CREATE FUNCTION list(ids int[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(jsonb_agg(id ORDER BY id), '[]') FROM (SELECT DISTINCT unnest(ids)) u (id)
$$;
-- items of a range: each run, some ids of it once more, in any order
CREATE FUNCTION ranges(ids int[]) RETURNS text LANGUAGE sql VOLATILE AS $$
	WITH item (a, b) AS MATERIALIZED (
		SELECT (r->>0)::int, (r->>1)::int FROM jsonb_array_elements(runs(ids)) r
		UNION ALL SELECT id, id FROM unnest(ids) id WHERE random() < 0.1)
	SELECT bits(count(*), 12) || coalesce(string_agg(CASE WHEN a < b THEN '1' || bits(a, 16) || bits(b, 16) ELSE '0' || bits(a, 16) END, '' ORDER BY random()), '') FROM item
$$;
CREATE FUNCTION chosen(n int, share float) RETURNS int[] LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(array_agg(i), '{}') FROM generate_series(1, n) i WHERE random() < share
$$;
CREATE FUNCTION chance(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
-- a set of vendors: what is written, and what has to be read
CREATE FUNCTION vendors(OUT written text, OUT max int, OUT is_range boolean, OUT ids jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	picked int[] := chosen(chance(400), random());
BEGIN
	max := coalesce(picked[cardinality(picked)], 0) + chance(3);
	is_range := random() < 0.5;
	written := bits(max, 16) || CASE WHEN is_range THEN '1' || ranges(picked) ELSE '0' || field(picked, max) END;
	ids := runs(picked);
END
$$;

-- Fibonacci numbers, through the ids of sections that are not known
SELECT count(*) AS numbers, count(*) FILTER (WHERE fibonacci(expect::int) = input) AS encoder_right,
	count(*) FILTER (WHERE decoded IS NULL OR decoded = expect) AS decoder_right
FROM sample, LATERAL (SELECT CASE WHEN expect::int > 27 THEN
	cdp.decode_gpp(base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || input) || '~x')->'section_ids'->0 END) d (decoded)
WHERE kind = 'fibonacci';
SELECT count(*) AS wrong FROM generate_series(28, 65535, 31) id
WHERE cdp.decode_gpp(base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(id)) || '~x')->'section_ids' <> jsonb_build_array(id);

--
-- TC strings by chance: what is decoded is the model they were made of
--
CREATE FUNCTION tc(n_th int, OUT written text, OUT model jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	v record; core text; segments text[] := '{}'; restrictions jsonb := '[]'; ids int[]; n int; purpose int; kind int;
	language text := chr(65 + chance(26)) || chr(65 + chance(26)); cc text := chr(65 + chance(26)) || chr(65 + chance(26));
	created bigint := floor(random() * 2 ^ 36); updated bigint := floor(random() * 2 ^ 36);
	features int[] := chosen(12, 0.3); consent int[] := chosen(24, 0.5); li int[] := chosen(24, 0.2);
	b boolean[] := ARRAY[random() < 0.5, random() < 0.5, random() < 0.5];
	i int[] := ARRAY[chance(4096), chance(4096), chance(64), chance(4096), chance(64)];
BEGIN
	core := bits(2, 6) || bits(created, 36) || bits(updated, 36) || bits(i[1], 12) || bits(i[2], 12) || bits(i[3], 6)
		|| letters(language) || bits(i[4], 12) || bits(i[5], 6) || b[1]::int || b[2]::int || field(features, 12)
		|| field(consent, 24) || field(li, 24) || b[3]::int || letters(cc);
	model := jsonb_build_object('version', 2, 'created_ds', created, 'last_updated_ds', updated, 'cmp_id', i[1], 'cmp_version', i[2],
		'consent_screen', i[3], 'consent_language', language, 'vendor_list_version', i[4], 'tcf_policy_version', i[5],
		'is_service_specific', b[1], 'use_non_standard_texts', b[2], 'special_feature_opt_ins', list(features),
		'purposes_consent', list(consent), 'purposes_li', list(li), 'purpose_one_treatment', b[3], 'publisher_cc', cc,
		'disclosed_vendors', NULL, 'allowed_vendors', NULL, 'publisher_tc', NULL);
	v := vendors();
	core := core || v.written;
	model := model || jsonb_build_object('vendor_consent_max', v.max, 'vendor_consent_is_range', v.is_range, 'vendor_consent_ids', v.ids);
	v := vendors();
	core := core || v.written;
	model := model || jsonb_build_object('vendor_li_max', v.max, 'vendor_li_is_range', v.is_range, 'vendor_li_ids', v.ids);
	n := chance(4);
	core := core || bits(n, 12);
	FOR r IN 1..n LOOP
		purpose := chance(64); kind := chance(4); ids := chosen(chance(200), 0.1);
		core := core || bits(purpose, 6) || bits(kind, 2) || ranges(ids);
		restrictions := restrictions || jsonb_build_object('purpose', purpose, 'type', kind, 'vendors', runs(ids));
	END LOOP;
	model := model || jsonb_build_object('publisher_restrictions', restrictions);
	IF random() < 0.6 THEN
		v := vendors();
		segments := segments || base64url(bits(1, 3) || v.written);
		model := model || jsonb_build_object('disclosed_vendors', jsonb_build_object('max', v.max, 'is_range', v.is_range, 'ids', v.ids));
	END IF;
	IF random() < 0.3 THEN
		v := vendors();
		segments := segments || base64url(bits(2, 3) || v.written);
		model := model || jsonb_build_object('allowed_vendors', jsonb_build_object('max', v.max, 'is_range', v.is_range, 'ids', v.ids));
	END IF;
	IF random() < 0.5 THEN
		n := chance(64); consent := chosen(24, 0.5); li := chosen(24, 0.5); ids := chosen(n, 0.5); features := chosen(n, 0.2);
		segments := segments || base64url(bits(3, 3) || field(consent, 24) || field(li, 24) || bits(n, 6) || field(ids, n) || field(features, n));
		model := model || jsonb_build_object('publisher_tc', jsonb_build_object('purposes_consent', list(consent), 'purposes_li', list(li),
			'num_custom', n, 'custom_consent', list(ids), 'custom_li', list(features)));
	END IF;
	-- other segments in any order
	written := array_to_string(base64url(core) || (SELECT array_agg(s ORDER BY random()) FROM unnest(segments) s), '.');
END
$$;
SELECT setseed(0.42);
CREATE TABLE made AS SELECT n, t.* FROM generate_series(1, 200) n, tc(n) t;
SELECT count(*) AS strings, count(DISTINCT written) AS different, count(*) FILTER (WHERE cdp.decode_tcf(written) = model) AS same,
	count(*) FILTER (WHERE model->'publisher_tc' <> 'null') > 0 AS publisher, count(*) FILTER (WHERE model->'allowed_vendors' <> 'null') > 0 AS allowed,
	count(*) FILTER (WHERE model->'publisher_restrictions' <> '[]') > 0 AS restrictions
FROM made;
SELECT written, model, result, error FROM made, attempt('tcf', written) WHERE model IS DISTINCT FROM result LIMIT 2;
-- cut anywhere: an error, or nothing but padding or whole segments are missing
SELECT count(*) > 1000 AS cuts, count(*) FILTER (WHERE state <> '22P02') AS other_errors, count(*) FILTER (WHERE result IS NOT NULL
	AND result || jsonb_build_object('disclosed_vendors', NULL, 'allowed_vendors', NULL, 'publisher_tc', NULL)
	<> model || jsonb_build_object('disclosed_vendors', NULL, 'allowed_vendors', NULL, 'publisher_tc', NULL)) AS changed
FROM made, generate_series(0, length(written) - 1) k, attempt('tcf', left(written, k)) WHERE n <= 20;
-- a wrong character, an empty segment, one that is there twice, one of another type: all refused, at their place
SELECT what, count(*), count(state) AS refused, count(*) FILTER (WHERE error LIKE '%At character ' || place || ' %') AS placed FROM (
	SELECT 'character' AS what, overlay(written PLACING substr('=+/ %é', 1 + n % 6, 1) FROM 1 + n % length(written) FOR 1) AS t, 1 + n % length(written) AS place FROM made
	UNION ALL SELECT 'empty segment', written || '.', length(written) + 2 FROM made
	UNION ALL SELECT 'empty core', '.' || written, 1 FROM made
	UNION ALL SELECT 'twice', written || '.YAAAAAAAAAA.YAAAAAAAAAA', NULL FROM made
	UNION ALL SELECT 'type', written || '.' || substr('Aog', 1 + n % 3, 1) || 'AAA', length(written) + 2 FROM made
	UNION ALL SELECT 'version', 'D' || substr(written, 2), 1 FROM made) c, attempt('tcf', t)
GROUP BY 1 ORDER BY 1;

--
-- GPP strings by chance, of all sections of the United States; n is the length of a list
--
CREATE TABLE layout (id int, prefix text, version int, fields text, segment text);
\set early 'SharingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SaleOptOut TargetedAdvertisingOptOut '
\set later 'ProcessingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SaleOptOut TargetedAdvertisingOptOut '
\set national 'SharingNotice SaleOptOutNotice SharingOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataProcessingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut TargetedAdvertisingOptOut '
\set utah 'SharingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataProcessingOptOutNotice SaleOptOut TargetedAdvertisingOptOut '
\set iowa 'ProcessingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataOptOutNotice SaleOptOut TargetedAdvertisingOptOut '
\set mspa ' MspaCoveredTransaction MspaOptOutOptionMode MspaServiceProviderMode'
\set latest 'MspaCoveredTransaction MspaMode '
\set child ' KnownChildSensitiveDataConsents'
\set other ' AdditionalDataProcessingConsent'
INSERT INTO layout VALUES
	(7, 'usnat', 1, :'national' || 'SensitiveDataProcessing:12 KnownChildSensitiveDataConsents:2 PersonalDataConsents' || :'mspa', 'gpc'),
	(7, 'usnat', 2, :'national' || 'SensitiveDataProcessing:16 KnownChildSensitiveDataConsents:3 PersonalDataConsents' || :'mspa', 'gpc'),
	(8, 'usca', 1, 'SaleOptOutNotice SharingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut SensitiveDataProcessing:9 KnownChildSensitiveDataConsents:2 PersonalDataConsents' || :'mspa', 'gpc'),
	(9, 'usva', 1, :'early' || 'SensitiveDataProcessing:8' || :'child' || :'mspa', NULL),
	(10, 'usco', 1, :'early' || 'SensitiveDataProcessing:7' || :'child' || :'mspa', 'gpc'),
	(11, 'usut', 1, :'utah' || 'SensitiveDataProcessing:8' || :'child' || :'mspa', NULL),
	(12, 'usct', 1, :'early' || 'SensitiveDataProcessing:8' || :'child' || ':3' || :'mspa', 'gpc'),
	(13, 'usfl', 1, :'later' || 'SensitiveDataProcessing:8' || :'child' || ':3' || :'other' || :'mspa', NULL),
	(14, 'usmt', 1, :'early' || 'SensitiveDataProcessing:8' || :'child' || ':3' || :'other' || :'mspa', 'gpc'),
	(15, 'usor', 1, :'later' || 'SensitiveDataProcessing:11' || :'child' || ':3' || :'other' || :'mspa', 'gpc'),
	(16, 'ustx', 1, :'later' || 'SensitiveDataProcessing:8' || :'child' || :'other' || :'mspa', 'gpc'),
	(17, 'usde', 1, :'later' || 'SensitiveDataProcessing:9' || :'child' || ':5' || :'other' || :'mspa', 'gpc'),
	(18, 'usia', 1, :'iowa' || 'SensitiveDataProcessing:8' || :'child' || :'mspa', 'gpc'),
	(19, 'usne', 1, :'later' || 'SensitiveDataProcessing:8' || :'child' || :'other' || :'mspa', 'gpc'),
	(20, 'usnh', 1, :'later' || 'SensitiveDataProcessing:8' || :'child' || ':3' || :'other' || :'mspa', 'gpc'),
	(21, 'usnj', 1, :'later' || 'SensitiveDataProcessing:10' || :'child' || ':5' || :'other' || :'mspa', 'gpc'),
	(22, 'ustn', 1, :'later' || 'SensitiveDataProcessing:8' || :'child' || :'other' || :'mspa', 'gpc'),
	(23, 'usmn', 1, :'later' || 'SensitiveDataProcessing:8' || :'child' || :'other' || :'mspa', 'gpc'),
	(24, 'usmd', 1, :'latest' || :'later' || :'other', 'gpc'),
	(25, 'usin', 1, :'latest' || :'later' || :'child' || :'other', 'sensitive'),
	(26, 'usky', 1, :'latest' || :'later' || :'child' || :'other', 'sensitive'),
	(27, 'usri', 1, :'latest' || :'later' || :'child' || :'other', 'sensitive');
-- fields of two bits, with values by chance
CREATE FUNCTION fields(names text, OUT written text, OUT model jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	field text; v int[];
BEGIN
	written := ''; model := '{}';
	FOREACH field IN ARRAY regexp_split_to_array(trim(names), ' +') LOOP
		SELECT array_agg(chance(4)) INTO v FROM generate_series(1, coalesce(nullif(split_part(field, ':', 2), '')::int, 1));
		written := written || (SELECT string_agg(bits(x, 2), '' ORDER BY o) FROM unnest(v) WITH ORDINALITY u (x, o));
		model := model || jsonb_build_object(split_part(field, ':', 1), CASE WHEN field LIKE '%:%' THEN to_jsonb(v) ELSE to_jsonb(v[1]) END);
	END LOOP;
END
$$;
CREATE FUNCTION section(l layout, OUT written text, OUT model jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	f record; gpc int := chance(2); documented boolean := l.id >= 24 AND random() < 0.5;
BEGIN
	f := fields(l.fields);
	-- as writers differ: padding to 6 bits, or to 8
	written := base64url(bits(l.version, 6) || f.written || CASE WHEN random() < 0.5 THEN '0000' ELSE '' END);
	model := f.model || jsonb_build_object(CASE WHEN l.id >= 24 THEN 'MspaVersion' ELSE 'Version' END, l.version);
	IF documented THEN
		written := base64url(bits(l.id, 6) || bits(1, 6)) || '.' || written;
		model := model || jsonb_build_object('SectionID', l.id, 'Version', 1);
	END IF;
	IF l.segment = 'gpc' AND random() < 0.7 THEN
		written := written || '.' || base64url(bits(1, 2) || gpc);
		model := model || jsonb_build_object('GpcSegmentType', 1, 'Gpc', gpc = 1);
	ELSIF l.segment = 'sensitive' AND random() < 0.7 THEN
		f := fields('SensitiveDataProcessing:8');
		written := written || '.' || base64url(f.written);
		model := model || f.model;
	END IF;
END
$$;
CREATE FUNCTION gpp(n_th int, OUT written text, OUT model jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	l layout; s record; ids int[] := '{}'; all_written text := ''; sections jsonb := '{}'; items text := ''; n int := 0; last int := 0; k int := 1; stop int;
BEGIN
	IF random() < 0.4 THEN
		s := tc(0); ids := ids || 2; all_written := all_written || '~' || s.written; sections := sections || jsonb_build_object('tcfeuv2', s.model);
	END IF;
	IF random() < 0.3 THEN
		ids := ids || 6; all_written := all_written || '~1Y-N';
		sections := sections || '{"uspv1": {"Version": 1, "Notice": "Y", "OptOutSale": "-", "LspaCovered": "N"}}';
	END IF;
	FOR l IN SELECT DISTINCT ON (id) * FROM layout WHERE random() < 0.25 ORDER BY id LOOP
		s := section(l); ids := ids || l.id; all_written := all_written || '~' || s.written; sections := sections || jsonb_build_object(l.prefix, s.model);
	END LOOP;
	IF random() < 0.2 THEN
		ids := ids || 40 + chance(1000); all_written := all_written || '~any.thing_-9';
		sections := sections || jsonb_build_object('section_' || ids[cardinality(ids)], '{}'::jsonb);
	END IF;
	-- neighbours become groups, sometimes
	WHILE k <= cardinality(ids) LOOP
		stop := k;
		WHILE stop < cardinality(ids) AND ids[stop + 1] = ids[stop] + 1 AND random() < 0.7 LOOP stop := stop + 1; END LOOP;
		items := items || CASE WHEN stop > k THEN '1' || fibonacci(ids[k] - last) || fibonacci(ids[stop] - ids[k]) ELSE '0' || fibonacci(ids[k] - last) END;
		last := ids[stop]; k := stop + 1; n := n + 1;
	END LOOP;
	written := base64url(bits(3, 6) || bits(1, 6) || bits(n, 12) || items) || all_written;
	model := jsonb_build_object('version', 1, 'section_ids', to_jsonb(ids), 'sections', sections);
END
$$;
CREATE TABLE made_gpp AS SELECT n, g.* FROM generate_series(1, 200) n, gpp(n) g;
SELECT count(*) AS strings, count(DISTINCT written) > 150 AS different, count(*) FILTER (WHERE cdp.decode_gpp(written) = model) AS same FROM made_gpp;
SELECT written, model, result, error FROM made_gpp, attempt('gpp', written) WHERE model IS DISTINCT FROM result LIMIT 2;
SELECT count(DISTINCT prefix) AS sections FROM made_gpp, jsonb_object_keys(model->'sections') p (prefix) WHERE prefix !~ '^section';
-- one section more or less, a header of another kind: refused
SELECT what, count(*) > 150 AS many, count(result) AS accepted FROM (
	SELECT 'more' AS what, written || '~BAAA' AS t FROM made_gpp
	UNION ALL SELECT 'less', regexp_replace(written, '~[^~]*$', '') FROM made_gpp WHERE written LIKE '%~%'
	UNION ALL SELECT 'empty', written || '~' FROM made_gpp
	UNION ALL SELECT 'type', 'E' || substr(written, 2) FROM made_gpp
	UNION ALL SELECT 'version', 'DC' || substr(written, 3) FROM made_gpp) c, attempt('gpp', t) GROUP BY 1 ORDER BY 1;

--
-- What decoders disagree about: our answers, as docs/signal.md has them
--
\pset null -
SELECT what, coalesce(result #>> '{}', error) AS answer FROM (VALUES
	('header without sections', 'gpp', 'DBAA'),
	('header padded to 6 bits', 'gpp', 'DBABTA~1YNN'),
	('header padded to 8 bits', 'gpp', 'DBABTAA~1YNN'),
	('the header as a section', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(3)) || '~x'),
	('a section that is not known', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(65535)) || '~any_thing-1.2'),
	('the same with a character that cannot be', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(65535)) || '~any/thing'),
	('an id beyond 65535', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(65536)) || '~x'),
	('a group beyond what follows', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '1' || fibonacci(30) || fibonacci(30000)) || '~x'),
	('Virginia has no GPC segment', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(9)) || '~BVoYYYI.QA'),
	('a section without its GPC segment', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(10)) || '~BVoYYYI'),
	('a GPC segment of another type', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(10)) || '~BVoYYYI.wA'),
	('version 27 of a section', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(9)) || '~bVoYYYI'),
	('version 3 of usnat', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(7)) || '~DVVVVVVVVVVV'),
	('version 2 of a documented header', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(24)) || '~YC.BVVV'),
	('a documented header alone', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(24)) || '~YB'),
	('Europe''s string in Canada''s section', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(5)) || '~CAAA'),
	('small letters', 'usp', '1ynn'), ('version 2', 'usp', '2YNN'), ('a blank at the end', 'usp', '1YNN '), ('nothing', 'usp', ''),
	('the law does not apply', 'usp', '1---'),
	('nothing', 'tcf', ''), ('nothing', 'gpp', ''), ('version 1', 'tcf', 'BAAA'), ('padding of base64', 'tcf', 'CAAA='),
	('not a string of the platform', 'gpp', '1YNN')) e (what, kind, input), attempt(kind, input);
-- of version 1 of the United States with the longer lists of version 2, what version 1 knows is reported
WITH s AS (SELECT fields(replace(replace(fields, ':12', ':16'), 'Consents:2', 'Consents:3')) AS f FROM layout WHERE id = 7 AND version = 1)
SELECT d->'SensitiveDataProcessing' = jsonb_path_query_array((f).model, '$.SensitiveDataProcessing[0 to 11]') AS sensitive,
	d->'KnownChildSensitiveDataConsents' = jsonb_path_query_array((f).model, '$.KnownChildSensitiveDataConsents[0 to 1]') AS child,
	d - '{SensitiveDataProcessing,KnownChildSensitiveDataConsents,Version}'::text[] = (f).model - '{SensitiveDataProcessing,KnownChildSensitiveDataConsents}'::text[] AS others
FROM (SELECT f, cdp.decode_gpp('DBABLA~' || base64url(bits(1, 6) || (f).written)) #> '{sections,usnat}' AS d FROM s OFFSET 0) x;
-- of TC strings
CREATE FUNCTION core(rest text, language text DEFAULT 'EN', cc text DEFAULT 'DE') RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT base64url(bits(2, 6) || repeat('0', 36 + 36 + 12 + 12 + 6) || language || bits(1, 12) || bits(4, 6) || repeat('0', 2 + 12 + 24 + 24 + 1) || cc || rest)
$$;
\set none 'repeat(''0'', 17)'
SELECT what, coalesce(result #>> array[part], error) AS answer FROM (VALUES
	('overlapping ranges', 'vendor_consent_ids', core(bits(100, 16) || '1' || bits(3, 12) || '1' || bits(40, 16) || bits(50, 16) || '1' || bits(5, 16) || bits(20, 16) || '1' || bits(18, 16) || bits(41, 16) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('vendor 0', NULL, core(bits(100, 16) || '1' || bits(1, 12) || '0' || bits(0, 16) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('a range that ends before it begins', NULL, core(bits(100, 16) || '1' || bits(1, 12) || '1' || bits(9, 16) || bits(8, 16) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('a vendor beyond the maximum', NULL, core(bits(100, 16) || '1' || bits(1, 12) || '0' || bits(101, 16) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('restriction of purpose 0', 'publisher_restrictions', core(:none || :none || bits(1, 12) || bits(0, 6) || bits(0, 2) || bits(1, 12) || '0' || bits(9, 16), letters('EN'), letters('DE'))),
	('restriction of type 3', 'publisher_restrictions', core(:none || :none || bits(1, 12) || bits(2, 6) || bits(3, 2) || bits(1, 12) || '0' || bits(9, 16), letters('EN'), letters('DE'))),
	('restriction without vendors', 'publisher_restrictions', core(:none || :none || bits(1, 12) || bits(2, 6) || bits(0, 2) || bits(0, 12), letters('EN'), letters('DE'))),
	('restriction with a reversed range', NULL, core(:none || :none || bits(1, 12) || bits(2, 6) || bits(0, 2) || bits(1, 12) || '1' || bits(9, 16) || bits(2, 16), letters('EN'), letters('DE'))),
	('language that is not letters', NULL, core(:none || :none || bits(0, 12), bits(4, 6) || bits(26, 6), letters('DE'))),
	('country that is not letters', NULL, core(:none || :none || bits(0, 12), letters('EN'), bits(63, 6) || bits(0, 6))),
	('bits after the last field', 'cmp_id', core(:none || :none || bits(0, 12) || repeat('1', 60), letters('EN'), letters('DE'))),
	('empty segment at the end', NULL, core(:none || :none || bits(0, 12), letters('EN'), letters('DE')) || '..')) e (what, part, input), attempt('tcf', input);

-- Canada: an encoder as plain as the others
WITH v AS MATERIALIZED (SELECT ARRAY[3, 5, 6, 7, 8] AS ids)
SELECT jsonb_pretty(cdp.decode_gpp(base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '0' || fibonacci(5)) || '~'
	|| base64url(bits(1, 6) || bits(16409952000, 36) || bits(16409952001, 36) || bits(31, 12) || bits(640, 12) || bits(1, 6) || letters('FR') || bits(2, 12)
		|| bits(2, 6) || '1' || field('{2}', 12) || field('{1,3,24}', 24) || field('{2}', 24)
		-- the example of the document: 3, and 5 to 8
		|| '1' || '000000000010' || '0' || '0011' || '1' || '011' || '0011'
		|| '0' || bits(9, 16) || field(ids, 9)
		|| bits(1, 12) || bits(4, 6) || bits(1, 2) || '0' || bits(8, 16) || field(ids, 8))
	|| '.' || base64url(bits(3, 3) || field('{1}', 24) || field('{24}', 24) || bits(3, 6) || '101' || '010')
	|| '.' || base64url(bits(1, 3) || '1' || bits(1, 12) || '1' || fibonacci(10) || fibonacci(1000))) #> '{sections,tcfcav1}')
FROM v;

--
-- Limits: a signal is at most 8192 bytes; whatever is in them takes milliseconds
--
SELECT cdp.decode_tcf(repeat('C', 8193));
SELECT cdp.decode_gpp(repeat('D', 8193));
SELECT cdp.decode_usp(repeat('1', 8193));
SELECT state FROM attempt('tcf', repeat('C', 8192));
-- as many ranges as fit, all the same; every other vendor; restrictions without vendors; sections that are not known
CREATE TABLE bomb AS SELECT * FROM (VALUES
	('ranges', 'tcf', core(bits(65535, 16) || '1' || bits(1400, 12) || repeat('1' || bits(1, 16) || bits(65535, 16), 1400) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('descending', 'tcf', core(bits(65535, 16) || '1' || bits(1400, 12) || (SELECT string_agg('1' || bits(60000 - 20 * i, 16) || bits(60010 - 20 * i, 16), '' ORDER BY i) FROM generate_series(1, 1400) i) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('every other', 'tcf', core(bits(48000, 16) || '0' || repeat('10', 24000) || :none || bits(0, 12), letters('EN'), letters('DE'))),
	('restrictions', 'tcf', core(:none || :none || bits(2400, 12) || repeat('0', 2400 * 20), letters('EN'), letters('DE'))),
	('sections', 'gpp', base64url(bits(3, 6) || bits(1, 6) || bits(1, 12) || '1' || fibonacci(30) || fibonacci(3999)) || repeat('~x', 4000))) b (what, kind, input);
CREATE TABLE took (what text, ms float);
DO $$
DECLARE
	b record; started timestamptz; least float; d jsonb;
BEGIN
	FOR b IN SELECT * FROM bomb LOOP
		least := 'Infinity';
		FOR i IN 1..7 LOOP
			started := clock_timestamp();
			d := (attempt(b.kind, b.input)).result;
			least := least(least, 1000 * extract(epoch FROM clock_timestamp() - started));
		END LOOP;
		INSERT INTO took VALUES (b.what, least);
	END LOOP;
END
$$;
SELECT what, length(input) > 7500 AS long, result IS NOT NULL AS read, ms < 50 AS fast,
	coalesce(jsonb_array_length(result->'vendor_consent_ids'), jsonb_array_length(result->'section_ids')) AS vendors_or_sections, jsonb_array_length(result->'publisher_restrictions') AS restrictions
FROM bomb JOIN took USING (what), attempt(kind, input) ORDER BY 1;

--
-- The functions: pure, and nothing for nothing
--
SELECT proname, provolatile, proisstrict, proparallel, obj_description(oid) IS NOT NULL AS described FROM pg_proc WHERE proname ~ '^decode_' AND pronamespace = 'cdp'::regnamespace ORDER BY 1;
SELECT cdp.decode_tcf(NULL) AS tcf, cdp.decode_gpp(NULL) AS gpp, cdp.decode_usp(NULL) AS usp;

\c :main
DROP DATABASE regress_signal;
