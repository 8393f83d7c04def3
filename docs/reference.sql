-- Makes docs/reference.md from the comments in a database with cdp:
--     psql -X -d DATABASE -f docs/reference.sql > docs/reference.md
-- Use a fresh database (CREATE EXTENSION cdp; SELECT cdp.init();), so that no trait of yours is in it.

\set QUIET 1
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET search_path = pg_catalog;

CREATE TEMP TABLE section (n int, title text, names text[]);
INSERT INTO section VALUES
	(1, 'Set-up', '{version,init,migrate,provision,maintain,schedule,create_partitions,set_retention,drop_retention,set_message_retention,storage_paths,clock}'),
	(2, 'Data in', '{track,identify,upsert_profile,ingest,retry_rejected,attach,detach,define_event,drop_event,suggest_mapping,refresh_data_map,mark_personal}'),
	(3, 'Identity', '{resolve,canonical,identifier,namespace_of,value_of,cardinality,identifiers_of,identity_merge,normalise,normalise_verdict,normalisers,define_namespace,set_identity_limits,explain_identity,identity_graph,refusal_in_words,merge,unmerge,unlink,remove_identifier,simulate_rules,apply_rules,ingest_edges,connected_components,connected_components_agg}'),
	(4, 'Profile', '{define_trait,redefine_trait,explain_trait,define_metric,drop_metric,metric_value,set_session,drop_session,define_sequence,drop_sequence}'),
	(5, 'Segment', '{define_segment,drop_segment,show_segment,disable_segment,enable_segment,refresh_segment,in_segment,within,members,segment_count,overlap,why,preview_rule,preview_sql,rule_text,rule_schema,check_predicate,matches}'),
	(6, 'Consent', '{define_purpose,permit,forbid,set_consent,explain_consent,set_jurisdiction,define_notice,define_default,define_channel,apply_signal,map_signal,unmap_signal,read_signal,tcf_allows,decode_tcf,decode_gpp,decode_usp}'),
	(7, 'Activation', '{define_activation,drop_activation,claim,ack,platform_hash,platform_rules}'),
	(8, 'Replay', '{verify,rebuild,rebuild_all}'),
	(9, 'Audiences and affinities', '{audience,audience_agg,unnest,affinity,affinity_agg,affinity_union,affinity_at,affinity_score,affinity_top}');

CREATE TEMP TABLE page (n serial, line text);

-- Pipes would end a table's cell.
CREATE FUNCTION pg_temp.cell(t text) RETURNS text LANGUAGE sql AS
$$ SELECT replace(replace(coalesce(t, ''), '|', '\|'), E'\n', ' ') $$;

-- Arguments as people write them.
CREATE FUNCTION pg_temp.args(t text) RETURNS text LANGUAGE sql AS
$$ SELECT pg_temp.cell(regexp_replace(replace(regexp_replace(t, '(''|NULL)::[a-z ]+(\[\])?', '\1', 'g'),
	'timestamp with time zone', 'timestamptz'), '^IN ', '')) $$;

INSERT INTO page (line) VALUES
	('# Reference'), (''),
	('Version ' || (SELECT library FROM cdp.version()) || '. Made from the comments in the database by [reference.sql](reference.sql); do not edit.'),
	('psql shows the same: `\df+ cdp.*`, `\d+ cdp.profiles`.');

INSERT INTO page (line)
SELECT line FROM (
	SELECT s.n, h.o, '' AS sig, h.line, 0 AS a
	FROM section s, unnest(ARRAY['', '## ' || s.title, '', '| function | does |', '|---|---|']) WITH ORDINALITY h (line, o)
	UNION ALL
	SELECT s.n, array_position(s.names, p.proname::text), pg_get_function_identity_arguments(p.oid),
		format('| `cdp.%s(%s)%s` | %s |', p.proname, pg_temp.args(pg_get_function_arguments(p.oid)),
			coalesce(' → ' || nullif(pg_temp.args(pg_get_function_result(p.oid)), ''), ''), pg_temp.cell(obj_description(p.oid, 'pg_proc'))), 1
	FROM section s JOIN pg_proc p ON p.proname = ANY (s.names) AND p.pronamespace = 'cdp'::regnamespace) x
