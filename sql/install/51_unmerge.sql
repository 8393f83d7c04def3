-- 51_unmerge.sql: who is who, decided by people.  Merge, unmerge, unlink, remove.

CREATE FUNCTION cdp.merge(who text, reason text, override boolean DEFAULT false) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_merge_text';
COMMENT ON FUNCTION cdp.merge(text, text, boolean) IS
'Says that these identifiers are one person and returns the number of the merge for cdp.unmerge(), NULL if they were one already; override lets kind privacy go beyond the rules.';
CREATE FUNCTION cdp.merge(who text[], reason text, override boolean DEFAULT false) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_merge_array';
COMMENT ON FUNCTION cdp.merge(text[], text, boolean) IS
'Says that these identifiers are one person and returns the number of the merge for cdp.unmerge(), NULL if they were one already; override lets kind privacy go beyond the rules.';
CREATE FUNCTION cdp.merge(who cdp.identity_set, reason text, override boolean DEFAULT false) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_merge_set';
COMMENT ON FUNCTION cdp.merge(cdp.identity_set, text, boolean) IS
'Says that these identifiers are one person and returns the number of the merge for cdp.unmerge(), NULL if they were one already; override lets kind privacy go beyond the rules.';
CREATE FUNCTION cdp.merge(a bigint, b bigint, reason text, override boolean DEFAULT false) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_merge_profiles';
COMMENT ON FUNCTION cdp.merge(bigint, bigint, text, boolean) IS
'Says that two profiles are one person and returns the number of the merge for cdp.unmerge(), NULL if they were one already; override lets kind privacy go beyond the rules.';

