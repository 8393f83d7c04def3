-- 55_discover.sql: finding one's data.  What a table holds, and what events, properties and traits there are.

CREATE FUNCTION cdp.install_discover() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- What was met in events and on people.  rows: events (people, for traits)
	-- that have it, as estimated; total: of how many people, for traits; nodes:
	-- the most identifiers that had it in one reading.
	CREATE TABLE cdp_data.data_map (
		kind		text COLLATE "C" NOT NULL,
		type		text COLLATE "C" NOT NULL,
		event		text COLLATE "C" NOT NULL,
		name		text COLLATE "C" NOT NULL,
		source		text COLLATE "C" NOT NULL,
		rows		numeric NOT NULL,
		total		numeric,
		types		jsonb NOT NULL,
		nodes		bigint NOT NULL,
		first_seen	timestamptz NOT NULL,
		last_seen	timestamptz NOT NULL,
		personal	text,
		PRIMARY KEY (kind, type, event, name, source)
	);

	-- Up to where each partition was read, and in which file.
	CREATE TABLE cdp_data.data_map_read (
		part		oid PRIMARY KEY,
		file		oid NOT NULL,
		upto		tid NOT NULL,
		read_at		timestamptz NOT NULL
	);

	CREATE TABLE cdp_data.data_map_personal (
		path		text COLLATE "C" PRIMARY KEY,
		personal	boolean NOT NULL,
		marked_by	name NOT NULL,
		marked_at	timestamptz NOT NULL
	);
END $$;
COMMENT ON FUNCTION cdp.install_discover() IS 'Step of cdp.init(): tables of the map of data.';

CREATE FUNCTION cdp.install_data_map() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.data_map WITH (security_invoker = true) AS
	SELECT x.*, coalesce(o.personal, x.reason IS NOT NULL) AS personal,
		CASE WHEN o.path IS NOT NULL THEN 'marked' ELSE x.reason END AS why
	FROM (SELECT m.kind::text AS kind, nullif(m.type, '')::text AS type, nullif(m.event, '')::text AS event, nullif(m.name, '')::text AS name,
			CASE m.kind WHEN 'property' THEN 'properties.' || m.name WHEN 'trait' THEN 'traits.' || m.name WHEN 'context' THEN 'context.' || m.name END AS path,
			m.source::text AS source,
			ARRAY(SELECT t.key FROM jsonb_each_text(m.types) t WHERE t.key NOT IN ('null', '') ORDER BY t.value::numeric DESC, t.key) AS types,
			CASE WHEN m.kind <> 'trait' THEN round(m.rows) END::bigint AS events,
			CASE WHEN m.kind <> 'event' AND CASE m.kind WHEN 'trait' THEN m.total ELSE e.rows END > 0
				THEN round(least(1, m.rows / CASE m.kind WHEN 'trait' THEN m.total ELSE e.rows END), 4) END::float8 AS fill_rate,
			m.first_seen, m.last_seen, m.personal AS reason
		FROM cdp_data.data_map m LEFT JOIN cdp_data.data_map e ON e.name = '' AND e.source = m.source
			AND e.kind = CASE m.kind WHEN 'property' THEN 'event' WHEN 'context' THEN 'source' END AND e.type = m.type AND e.event = m.event
		WHERE m.kind <> 'source') x
	LEFT JOIN cdp_data.data_map_personal o ON o.path = x.path;
	COMMENT ON VIEW cdp.data_map IS 'Every event, property, trait and part of the context that cdp met, of whom it came from, its types, how often it is filled, and whether it is personal; estimates, see cdp.refresh_data_map().';
	COMMENT ON COLUMN cdp.data_map.kind IS 'event, property, trait or context.';
	COMMENT ON COLUMN cdp.data_map.path IS 'What cdp.mark_personal() takes; null for events.';
	COMMENT ON COLUMN cdp.data_map.types IS 'Most frequent first: string, email, url, uuid, timestamp, integer, number, boolean, object, array.';
	COMMENT ON COLUMN cdp.data_map.fill_rate IS 'Share that has it and not null: of the source''s events of this name; of people, for traits.';
	COMMENT ON COLUMN cdp.data_map.reason IS 'What about the name or the values looks personal.';
	COMMENT ON COLUMN cdp.data_map.why IS 'reason, or "marked" by cdp.mark_personal().';
END $$;
COMMENT ON FUNCTION cdp.install_data_map() IS 'Step of cdp.init(): the view cdp.data_map.';