ORDER BY n, a, o, sig COLLATE "C";

INSERT INTO page (line) SELECT unnest(ARRAY['', '## Views', '', 'Each shows what the current role may see.']);
INSERT INTO page (line)
SELECT line FROM (
	SELECT c.relname, h.o - 100 AS n, h.line
	FROM pg_class c, unnest(ARRAY['', '### cdp.' || c.relname, '', obj_description(c.oid, 'pg_class'), '', '| column | type | |', '|---|---|---|']) WITH ORDINALITY h (line, o)
	WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v'
	UNION ALL
	SELECT c.relname, a.attnum, format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod), pg_temp.cell(col_description(c.oid, a.attnum)))
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v') x
ORDER BY relname COLLATE "C", n;

INSERT INTO page (line) SELECT unnest(ARRAY['', '## Types', '', '| type | is |', '|---|---|']);
INSERT INTO page (line)
SELECT format('| `%s` | %s |', t.typname, pg_temp.cell(obj_description(t.oid, 'pg_type')))
FROM pg_type t WHERE t.typnamespace = 'cdp'::regnamespace AND t.typcategory <> 'A'
	AND (t.typtype = 'b' OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')) ORDER BY t.typname COLLATE "C";

INSERT INTO page (line) SELECT unnest(ARRAY['', '## Operators', '', '| left | operator | right | result | question |', '|---|---|---|---|---|']);
INSERT INTO page (line)
SELECT format('| %s | `%s` | %s | %s | %s |', format_type(o.oprleft, NULL), pg_temp.cell(o.oprname), format_type(o.oprright, NULL),
	format_type(o.oprresult, NULL), pg_temp.cell(obj_description(o.oid, 'pg_operator')))
FROM pg_operator o WHERE o.oprnamespace = 'cdp'::regnamespace
ORDER BY o.oprname COLLATE "C", format_type(o.oprleft, NULL) COLLATE "C", format_type(o.oprright, NULL) COLLATE "C";

INSERT INTO page (line) SELECT unnest(ARRAY['', '## Operator classes', '', '| class | method | type | default | |', '|---|---|---|---|---|']);
INSERT INTO page (line)
SELECT format('| `%s` | %s | %s | %s | %s |', k.opcname, m.amname, format_type(k.opcintype, NULL), CASE WHEN k.opcdefault THEN 'yes' ELSE 'no' END,
	pg_temp.cell(obj_description(k.oid, 'pg_opclass')))
FROM pg_opclass k JOIN pg_am m ON m.oid = k.opcmethod WHERE k.opcnamespace = 'cdp'::regnamespace ORDER BY k.opcname COLLATE "C";

INSERT INTO page (line) SELECT unnest(ARRAY['', '## Settings', '', 'Beside these there is `cdp.clock`, for tests: see [ingest](ingest.md#maintenance).', '', '| setting | default | who sets it | is |', '|---|---|---|---|']);
INSERT INTO page (line)
SELECT format('| `%s` | %s | %s | %s |', s.name, coalesce(nullif(s.boot_val, ''), 'empty') || coalesce(' ' || s.unit, ''), s.context,
	pg_temp.cell(concat_ws(' ', s.short_desc, s.extra_desc)))
FROM pg_settings s WHERE s.name LIKE 'cdp.%' ORDER BY s.name COLLATE "C";

INSERT INTO page (line) SELECT unnest(ARRAY['', '## Parts', '', 'Functions that the ones above, the tables, or the operators are made of. They are not for direct use.', '', '| function | is |', '|---|---|']);
INSERT INTO page (line)
SELECT format('| `cdp.%s(%s)` | %s |', p.proname, pg_temp.args(pg_get_function_identity_arguments(p.oid)), pg_temp.cell(obj_description(p.oid, 'pg_proc')))
FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND NOT EXISTS (SELECT FROM section s WHERE p.proname = ANY (s.names))
	AND p.proname !~ '^(identifier|identity_set|identity_merge|connected_components_agg)_'
ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";

SELECT line FROM page ORDER BY n;