CREATE FUNCTION cdp.unmerge(merge_id bigint, reason text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_unmerge';
COMMENT ON FUNCTION cdp.unmerge(bigint, text) IS
'Undoes a merge: both are what they would be had it never happened, what came since goes where its identifiers say, and they are not merged again. Returns the profile that comes back.';

CREATE FUNCTION cdp.unlink(a cdp.identifier, b cdp.identifier, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_unlink';
CREATE FUNCTION cdp.unlink(a text, b text, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.unlink(a::cdp.identifier, b::cdp.identifier, reason)';
COMMENT ON FUNCTION cdp.unlink(cdp.identifier, cdp.identifier, text) IS
'Says that two identifiers are not one person, now or ever; true if they were.';
COMMENT ON FUNCTION cdp.unlink(text, text, text) IS
'Says that two identifiers are not one person, now or ever; true if they were.';

CREATE FUNCTION cdp.remove_identifier(identifier cdp.identifier) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_remove_identifier';
COMMENT ON FUNCTION cdp.remove_identifier(cdp.identifier) IS
'Takes an identifier from the person who has it; what she did stays hers. Whoever is called so from now on is somebody else. Returns the profile that had it.';
CREATE FUNCTION cdp.remove_identifier(identifier text) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.remove_identifier(identifier::cdp.identifier)';
COMMENT ON FUNCTION cdp.remove_identifier(text) IS
'Takes an identifier from the person who has it; what she did stays hers. Whoever is called so from now on is somebody else. Returns the profile that had it.';

CREATE FUNCTION cdp.refusal_in_words(refused text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN refused LIKE 'limit:%' THEN format('one person may not have more values of namespace %s', substr(refused, 7))
		WHEN refused LIKE 'newer_link:%' THEN format('a newer link took one of them, and one person may not have more values of namespace %s', substr(refused, 12))
		WHEN refused = 'too_many_identifiers' THEN 'one person may not have more identifiers'
		WHEN refused = 'separated' THEN 'somebody said that they are not one person'
		WHEN refused = 'isolated' THEN 'the person was known already, and what is anonymous stays apart'
		WHEN refused = 'blocked' THEN 'the value is blocked'
		ELSE refused END
$$;
COMMENT ON FUNCTION cdp.refusal_in_words(text) IS 'Why a link was refused, as a phrase; takes the word in cdp.identity_edges.refused.';

CREATE FUNCTION cdp.explain_identity(who bigint) RETURNS TABLE (at timestamptz, what text, identifier text, other text, why text, source text, message_id text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id bigint := cdp.resolve(who);
BEGIN
	RETURN QUERY
	SELECT e.ts, CASE WHEN e.refused IS NOT NULL THEN 'not linked' WHEN e.rule IN ('merge', 'override') THEN 'merged' ELSE 'linked' END,
		e.identifier, e.other,
		CASE e.rule WHEN 'merge' THEN 'somebody said that they are one person' WHEN 'override' THEN 'somebody said that they are one person, whatever the rules'
			WHEN 'bulk' THEN 'a list of pairs has both' ELSE 'a message names both' END
		|| CASE WHEN e.refused IS NOT NULL THEN ', but ' || cdp.refusal_in_words(e.refused) ELSE '' END,
		e.source, e.message_id
	FROM cdp.identity_edges e WHERE e.profile_id = id OR e.other_profile_id = id
	ORDER BY e.ts, e.message_id, e.identifier, e.other;
END $$;
COMMENT ON FUNCTION cdp.explain_identity(bigint) IS
'Why these identifiers are one person, and why others are not: every link, kept or refused, with its reason and message.';
CREATE FUNCTION cdp.explain_identity(who text) RETURNS TABLE (at timestamptz, what text, identifier text, other text, why text, source text, message_id text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS 'SELECT * FROM cdp.explain_identity(cdp.resolve(who))';
COMMENT ON FUNCTION cdp.explain_identity(text) IS
'Why these identifiers are one person, and why others are not: every link, kept or refused, with its reason and message.';

CREATE FUNCTION cdp.identity_graph(who bigint, format text DEFAULT 'mermaid') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id bigint := cdp.resolve(who);
	result text;
	e record;
	nodes text[];
BEGIN
	IF format IS NULL OR format NOT IN ('mermaid', 'dot') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = pg_catalog.format('format %s is unknown', coalesce(quote_literal(format), 'NULL')),
			HINT = 'Use mermaid or dot.';
	END IF;
	IF id IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT array_agg(x ORDER BY mine DESC, x) INTO nodes FROM (
		SELECT i.namespace || ':' || i.value AS x, true AS mine FROM cdp.identifiers i WHERE i.profile_id = id
		UNION SELECT v.x, v.p = id FROM cdp.identity_edges d, LATERAL (VALUES (d.identifier, d.profile_id), (d.other, d.other_profile_id)) v (x, p)
			WHERE (d.profile_id = id OR d.other_profile_id = id) AND v.x IS NOT NULL) n;
	IF nodes IS NULL THEN
		RETURN NULL;
	END IF;
	result := CASE format WHEN 'mermaid' THEN E'graph LR\n' ELSE E'graph person {\n' END;
	FOR i IN 1..cardinality(nodes) LOOP
		result := result || CASE format
			WHEN 'mermaid' THEN pg_catalog.format(E'  n%s["%s"]\n', i, replace(replace(replace(replace(nodes[i], '&', '&amp;'), '"', '&quot;'), '<', '&lt;'), '>', '&gt;'))
			ELSE pg_catalog.format(E'  n%s [label="%s"];\n', i, replace(replace(nodes[i], '\', '\\'), '"', '\"')) END;
	END LOOP;
	-- several messages that say the same are one line
	FOR e IN SELECT array_position(nodes, d.identifier) AS a, array_position(nodes, d.other) AS b, d.refused
			FROM cdp.identity_edges d WHERE (d.profile_id = id OR d.other_profile_id = id) AND d.identifier IS NOT NULL AND d.other IS NOT NULL
			GROUP BY 1, 2, 3 ORDER BY min(d.ts), 1, 2, 3 LOOP
		result := result || CASE format
			WHEN 'mermaid' THEN CASE WHEN e.refused IS NULL THEN pg_catalog.format(E'  n%s --- n%s\n', e.a, e.b)
				ELSE pg_catalog.format(E'  n%s -. "%s" .- n%s\n', e.a, replace(e.refused, '"', '&quot;'), e.b) END
			ELSE pg_catalog.format(E'  n%s -- n%s%s;\n', e.a, e.b,
				CASE WHEN e.refused IS NULL THEN '' ELSE pg_catalog.format(' [style=dotted, label="%s"]', replace(replace(e.refused, '\', '\\'), '"', '\"')) END) END;
	END LOOP;
	RETURN result || CASE format WHEN 'dot' THEN E'}\n' ELSE '' END;
END $$;
COMMENT ON FUNCTION cdp.identity_graph(bigint, text) IS
'Draws a person''s identifiers and links, refused ones dotted, as mermaid or dot; NULL for nobody the caller may see.';
CREATE FUNCTION cdp.identity_graph(who text, format text DEFAULT 'mermaid') RETURNS text
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.identity_graph(cdp.resolve(who), format)';
COMMENT ON FUNCTION cdp.identity_graph(text, text) IS
'Draws a person''s identifiers and links, refused ones dotted, as mermaid or dot; NULL for nobody the caller may see.';

CREATE FUNCTION cdp.simulate(changes jsonb) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_simulate_rules';
COMMENT ON FUNCTION cdp.simulate(jsonb) IS 'The work of cdp.simulate_rules().';

CREATE FUNCTION cdp.check_rule_changes(changes jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	r record;
	k text;
BEGIN
	IF changes IS NULL OR jsonb_typeof(changes) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'changes must be a JSON object',
			HINT = 'Example: {"email": {"max_per_profile": 1, "on_conflict": "reject"}}.';
	END IF;
	FOR r IN SELECT * FROM jsonb_each(changes) LOOP
		CONTINUE WHEN r.key = 'max_identifiers' AND r.value::text ~ '^[1-9][0-9]{0,5}$';
		IF r.key !~ '^(\*|[a-z_][a-z0-9_.-]{0,62})$' OR jsonb_typeof(r.value) <> 'object' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('entry "%s" is not the rules of a namespace', r.key),
				HINT = 'Keys are namespaces in lower case, ''*'' for the default, or max_identifiers.';
		END IF;
		FOR k IN SELECT jsonb_object_keys(r.value) LOOP
			IF k NOT IN ('priority', 'max_per_profile', 'period', 'unique_per_profile', 'blocked', 'ttl', 'normaliser', 'on_conflict') THEN
				RAISE invalid_parameter_value USING
					MESSAGE = format('rule "%s" of namespace "%s" is unknown', k, r.key),
					HINT = 'Rules are priority, max_per_profile, period, unique_per_profile, blocked, ttl, normaliser and on_conflict.';
			END IF;
		END LOOP;
		BEGIN
			IF (r.value->>'max_per_profile')::int < 0 OR (r.value->>'period')::interval < '0' OR (r.value->>'ttl')::interval < '0'
					OR ((r.value->>'unique_per_profile')::boolean AND (r.value->>'max_per_profile')::int <> 1)
					OR (r.value->>'priority')::int IS NULL AND r.value->>'priority' IS NOT NULL
					OR r.value ? 'blocked' AND jsonb_typeof(r.value->'blocked') <> 'array' THEN
				RAISE invalid_text_representation;
			END IF;
		EXCEPTION WHEN data_exception THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('a rule of namespace "%s" has a value that cdp.define_namespace() would not take', r.key),
				HINT = 'priority and max_per_profile are whole numbers, period and ttl intervals, blocked a list of patterns, unique_per_profile is true or false.';
		END;
		IF r.value ? 'normaliser' AND NOT EXISTS (SELECT FROM cdp.normalisers() x WHERE x.name = r.value->>'normaliser') THEN
			RAISE undefined_object USING MESSAGE = format('normaliser %s does not exist', quote_literal(r.value->>'normaliser'));
		END IF;
		IF r.value->>'on_conflict' NOT IN ('demote', 'newest_wins', 'reject', 'isolate') THEN
			RAISE invalid_parameter_value USING MESSAGE = format('conflict policy %s is unknown', quote_literal(r.value->>'on_conflict'));
		END IF;
		IF r.value ? 'blocked' THEN
			PERFORM cdp.check_pattern(p) FROM jsonb_array_elements_text(r.value->'blocked') p;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION cdp.check_rule_changes(jsonb) IS 'Raises unless the object can be changes of rules; part of cdp.simulate_rules().';

CREATE FUNCTION cdp.simulate_rules(changes jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_rule_changes(changes);
	RETURN cdp.simulate(changes);
END $$;
COMMENT ON FUNCTION cdp.simulate_rules(jsonb) IS
'What changed rules would do to the people known: how many would merge or split, the largest, a sample. Keys are namespaces, values the arguments of cdp.define_namespace(). Nothing is changed or locked.';

CREATE FUNCTION cdp.apply_rules() RETURNS int
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	UPDATE cdp_data.task t SET position = NULL, state = 'waiting', done_rows = 0, updated_at = NULL,
		total_rows = (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.profile_state'::regclass)
	WHERE t.kind = 'rules' AND t.state IN ('waiting', 'running') RETURNING t.task_id INTO id;
	IF id IS NULL THEN
		INSERT INTO cdp_data.task (kind, total_rows)
		VALUES ('rules', (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.profile_state'::regclass))
		RETURNING task_id INTO id;
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.apply_rules() IS
'Has cdp.maintain() bring the people known in line with the rules of now, one group of linked identifiers and one commit at a time; ids stay where they can. Returns the task, see cdp.tasks.';

CREATE FUNCTION cdp.ingest_edges(query text, source text DEFAULT 'bulk', OUT pairs bigint, OUT refused bigint, OUT rejected bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_ingest_edges';
COMMENT ON FUNCTION cdp.ingest_edges(text, text) IS
'Takes pairs of identifiers from a query (two columns such as ''email:ada@example.com'', a third may say when) as evidence that each pair is one person, under the rules; says how many pairs there were, were refused by a rule, or rejected as malformed.';