-- Words by their own boundaries: billingZipCode and billing_zip_code are one.
CREATE FUNCTION cdp.personal_reason(name text, of_person boolean DEFAULT false) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE
		WHEN n ~ '(^|_)(passw(or)?d|pwd|secret|token|salt|api_key|private_key|otp|pin|cvv|cvc)(_|$)' THEN 'secret'
		WHEN n ~ '(^|_)(e_?mail|mail_address|mailbox|phone|telephone|tel|mobile|cell|msisdn|fax|whatsapp|line_id)(_|$)' OR n ~ '(\u30E1\u30FC\u30EB|\u96FB\u8A71|\u643A\u5E2F)' THEN 'contact'
		WHEN n ~ '(^|_)(first|last|full|given|family|middle|maiden|sur|nick|user|display|customer|contact|holder)_?name(_|$)' OR n ~ '(^|_)(kana|furigana|login)(_|$)'
			OR n ~ '(\u6C0F\u540D|\u304A\u540D\u524D|\u59D3\u540D|\u30D5\u30EA\u30AC\u30CA)' OR (of_person AND n ~ '^(name|initials|title|salutation|\u59D3|\u540D|\u540D\u524D)$') THEN 'name'
		WHEN n ~ '(^|_)(ssn|passport|tax_id|national_id|my_number|driver_?s?_licen[cs]e|iban|bic|card_number|credit_card|account_number|insurance_number)(_|$)' THEN 'official number'
		WHEN n ~ '(^|_)(user|customer|member|account|person|subscriber|shopper|buyer|patient|guest|contact|household|loyalty|device|advertising|anonymous|cookie|visitor|client)_?(id|ids|no|number|key|uuid)(_|$)'
			OR n ~ '(^|_)(idfa|idfv|gaid|aaid|imei|imsi|cookie|fingerprint)(_|$)' THEN 'identifier'
		WHEN n ~ '(^|_)(address|street|zip|zip_?code|postal|postal_?code|postcode|geo|lat|latitude|lng|lon|longitude|gps|location|coordinates)(_|$)' OR n ~ '(\u4F4F\u6240|\u90F5\u4FBF\u756A\u53F7)' THEN 'place'
		WHEN n ~ '(^|_)(ip|ip_address|remote_addr|user_agent|mac_address)(_|$)' THEN 'network'
		WHEN n ~ '(^|_)(birth|birthday|birthdate|birth_?date|dob|date_of_birth|born|age|gender|sex)(_|$)' OR n ~ '(\u751F\u5E74\u6708\u65E5|\u8A95\u751F\u65E5|\u6027\u5225|\u5E74\u9F62)' THEN 'birth or gender'
		WHEN n ~ '(^|_)(religion|ethnic|ethnicity|race|health|diagnos[ei]s|disability|pregnan\w*|orientation|political|party|union|nationality|salary|income|wage|marital|marital_status|children|kids|kids_count|household_size|household_comp)(_|$)' THEN 'sensitive'
		WHEN n ~ '(^|_)(avatar|photo|picture|selfie|signature|voice|face)(_|$)' THEN 'likeness'
	END FROM (SELECT lower(regexp_replace(regexp_replace(name, '([a-z0-9])([A-Z])', '\1_\2', 'g'), '[^[:alnum:]]+', '_', 'g'))) x (n)
$$;
COMMENT ON FUNCTION cdp.personal_reason(text, boolean) IS
'What about the name of a column, property or trait looks personal, null if nothing; of_person: it is a person''s, so that "name" is hers.';

CREATE FUNCTION cdp.mark_personal(path text, personal boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	IF path IS NULL OR path !~ '^(properties|traits|context)\..' OR octet_length(path) > 300 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the path names no property, trait or part of the context',
			HINT = 'Give it as cdp.data_map has it, for example properties.email or traits.city.';
	END IF;
	IF personal IS NULL THEN
		DELETE FROM cdp_data.data_map_personal p WHERE p.path = mark_personal.path;
	ELSE
		INSERT INTO cdp_data.data_map_personal AS p VALUES (path, personal, session_user, statement_timestamp())
		ON CONFLICT ON CONSTRAINT data_map_personal_pkey DO UPDATE SET personal = excluded.personal, marked_by = excluded.marked_by, marked_at = excluded.marked_at;
	END IF;
END $$;
COMMENT ON FUNCTION cdp.mark_personal(text, boolean) IS
'Says whether a property, trait or part of the context is personal, whatever its name looks like; null takes that back.';

-- Some of a partition's events: those after "start", or as many of them, evenly spread, as fit in the pages allowed.
CREATE FUNCTION cdp.data_map_sample(part oid, start tid, pages bigint, allowed bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN pages - b <= allowed THEN format('SELECT ctid AS place, * FROM %s WHERE ctid > %L::tid AND ctid < ''(%s,0)''::tid', part::regclass, start, pages)
		ELSE (SELECT string_agg(format('SELECT ctid AS place, * FROM %s WHERE ctid >= ''(%s,0)''::tid AND ctid < ''(%s,0)''::tid', part::regclass, f, f + greatest(allowed / 32, 1)), ' UNION ALL ' ORDER BY i)
			FROM generate_series(0, least(allowed, 32) - 1) i, LATERAL (SELECT b + 1 + (pages - b - 1 - greatest(allowed / 32, 1)) * i / least(allowed, 32)) p (f)) END
	FROM (SELECT split_part(btrim(start::text, '()'), ',', 1)::bigint) x (b)
$$;
COMMENT ON FUNCTION cdp.data_map_sample(oid, tid, bigint, bigint) IS 'Statement that reads new events of a partition, or an even sample of them; part of cdp.refresh_data_map().';

-- Adds what events have to the map.  $1: how many events each one stands for.
CREATE FUNCTION cdp.data_map_add(events text, weight numeric) RETURNS tid
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = on SET enable_hashjoin = on SET enable_mergejoin = on AS $$
DECLARE
	room int := greatest(0, 20000 - (SELECT count(*) FROM cdp_data.data_map m WHERE m.kind <> 'trait'));
	upto tid;
BEGIN
	EXECUTE format($query$
		WITH e AS MATERIALIZED (SELECT place, node_id, ts, type, CASE WHEN type = 'track' THEN left(coalesce(name, ''), 512) ELSE '' END AS event, source, properties, context FROM (%s) e),
		found AS (
			SELECT 'event' AS kind, type, event, '' AS name, source, '' AS value_type, ts, node_id FROM e
			UNION ALL SELECT 'source', '', '', '', source, '', ts, node_id FROM e
			UNION ALL SELECT v.kind, CASE WHEN v.kind = 'property' THEN e.type ELSE '' END, CASE WHEN v.kind = 'property' THEN e.event ELSE '' END, p.name, e.source,
				CASE jsonb_typeof(p.value)
					WHEN 'number' THEN CASE WHEN p.value::text ~ '[.eE]' THEN 'number' ELSE 'integer' END
					WHEN 'string' THEN CASE WHEN s ~ '^[^@\s]+@[^@\s]+\.[^@\s.]{2,}$' THEN 'email' WHEN s ~ '^https?://' THEN 'url'
						WHEN s ~ '^[0-9]{4}-[01][0-9]-[0-3][0-9]([T ]|$)' THEN 'timestamp' WHEN s ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN 'uuid' ELSE 'string' END
					ELSE jsonb_typeof(p.value) END,
				e.ts, e.node_id
			FROM e CROSS JOIN LATERAL (VALUES ('property', e.properties), ('context', e.context)) v (kind, doc)
			CROSS JOIN LATERAL (SELECT t.key, t.value FROM jsonb_each(CASE WHEN jsonb_typeof(v.doc) = 'object' THEN v.doc ELSE '{}' END) t
				UNION ALL SELECT t.key || '.' || u.key, u.value FROM jsonb_each(CASE WHEN jsonb_typeof(v.doc) = 'object' THEN v.doc ELSE '{}' END) t,
					jsonb_each(CASE WHEN jsonb_typeof(t.value) = 'object' THEN t.value ELSE '{}' END) u) p (name, value)
			CROSS JOIN LATERAL (SELECT left(p.value #>> '{}', 200)) q (s)
			WHERE octet_length(p.name) BETWEEN 1 AND 200),
		typed AS (SELECT kind, type, event, name, source, value_type, count(*) AS n, min(ts) AS f, max(ts) AS l FROM found GROUP BY 1, 2, 3, 4, 5, 6),
		people AS (SELECT kind, type, event, name, source, count(DISTINCT node_id) AS nodes FROM found GROUP BY 1, 2, 3, 4, 5),
		one AS (SELECT kind, type, event, name, source, sum(n) FILTER (WHERE value_type <> 'null') AS n, jsonb_object_agg(value_type, n) AS types, min(f) AS f, max(l) AS l
			FROM typed GROUP BY 1, 2, 3, 4, 5),
		known AS (UPDATE cdp_data.data_map m SET rows = m.rows + coalesce(o.n, 0) * $1, first_seen = least(m.first_seen, o.f), last_seen = greatest(m.last_seen, o.l),
				nodes = greatest(m.nodes, p.nodes),
				types = (SELECT jsonb_object_agg(k, s) FROM (SELECT k, sum(c::numeric) AS s FROM (SELECT * FROM jsonb_each_text(m.types) UNION ALL SELECT * FROM jsonb_each_text(o.types)) a (k, c) GROUP BY k) b),
				personal = coalesce(m.personal, CASE WHEN o.types ? 'email' THEN 'e-mail addresses' END)
			FROM one o JOIN people p USING (kind, type, event, name, source)
			WHERE (m.kind, m.type, m.event, m.name, m.source) = (o.kind, o.type, o.event, o.name, o.source) RETURNING 1),
		fresh AS (INSERT INTO cdp_data.data_map (kind, type, event, name, source, rows, types, nodes, first_seen, last_seen, personal)
			SELECT o.kind, o.type, o.event, o.name, o.source, coalesce(o.n, 0) * $1, o.types, p.nodes, o.f, o.l,
				CASE WHEN o.kind IN ('property', 'context') THEN coalesce(cdp.personal_reason(o.name), CASE WHEN o.types ? 'email' THEN 'e-mail addresses' END) END
			FROM one o JOIN people p USING (kind, type, event, name, source)
			WHERE NOT EXISTS (SELECT FROM cdp_data.data_map m WHERE (m.kind, m.type, m.event, m.name, m.source) = (o.kind, o.type, o.event, o.name, o.source))
			ORDER BY o.kind IN ('event', 'source') DESC, o.n DESC LIMIT $2 RETURNING 1)
		SELECT max(place) FROM e $query$, events) INTO upto USING weight, room;
	RETURN upto;
END $$;
COMMENT ON FUNCTION cdp.data_map_add(text, numeric) IS 'Adds events to the map of data and says which was the last of them; part of cdp.refresh_data_map().';

-- Traits: a new sample of people each time.  The mark of each trait has the time and the source of its value.
CREATE FUNCTION cdp.data_map_traits(people int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = on SET enable_hashjoin = on SET enable_mergejoin = on AS $$
DECLARE
	pages bigint := pg_relation_size('cdp_data.profile') / current_setting('block_size')::int;
BEGIN
	UPDATE cdp_data.data_map SET rows = 0, total = 0 WHERE kind = 'trait';
	EXECUTE format($query$
		WITH p AS MATERIALIZED (SELECT p.profile_id, p.trait_meta, p.traits || (to_jsonb(p.*) - '{profile_id,ord,traits,trait_meta,created_at}'::text[]) AS traits FROM cdp_data.profile p %s LIMIT $1),
		found AS (SELECT t.key AS name, substr(m.mark, 34 + strpos(m.mark, ' ')) AS source, coalesce(d.type, CASE jsonb_typeof(t.value)
				WHEN 'number' THEN CASE WHEN t.value::text ~ '[.eE]' THEN 'number' ELSE 'integer' END
				WHEN 'string' THEN CASE WHEN t.value #>> '{}' ~ '^[^@\s]+@[^@\s]+\.[^@\s.]{2,}$' THEN 'email' ELSE 'string' END ELSE jsonb_typeof(t.value) END) AS value_type,
				timestamptz '2000-01-01 00:00:00+00' + split_part(m.mark, ' ', 1)::bigint * interval '1 microsecond' AS ts
			FROM p CROSS JOIN LATERAL jsonb_each(p.traits) t CROSS JOIN LATERAL (SELECT coalesce(substring(p.trait_meta ->> t.key FROM '-?[0-9]{1,18} [0-9a-f]{32} [^"]+'), '')) m (mark)
			LEFT JOIN cdp_data.trait d ON d.name = t.key
			WHERE jsonb_typeof(t.value) <> 'null' AND octet_length(t.key) BETWEEN 1 AND 200 AND m.mark <> ''),
		typed AS (SELECT name, source, value_type, count(*) AS n, min(ts) AS f, max(ts) AS l FROM found GROUP BY 1, 2, 3),
		one AS (SELECT name, source, sum(n) AS n, jsonb_object_agg(value_type, n) AS types, min(f) AS f, max(l) AS l FROM typed GROUP BY 1, 2 ORDER BY n DESC LIMIT 5000)
		INSERT INTO cdp_data.data_map AS m (kind, type, event, name, source, rows, total, types, nodes, first_seen, last_seen, personal)
		SELECT 'trait', '', '', o.name, o.source, o.n, (SELECT count(*) FROM p), o.types, o.n, o.f, o.l,
			coalesce(cdp.personal_reason(o.name, true), CASE WHEN o.types ? 'email' THEN 'e-mail addresses' END)
		FROM one o ON CONFLICT (kind, type, event, name, source) DO UPDATE SET rows = excluded.rows, total = excluded.total, types = excluded.types, nodes = excluded.nodes,
			first_seen = least(m.first_seen, excluded.first_seen), last_seen = greatest(m.last_seen, excluded.last_seen), personal = excluded.personal
		$query$, CASE WHEN pages > 500 THEN format('TABLESAMPLE SYSTEM (%s)', 50000.0 / pages) ELSE '' END) USING people;
END $$;
COMMENT ON FUNCTION cdp.data_map_traits(int) IS 'Looks at the traits of a sample of people; part of cdp.refresh_data_map().';

CREATE FUNCTION cdp.refresh_data_map(max_pages int DEFAULT 2000) RETURNS TABLE (partition text, new_pages bigint, read_pages bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	saved text := current_setting('role');
	owner name := (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = 'cdp_data');
	own boolean := owner IS DISTINCT FROM current_user;
	p record;
	allowed bigint;
	place tid;
BEGIN
	IF max_pages IS NULL OR max_pages < 32 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'max_pages must be at least 32';
	END IF;
	IF own THEN
		PERFORM cdp.require_admin();
		PERFORM set_config('role', owner, true);
	END IF;
	IF pg_try_advisory_xact_lock('cdp_data.data_map'::regclass::oid::bigint) THEN
		DELETE FROM cdp_data.data_map_read r WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.part);
		FOR p IN SELECT x.*, sum(x.pages - x.done) OVER () AS all_new FROM (
				SELECT c.oid, c.relname, pg_relation_filenode(c.oid) AS file, r.file AS known, coalesce(r.upto, '(0,0)') AS upto,
					pg_relation_size(c.oid) / current_setting('block_size')::int AS pages, coalesce(split_part(btrim(r.upto::text, '()'), ',', 1)::bigint, 0) AS done
				FROM pg_partition_tree('cdp_data.event') t JOIN pg_class c ON c.oid = t.relid
				LEFT JOIN cdp_data.data_map_read r ON r.part = c.oid WHERE t.isleaf AND c.relkind = 'r') x
				WHERE x.pages > 0 ORDER BY x.oid LOOP
			partition := p.relname; new_pages := p.pages - p.done; read_pages := 0;
			place := format('(%s,0)', p.pages);
			-- a table that was written anew has no place we know: what it holds was read
			IF p.known IS NULL OR p.known = p.file THEN
				allowed := greatest(32, max_pages * greatest(new_pages, 1) / greatest(p.all_new, 1));
				read_pages := least(new_pages, allowed);
				IF new_pages <= allowed THEN
					place := coalesce(cdp.data_map_add(cdp.data_map_sample(p.oid, p.upto, p.pages, allowed), 1), p.upto);
				ELSE
					PERFORM cdp.data_map_add(cdp.data_map_sample(p.oid, p.upto, p.pages, allowed), new_pages::numeric / (allowed / 32 * 32));
				END IF;
			END IF;
			INSERT INTO cdp_data.data_map_read AS r VALUES (p.oid, p.file, place, statement_timestamp())
			ON CONFLICT (part) DO UPDATE SET file = excluded.file, upto = excluded.upto, read_at = excluded.read_at;
			IF new_pages > 0 THEN
				RETURN NEXT;
			END IF;
		END LOOP;
		PERFORM cdp.data_map_traits(10000);
	END IF;
	IF own THEN
		PERFORM set_config('role', saved, true);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.refresh_data_map(int) IS
'Brings cdp.data_map up to date from the events that came since the last time, or an even sample of them of at most so many pages, and from a sample of 10,000 people; returns what was read.';

-- What each column of a table is, for cdp.suggest_mapping(): by name, type and key, and by a sample.
CREATE TYPE cdp.table_column AS (name text, word text, attnum int, class text, type text,
	alone boolean, in_key boolean, refers text, filled bigint, differ bigint, email float8, phone float8, hashed float8, iso float8, epoch float8, rows bigint);
COMMENT ON TYPE cdp.table_column IS 'What cdp.describe_columns() finds out about a column.';
CREATE FUNCTION cdp.read_table(tbl regclass, query text) RETURNS SETOF jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_read_table';
COMMENT ON FUNCTION cdp.read_table(regclass, text) IS
'Rows of a query over a table, read as the caller, but by a superuser as the table''s owner, whose code may run; part of cdp.suggest_mapping().';
CREATE FUNCTION cdp.describe_columns(tbl regclass) RETURNS SETOF cdp.table_column
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = on SET enable_hashjoin = on SET enable_mergejoin = on AS $$
DECLARE
	readable text;
	pages float8;
BEGIN
	-- text of json may be no jsonb
	SELECT string_agg(format(CASE WHEN a.atttypid = 'json'::regtype OR t.typbasetype = 'json'::regtype THEN '%I::text AS %1$I' ELSE '%I' END, a.attname), ', ' ORDER BY a.attnum) INTO readable
	FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
	WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(tbl, a.attnum, 'SELECT')
		AND (t.typtype IN ('e', 'd') OR t.typcategory IN ('B', 'D', 'N', 'S', 'I') OR t.typname IN ('uuid', 'json', 'jsonb'));
	IF NOT has_any_column_privilege(tbl, 'SELECT') THEN
		RAISE insufficient_privilege USING MESSAGE = format('permission denied for table %s', tbl);
	END IF;
	SELECT sum(pg_relation_size(p.relid)) / current_setting('block_size')::int INTO pages FROM pg_partition_tree(tbl) p;
	RETURN QUERY EXECUTE $query$
		WITH s AS MATERIALIZED (SELECT j FROM cdp.read_table($1, $2) j),
		v AS (SELECT c.key, left(c.value, 200) AS v FROM s, jsonb_each_text(s.j) c WHERE c.value <> ''),
		q AS (SELECT v.key, count(*) AS filled, count(DISTINCT v.v) AS differ,
				avg((v.v ~ '^[^@\s]+@[^@\s]+\.[^@\s.]{2,}$')::int)::float8 AS email,
				avg((v.v ~ '^\+?[0-9][0-9 ().-]{6,18}[0-9]$' AND v.v !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}')::int)::float8 AS phone,
				avg((v.v ~* '^([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})$')::int)::float8 AS hashed,
				avg((v.v ~ '^[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9].*)?$')::int)::float8 AS iso,
				avg((v.v ~ '^[0-9]{10}([0-9]{3})?$' AND v.v BETWEEN '0900000000' AND '3')::int)::float8 AS epoch
			FROM v GROUP BY v.key)
		SELECT a.attname::text, lower(regexp_replace(regexp_replace(a.attname, '([a-z0-9])([A-Z])', '\1_\2', 'g'), '[^[:alnum:]]+', '_', 'g')), a.attnum::int,
			CASE WHEN NOT has_column_privilege($1, a.attnum, 'SELECT') THEN 'unreadable'
				WHEN b.typname IN ('date', 'timestamp', 'timestamptz') THEN 'time'
				WHEN b.typname IN ('int2', 'int4', 'int8') THEN 'integer' WHEN b.typcategory = 'N' THEN 'number'
				WHEN b.typcategory = 'S' OR b.typtype = 'e' OR b.typname = 'citext' THEN 'text' WHEN b.typname = 'uuid' THEN 'uuid' WHEN b.typname = 'bool' THEN 'boolean'
				WHEN b.typname IN ('bytea', 'tsvector', 'tsquery', 'xml') THEN 'opaque' ELSE 'other' END,
			format_type(a.atttypid, NULL),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = $1 AND i.indisprimary AND a.attnum = ANY (i.indkey::int2[])),
			(SELECT c.relname::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid WHERE k.conrelid = $1 AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum] LIMIT 1),
			coalesce(q.filled, 0), coalesce(q.differ, 0), coalesce(q.email, 0), coalesce(q.phone, 0), coalesce(q.hashed, 0), coalesce(q.iso, 0), coalesce(q.epoch, 0), (SELECT count(*) FROM s)
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
		LEFT JOIN q ON q.key = a.attname WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
		$query$ USING tbl, format('SELECT to_jsonb(x.*) FROM (SELECT %s FROM %s %s LIMIT 1000) x', coalesce(readable, '1 AS "?"'), tbl,
		CASE WHEN pages > 200 AND NOT EXISTS (SELECT FROM pg_partition_tree(tbl) p JOIN pg_class c ON c.oid = p.relid WHERE c.relkind = 'f')
			THEN format('TABLESAMPLE SYSTEM (%s) REPEATABLE (4)', 20000 / pages) ELSE '' END);
END $$;
COMMENT ON FUNCTION cdp.describe_columns(regclass) IS 'Columns of a table by name, type, keys and at most 1,000 rows; part of cdp.suggest_mapping().';

-- The kind of identifier that the key of a table of people is; null if the word means no person.
CREATE FUNCTION cdp.person_namespace(word text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN w ~ '^(user|usr|customer|cust|client|member|account|person|people|shopper|buyer|subscriber|patient|guest|consumer|cardholder|crm|uid)$' THEN 'user_id'
		WHEN w = 'visitor' THEN 'anonymous_id' WHEN w ~ '^(household|contact|lead|prospect)$' THEN w || '_id' END
	FROM (SELECT regexp_replace(lower(word), '([^su])s$', '\1')) x (w)
$$;
COMMENT ON FUNCTION cdp.person_namespace(text) IS 'Namespace for the key of people that a word means, such as user_id for customers; part of cdp.suggest_mapping().';

CREATE FUNCTION cdp.suggest_mapping(tbl regclass) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rel record;
	cols cdp.table_column[];
	c cdp.table_column;
	noun text;
	people boolean;
	facts boolean;
	columns jsonb := '{}';
	identifiers jsonb := '{}';
	chosen jsonb := '{}';	-- namespace: {column, confidence}
	rest jsonb := '[]';
	mapping jsonb;
	ns text;
	conf numeric;
	why text;
	event text;
	event_column text;
	time_column text;
	time_conf numeric := 0;
	id_column text;
	person_alone boolean := false;
	overall numeric;
	others constant text := '(^|_)(referr\w*|referred|seller|vendor|sender|from|to|recipient|receiver|assigned|assignee|agent|staff|employee|manager|approver|approved|parent|created|updated|deleted|modified|admin|author|inviter|invited|gifted|sales)(_|$)';
BEGIN
	SELECT k.relkind, k.relname::text AS name, n.nspname, regexp_replace(lower(regexp_replace(regexp_replace(k.relname, '([a-z0-9])([A-Z])', '\1_\2', 'g'), '[^[:alnum:]]+', '_', 'g')), '^(tbl|t|dim|fact|fct|stg)_', '') AS word
	INTO rel FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = tbl;
	IF rel.relkind IS NULL OR rel.relkind NOT IN ('r', 'p') THEN
		RAISE wrong_object_type USING MESSAGE = format('%s is not a table', coalesce(tbl::text, 'NULL'));
	END IF;
	noun := regexp_replace(rel.word, '^.*_', '');
	people := cdp.person_namespace(noun) IS NOT NULL OR rel.word ~ '(^|_)(demographics?|profiles?)$';

	-- identifiers: the best column of each namespace
	cols := ARRAY(SELECT d FROM cdp.describe_columns(tbl) d);
	FOR c IN SELECT * FROM unnest(cols) LOOP
		ns := NULL; conf := 0; why := NULL;
		IF c.class NOT IN ('text', 'integer', 'uuid') OR cdp.personal_reason(c.word) = 'secret' THEN
			CONTINUE;
		ELSIF c.class = 'text' AND c.word ~ '(^|_)(e_?mail|mail_?address)(_|$)' AND c.word !~ others AND c.word !~ '(verified|opt|subject|status|type|template|consent)' THEN
			IF c.hashed > 0.9 THEN
				ns := 'email_hash'; conf := 0.6; why := 'name of an e-mail column, values are hashes';
			ELSIF c.filled = 0 OR c.email > 0.5 THEN
				ns := 'email'; conf := CASE WHEN c.filled = 0 THEN 0.7 ELSE 0.95 END;
				why := CASE WHEN c.filled = 0 THEN 'named as an e-mail address' ELSE 'named as an e-mail address, and the values are' END;
			END IF;
		ELSIF c.class = 'text' AND c.email > 0.9 AND c.filled >= 3 AND c.word !~ others THEN
			ns := 'email'; conf := 0.8; why := 'the values are e-mail addresses';
		ELSIF c.class IN ('text', 'integer') AND c.word ~ '(^|_)(phone|telephone|mobile|msisdn|cell|tel)(_number|_no)?$' AND c.word !~ others AND (c.filled = 0 OR c.phone > 0.5) THEN
			ns := 'phone'; conf := CASE WHEN c.filled = 0 THEN 0.6 ELSE 0.85 END; why := 'named as a phone number';
		ELSIF c.word ~ '^(device_id|device_uuid|idfa|idfv|gaid|aaid|android_id|advertising_id)$' THEN
			ns := 'device_id'; conf := 0.9; why := 'named as a device''s id';
		ELSIF c.word ~ '^(anonymous_id|anon_id|cookie|cookie_id|visitor_id|browser_id|ga_client_id)$' THEN
			ns := 'anonymous_id'; conf := 0.9; why := 'named as a browser''s id';
		ELSIF c.word ~ '(^|_)(loyalty|membership)(_card)?_(id|no|number)$' THEN
			ns := 'loyalty_id'; conf := 0.7; why := 'named as a loyalty number';
		ELSIF c.refers IS NOT NULL AND cdp.person_namespace(regexp_replace(c.refers, '^.*_', '')) IS NOT NULL AND c.word !~ others THEN
			ns := cdp.person_namespace(regexp_replace(c.refers, '^.*_', '')); conf := 0.95; why := format('refers to %s, a table of people', c.refers);
		ELSIF c.word !~ others AND cdp.person_namespace(regexp_replace(c.word, '_?(id|no|number|key|uid|uuid|ref)$', '')) IS NOT NULL
			AND c.word ~ '(_?(id|no|number|key|uid|uuid|ref))$' THEN
			ns := cdp.person_namespace(regexp_replace(c.word, '_?(id|no|number|key|uid|uuid|ref)$', '')); conf := 0.9; why := 'named as a person''s key';
		ELSIF people AND (c.alone OR c.in_key) AND c.word ~ '^(id|uid|uuid|.*_(id|no|number|key|code))$' AND c.refers IS NULL THEN
			ns := coalesce(cdp.person_namespace(noun), 'user_id'); conf := 0.9; why := 'the key of a table of people';
		END IF;
		IF ns IS NOT NULL AND c.filled >= 50 AND c.differ <= 2 THEN
			columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', 'properties', 'confidence', 0.6, 'reason', 'named as an identifier, but nearly always the same'));
			ns := NULL;
		END IF;
		IF ns IS NULL THEN
			CONTINUE;
		END IF;
		IF chosen ? ns AND (chosen #>> ARRAY[ns, 'confidence'])::numeric >= conf THEN
			columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', 'properties', 'confidence', 0.5,
				'reason', format('%s, but "%s" is the %s already: two in a row may be two people', why, chosen #>> ARRAY[ns, 'column'], ns)));
			CONTINUE;
		ELSIF chosen ? ns THEN
			columns := columns || jsonb_build_object(chosen #>> ARRAY[ns, 'column'], jsonb_build_object('use', 'properties', 'confidence', 0.5,
				'reason', format('"%s" is likelier to be the %s: two in a row may be two people', c.name, ns)));
		END IF;
		chosen := chosen || jsonb_build_object(ns, jsonb_build_object('column', c.name, 'confidence', conf));
		columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', 'identifiers.' || ns, 'confidence', conf, 'reason', why));
	END LOOP;
	IF chosen = '{}' THEN
		RETURN NULL;
	END IF;
	SELECT jsonb_object_agg(x.key, x.value -> 'column'), max((x.value ->> 'confidence')::numeric) INTO identifiers, overall FROM jsonb_each(chosen) x;
	SELECT coalesce(bool_or(d.alone OR (d.filled > 1 AND d.differ = d.filled)), false) INTO person_alone FROM unnest(cols) d
	WHERE d.name IN (SELECT x.value ->> 'column' FROM jsonb_each(chosen) x);

	-- the time, and the name of the event
	FOR c IN SELECT * FROM unnest(cols) d WHERE NOT columns ? d.name LOOP
		conf := CASE WHEN c.class = 'time' THEN CASE c.type WHEN 'timestamp with time zone' THEN 1 WHEN 'timestamp without time zone' THEN 0.95 ELSE 0.9 END
			WHEN c.class = 'text' AND c.iso > 0.95 THEN 0.8 WHEN c.class = 'integer' AND c.epoch > 0.95 THEN 0.7 ELSE 0 END
			* CASE WHEN c.word ~ '(birth|dob|expir|valid|due|until|(^|_)end|deleted|cancel|next|schedul|start_date)' THEN 0.1
				WHEN c.word ~ '(updated|modified|changed|(^|_)last_)' THEN 0.3
				WHEN c.word ~ '^(ts|timestamp|event_(time|timestamp|ts|date|at)|occurred_(at|on)|happened_at|time|datetime|original_timestamp)$' THEN 1
				WHEN c.word ~ '(transaction|order|purchase|payment|paid|redemption|redeem|visit|view|click|login|placed|complet|book|sent|signed)\w*(_at|_on|_?date|_?time|_timestamp|_ts)$' THEN 0.95
				WHEN c.word ~ '^(created|created_at|created_on|creation_date|create_time|inserted_at|date|day)$' THEN 0.85
				WHEN c.word ~ '(_at|_on|_?date|_?time|timestamp|_ts)$' THEN 0.65 ELSE 0.4 END;
		IF conf > time_conf THEN
			time_conf := conf; time_column := c.name;
		END IF;
		IF event_column IS NULL AND c.class = 'text' AND c.differ <= 100 AND c.word ~ '^(event|event_name|event_type|action|activity|activity_type|verb)$' THEN
			event_column := c.name;
			columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', 'event', 'confidence', CASE WHEN c.filled = 0 THEN 0.7 ELSE 0.9 END, 'reason', format('named as the name of the event; %s values in the sample', c.differ)));
		ELSIF id_column IS NULL AND c.word ~ '^(message_id|event_id|event_uuid)$' AND (c.alone OR (c.filled > 1 AND c.differ = c.filled)) THEN
			id_column := c.name;
		END IF;
	END LOOP;
	facts := event_column IS NULL AND person_alone AND (people OR time_conf < 0.5);
	IF facts THEN
		-- the time of a fact is when it was last changed; when a row was made would put every change into the past
		SELECT d.name INTO time_column FROM unnest(cols) d
		WHERE d.class = 'time' AND d.word ~ '^(last_)?(updated|modified|changed)(_(at|on|time|date))?$' ORDER BY d.attnum LIMIT 1;
		time_conf := 0.85;
	ELSIF time_conf < 0.3 THEN
		time_column := NULL;
	END IF;
	IF time_column IS NOT NULL THEN
		columns := columns || jsonb_build_object(time_column, jsonb_build_object('use', 'time', 'confidence', round(time_conf, 2), 'reason',
			CASE WHEN facts THEN 'when the facts were changed' ELSE 'the likeliest time of the event' END ||
			(SELECT CASE d.type WHEN 'timestamp without time zone' THEN '; taken as UTC' WHEN 'date' THEN '; a day, taken as its beginning in UTC' ELSE '' END FROM unnest(cols) d WHERE d.name = time_column)));
	END IF;
	IF id_column IS NOT NULL AND NOT facts THEN
		columns := columns || jsonb_build_object(id_column, jsonb_build_object('use', 'message_id', 'confidence', 0.85, 'reason', 'named as the id of the event, and different in every row'));
	END IF;

	-- the rest
	FOR c IN SELECT * FROM unnest(cols) d WHERE NOT columns ? d.name OR columns #>> ARRAY[d.name, 'use'] = 'properties' LOOP
		why := cdp.personal_reason(c.word, people);
		IF why = 'secret' OR c.class IN ('opaque', 'unreadable') THEN
			columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', NULL, 'confidence', 0.9, 'reason',
				CASE c.class WHEN 'unreadable' THEN 'you may not read it' WHEN 'opaque' THEN 'not readable as a value' ELSE 'looks like a secret' END));
			CONTINUE;
		ELSIF c.word = 'id' AND c.in_key THEN
			columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', NULL, 'confidence', 0.8, 'reason', 'the key of the row: the message''s id is made of it'));
			CONTINUE;
		END IF;
		rest := rest || to_jsonb(c.name);
		columns := columns || jsonb_build_object(c.name, jsonb_build_object('use', CASE WHEN facts THEN 'traits' ELSE 'properties' END,
			'confidence', coalesce(columns #> ARRAY[c.name, 'confidence'], to_jsonb(CASE WHEN c.filled = 0 AND c.rows > 0 THEN 0.4 ELSE 0.7 END)),
			'reason', coalesce(columns #>> ARRAY[c.name, 'reason'], CASE WHEN c.filled = 0 AND c.rows > 0 THEN 'empty in the sample' ELSE format('filled in %s of %s rows of the sample', c.filled, c.rows) END))
			|| CASE WHEN why IS NULL THEN '{}' ELSE jsonb_build_object('personal', why) END);
	END LOOP;
	IF facts THEN
		mapping := jsonb_build_object('type', 'identify', 'identifiers', identifiers) || CASE WHEN rest = '[]' THEN '{}' ELSE jsonb_build_object('traits', rest) END;
		why := CASE WHEN people THEN 'a table of people: a row is what is known of one' ELSE 'each person has one row: it is what is known of her' END;
		overall := overall * CASE WHEN people THEN 1 ELSE 0.7 END;
	ELSE
		event := CASE WHEN rel.word ~ '(^|_)(orders?|purchases?|transactions?|sales|checkouts?)$' THEN 'Order Completed' WHEN rel.word ~ '(^|_)(page_?views?|views|visits?)$' THEN 'Page Viewed'
			WHEN rel.word ~ '(^|_)(logins?|sign_?ins?)$' THEN 'Signed In' WHEN rel.word ~ '(^|_)(sign_?ups?|registrations?)$' THEN 'Signed Up'
			ELSE initcap(replace(regexp_replace(regexp_replace(rel.word, 'ies$', 'y'), '([^su])s$', '\1'), '_', ' ')) END;
		mapping := jsonb_build_object('event', CASE WHEN event_column IS NULL THEN to_jsonb(event) ELSE jsonb_build_object('column', event_column) END, 'identifiers', identifiers)
			|| CASE WHEN rest = '[]' THEN '{}' ELSE jsonb_build_object('properties', rest) END
			|| CASE WHEN id_column IS NULL THEN '{}' ELSE jsonb_build_object('message_id', id_column) END;
		why := CASE WHEN event_column IS NULL THEN format('each row is something that happened; "%s" is made of the table''s name', event) ELSE 'a table of events of several names' END;
		overall := overall * CASE WHEN event_column IS NULL THEN 0.8 ELSE 0.9 END * CASE WHEN time_column IS NULL THEN 0.6 ELSE 1 END;
	END IF;
	IF time_column IS NOT NULL THEN
		mapping := mapping || jsonb_build_object('time', time_column);
	END IF;
	RETURN mapping || jsonb_build_object('about', jsonb_build_object('confidence', round(overall, 2), 'reason', why, 'columns', columns));
END $$;
COMMENT ON FUNCTION cdp.suggest_mapping(regclass) IS
'Proposes the mapping of a table for cdp.attach(), which takes it as it is: from names, types, keys and at most 1,000 rows, read as the caller. "about" says how sure it is and why, column by column. Null: nothing in the table names a person.';

CREATE FUNCTION cdp.discover_step() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- once an hour
	IF coalesce((SELECT max(r.read_at) FROM cdp_data.data_map_read r), '-infinity') > statement_timestamp() - interval '1 hour' THEN
		RETURN false;
	END IF;
	-- of few pages: it is one of many things to do
	PERFORM cdp.refresh_data_map(500);
	RETURN false;
END $$;
COMMENT ON FUNCTION cdp.discover_step() IS 'Brings cdp.data_map up to date if that is an hour ago; part of cdp.maintain().';
