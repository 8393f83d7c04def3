-- 62_audit.sql: who did what that takes a privilege, so that nobody can deny or change it afterwards.

CREATE FUNCTION cdp.install_audit() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- For the owner alone, and whoever is as strong: superusers.
	CREATE TABLE cdp_data.audit_key (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		key			bytea NOT NULL CHECK (octet_length(key) = 32)
	);
	-- three random uuids have 366 random bits
	INSERT INTO cdp_data.audit_key (key)
	VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

	CREATE TABLE cdp_data.audit (
		audit_id	bigint PRIMARY KEY,
		-- the server's clock, whatever cdp.clock says
		at			timestamptz NOT NULL,
		xid			bigint NOT NULL,
		session_role name NOT NULL,
		role		name NOT NULL,
		client		text COLLATE "C" NOT NULL,
		purpose		text,
		clock		text,
		action		text COLLATE "C" NOT NULL,
		subject		uuid,
		detail		jsonb NOT NULL,
		mac			bytea NOT NULL
	);
	CREATE INDEX audit_subject ON cdp_data.audit (subject) WHERE subject IS NOT NULL;
	CREATE SEQUENCE cdp_data.audit_number OWNED BY cdp_data.audit.audit_id;
	-- Rows that wait to be sealed, with a code of their own.
	CREATE TABLE cdp_data.audit_open (
		audit_id	bigint PRIMARY KEY,
		mac			bytea NOT NULL
	);
	-- The chain: each seal has the digest of the one before in its own.
	CREATE TABLE cdp_data.audit_seal (
		seal		bigint PRIMARY KEY,
		sealed_at	timestamptz NOT NULL,
		ids			bigint[] NOT NULL,
		digest		bytea NOT NULL
	);
	CREATE TABLE cdp_data.audit_head (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		seal		bigint NOT NULL,
		digest		bytea
	);
	INSERT INTO cdp_data.audit_head (seal) VALUES (0);
END $$;
COMMENT ON FUNCTION cdp.install_audit() IS 'Step of cdp.init(): the tables of the audit, and its key.';

CREATE FUNCTION cdp.audit(action text, subject bigint DEFAULT NULL, detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_audit';
COMMENT ON FUNCTION cdp.audit(text, bigint, jsonb) IS
'Writes a row of the audit, in the transaction of the act: what was done, to which profile (kept as a keyed hash), and a JSON object without personal data. Of the current role, or of the caller of the function that became the owner of the storage.';

CREATE FUNCTION cdp.audit_mac(kind text, fields text[]) RETURNS bytea
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_audit_mac';
COMMENT ON FUNCTION cdp.audit_mac(text, text[]) IS 'HMAC-SHA-256 of fields, under the key of the audit. Part of cdp.maintain() and cdp.verify_audit().';

CREATE FUNCTION cdp.audit_fields(audit_id bigint, at timestamptz, xid bigint, session_role name, role name, client text, purpose text, clock text, action text, subject uuid, detail jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN ARRAY[audit_id::text, (extract(epoch FROM at) * 1000000)::bigint::text, xid::text, session_role::text, role::text, client, purpose, clock, action, subject::text, detail::text];
END $$;
COMMENT ON FUNCTION cdp.audit_fields(bigint, timestamptz, bigint, name, name, text, text, text, text, uuid, jsonb) IS 'What the code of a row of the audit is made of. Part of cdp.verify_audit().';

-- Digest of a seal: over its number, time, the one before, and each row's id
-- and code. A row that is gone by then counts as gone for ever.
CREATE FUNCTION cdp.audit_digest(seal bigint, sealed_at timestamptz, previous bytea, ids bigint[]) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN cdp.audit_mac('seal', ARRAY[seal::text, (extract(epoch FROM sealed_at) * 1000000)::bigint::text, encode(previous, 'hex'),
		(SELECT string_agg(u.id || ':' || coalesce(encode(a.mac, 'hex'), ''), ',' ORDER BY u.n)
		 FROM unnest(ids) WITH ORDINALITY u (id, n) LEFT JOIN cdp_data.audit a ON a.audit_id = u.id)]);
END $$;
COMMENT ON FUNCTION cdp.audit_digest(bigint, timestamptz, bytea, bigint[]) IS 'Digest of a seal of the audit. Part of cdp.maintain() and cdp.verify_audit().';

-- Rows come to be seen in the order of commits, so what is sealed is what waits,
-- not what is next in number.
CREATE FUNCTION cdp.seal_step() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	head record;
	ids bigint[];
	sealed_at CONSTANT timestamptz := clock_timestamp();
	next bytea;
BEGIN
	-- one at a time; who comes second has nothing to do
	SELECT h.seal, h.digest INTO head FROM cdp_data.audit_head h FOR UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	ids := ARRAY(SELECT o.audit_id FROM cdp_data.audit_open o ORDER BY o.audit_id LIMIT 1000);
	IF cardinality(ids) = 0 THEN
		RETURN false;
	END IF;
	next := cdp.audit_digest(head.seal + 1, sealed_at, head.digest, ids);
	INSERT INTO cdp_data.audit_seal (seal, sealed_at, ids, digest) VALUES (head.seal + 1, sealed_at, ids, next);
	UPDATE cdp_data.audit_head h SET seal = head.seal + 1, digest = next;
	DELETE FROM cdp_data.audit_open o WHERE o.audit_id = ANY (ids);
	-- the log is a witness outside of the database
	RAISE LOG 'cdp: % rows of the audit are sealed, head %:%', cardinality(ids), head.seal + 1, encode(next, 'hex');
	RETURN cardinality(ids) = 1000;
END $$;
COMMENT ON FUNCTION cdp.seal_step() IS 'Seals up to a thousand rows of the audit; part of cdp.maintain(). True: there may be more.';

CREATE FUNCTION cdp.find_tampering(head text) RETURNS TABLE (state text, audit_id bigint, seal bigint, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	h record;
	last record;
	given text[] := regexp_match(head, '^([0-9]{1,18}):([0-9a-f]{64})$');
BEGIN
	IF head IS NOT NULL AND given IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'a head of the audit is a number, a colon and 64 hexadecimal digits',
			HINT = 'Take it from cdp.audit_seals or from the server''s log.';
	END IF;
	SELECT x.seal, x.digest INTO h FROM cdp_data.audit_head x;
	SELECT s.seal, s.digest INTO last FROM cdp_data.audit_seal s ORDER BY s.seal DESC LIMIT 1;

	-- rows
	RETURN QUERY SELECT 'altered', a.audit_id, NULL::bigint, 'the row is not what was written'
	FROM cdp_data.audit a WHERE a.mac IS DISTINCT FROM cdp.audit_mac('row', cdp.audit_fields(a.audit_id, a.at, a.xid, a.session_role, a.role, a.client, a.purpose, a.clock, a.action, a.subject, a.detail));
	RETURN QUERY WITH known AS MATERIALIZED (
		SELECT u.id, s.seal FROM cdp_data.audit_seal s CROSS JOIN LATERAL unnest(s.ids) u (id)
		UNION ALL SELECT o.audit_id, NULL FROM cdp_data.audit_open o)
	SELECT 'missing', k.id, k.seal, CASE WHEN k.seal IS NULL THEN 'a row that waited to be sealed is gone' ELSE 'a sealed row is gone' END
	FROM known k WHERE NOT EXISTS (SELECT FROM cdp_data.audit a WHERE a.audit_id = k.id)
	UNION ALL
	SELECT 'inserted', a.audit_id, NULL, 'the row is neither sealed nor waits to be'
	FROM cdp_data.audit a WHERE NOT EXISTS (SELECT FROM known k WHERE k.id = a.audit_id)
	UNION ALL
	SELECT 'twice', k.id, max(k.seal), 'the row is sealed more than once, or sealed and waits' FROM known k GROUP BY k.id HAVING count(*) > 1;
	RETURN QUERY SELECT 'altered', o.audit_id, NULL::bigint, 'what says that the row waits is not what was written'
	FROM cdp_data.audit_open o LEFT JOIN cdp_data.audit a ON a.audit_id = o.audit_id
	WHERE a.audit_id IS NOT NULL AND o.mac IS DISTINCT FROM cdp.audit_mac('open', ARRAY[o.audit_id::text, encode(a.mac, 'hex')]);

	-- the chain
	RETURN QUERY SELECT 'altered', NULL::bigint, s.seal, 'the seal does not fit its rows, or the seal before it'
	FROM (SELECT x.seal, x.sealed_at, x.ids, x.digest, lag(x.digest) OVER (ORDER BY x.seal) AS previous FROM cdp_data.audit_seal x) s
	WHERE s.digest IS DISTINCT FROM cdp.audit_digest(s.seal, s.sealed_at, s.previous, s.ids);
	RETURN QUERY SELECT 'missing', NULL::bigint, n.n, 'a seal is gone'
	FROM generate_series(1, greatest(last.seal, h.seal)) n (n) WHERE NOT EXISTS (SELECT FROM cdp_data.audit_seal s WHERE s.seal = n.n);
	IF h.seal IS NULL OR h.seal <> coalesce(last.seal, 0) OR h.digest IS DISTINCT FROM last.digest THEN
		RETURN QUERY VALUES ('altered', NULL::bigint, h.seal, 'the head in cdp_data.audit_head is not the last seal');
	END IF;
	IF given IS NOT NULL AND NOT EXISTS (SELECT FROM cdp_data.audit_seal s WHERE s.seal = given[1]::bigint AND encode(s.digest, 'hex') = given[2]) THEN
		RETURN QUERY VALUES ('altered', NULL::bigint, given[1]::bigint, 'the given head is not in the chain: its end was cut off, or the chain was made anew');
	END IF;

	-- what there is
	RETURN QUERY SELECT 'sealed', NULL::bigint, last.seal, format('%s rows; head %s:%s', (SELECT sum(cardinality(s.ids)) FROM cdp_data.audit_seal s), last.seal, encode(last.digest, 'hex')) WHERE last.seal IS NOT NULL;
	RETURN QUERY SELECT 'unsealed', min(o.audit_id), NULL::bigint, format('%s rows, the first of %s; CALL cdp.maintain() seals them', count(*), min(a.at) AT TIME ZONE 'UTC')
	FROM cdp_data.audit_open o LEFT JOIN cdp_data.audit a ON a.audit_id = o.audit_id HAVING count(*) > 0;
END $$;
COMMENT ON FUNCTION cdp.find_tampering(text) IS 'What cdp.verify_audit() shows.';

CREATE FUNCTION cdp.verify_audit(head text DEFAULT NULL, OUT state text, OUT audit_id bigint, OUT seal bigint, OUT detail text) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'cdp_verify_audit';
COMMENT ON FUNCTION cdp.verify_audit(text) IS
'Has anybody changed the audit?  Rows of state altered, missing, inserted or twice name what; sealed and unsealed say how much there is. With a head that was kept elsewhere (number:digest) it also tells whether the end was cut off.';

CREATE FUNCTION cdp.audit_of(profile_id bigint, OUT audit_id bigint, OUT at timestamptz, OUT session_role text, OUT role text, OUT action text, OUT detail jsonb) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE STRICT ROWS 10 AS 'MODULE_PATHNAME', 'cdp_audit_of';
COMMENT ON FUNCTION cdp.audit_of(bigint) IS 'Rows of the audit about a person, whatever ids she had before merges.';

-- Whatever configures leaves a row, be it done by a function or by hand. Of the
-- columns only those are kept that name the thing; of the others that they changed:
-- a rule may have somebody's address in it.
CREATE FUNCTION cdp.audit_configuration() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET IntervalStyle = 'iso_8601' SET TimeZone = 'UTC' AS $$
DECLARE
	-- changed by cdp itself, as work goes on
	own CONSTANT text[] := '{state,anew,live_from,set_id,complete_since,changed_at,columns,uses,timed,horizon,seen_since,seed,set_at,created_at,updated_at,installed_at}';
	named CONSTANT text[] := '{name,role_name,tbl,kind,purpose,purpose_id,segment_id,channel,event,keep,mode,type,aggregate,period,survivorship,max_identifiers,max_component,version,jurisdiction,allows}';
	before jsonb := '{}';
	after jsonb := '{}';
	verb text := 'truncate';
	detail jsonb;
BEGIN
	IF TG_OP <> 'TRUNCATE' THEN
		IF TG_OP <> 'INSERT' THEN
			before := to_jsonb(OLD) - own;
		END IF;
		IF TG_OP <> 'DELETE' THEN
			after := to_jsonb(NEW) - own;
		END IF;
		IF before = after THEN
			RETURN NULL;
		END IF;
		verb := CASE WHEN TG_TABLE_NAME = 'role_purpose' THEN (CASE TG_OP WHEN 'INSERT' THEN 'permit' WHEN 'DELETE' THEN 'forbid' ELSE 'change' END)
			WHEN TG_TABLE_NAME = 'role_kind' THEN (CASE TG_OP WHEN 'INSERT' THEN 'provision' WHEN 'DELETE' THEN 'deprovision' ELSE 'change' END)
			ELSE (CASE TG_OP WHEN 'INSERT' THEN 'define' WHEN 'DELETE' THEN 'drop' ELSE 'change' END) || ' ' || TG_TABLE_NAME END;
	ELSE
		verb := verb || ' ' || TG_TABLE_NAME;
	END IF;
	SELECT coalesce(jsonb_object_agg(e.key, e.value) FILTER (WHERE e.key = ANY (named) AND jsonb_typeof(e.value) <> 'null'), '{}') INTO detail
	FROM jsonb_each(before || after) e;
	IF detail ? 'purpose_id' THEN
		detail := detail - 'purpose_id' || jsonb_build_object('purpose', (SELECT p.name FROM cdp_data.purpose p WHERE p.purpose_id = (detail ->> 'purpose_id')::int));
	END IF;
	IF TG_OP = 'UPDATE' THEN
		detail := detail || jsonb_build_object('changed', (SELECT jsonb_agg(e.key ORDER BY e.key) FROM jsonb_each(after) e WHERE e.value IS DISTINCT FROM before -> e.key));
	END IF;
	PERFORM cdp.audit(verb, NULL, detail);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION cdp.audit_configuration() IS 'Trigger of configuration tables: what configures leaves a row of the audit.';

-- Part of the step of protection, of each table that cdp.watch() has.
CREATE FUNCTION cdp.install_audit_triggers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
BEGIN
	-- partitions come and go by themselves; what is being built is in segment; of another version of the tables no row can be written
	FOR t IN SELECT p.tbl FROM cdp_data.protection p WHERE p.kind = 'watch' AND p.tbl NOT IN ('event_partition', 'segment_build', 'installation')
			AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = to_regclass(format('cdp_data.%I', p.tbl)) AND g.tgname = 'audited') ORDER BY p.tbl LOOP
		EXECUTE format('CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON cdp_data.%I FOR EACH ROW EXECUTE FUNCTION cdp.audit_configuration()', t.tbl);
		EXECUTE format('CREATE TRIGGER audited_truncate AFTER TRUNCATE ON cdp_data.%I FOR EACH STATEMENT EXECUTE FUNCTION cdp.audit_configuration()', t.tbl);
	END LOOP;
END $$;
COMMENT ON FUNCTION cdp.install_audit_triggers() IS 'Part of cdp.init(): the triggers by which configuration leaves rows of the audit.';

-- Part of the step of views.
CREATE FUNCTION cdp.install_audit_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.audit_log WITH (security_invoker = true) AS
	SELECT a.audit_id, a.at, a.session_role::text AS session_role, a.role::text AS role, a.client, a.purpose, a.clock, a.action, a.subject, a.detail, a.xid
	FROM cdp_data.audit a;
	COMMENT ON VIEW cdp.audit_log IS 'Who did what that takes a privilege; kinds privacy and auditor. cdp.verify_audit() tells whether it is as it was written.';
	COMMENT ON COLUMN cdp.audit_log.at IS 'When, by the server''s clock.';
	COMMENT ON COLUMN cdp.audit_log.session_role IS 'Who logged in.';
	COMMENT ON COLUMN cdp.audit_log.role IS 'As whom: the role in force when the act was called.';
	COMMENT ON COLUMN cdp.audit_log.client IS 'local, network or background.';
	COMMENT ON COLUMN cdp.audit_log.purpose IS 'The setting cdp.purpose; null if it narrowed nothing.';
	COMMENT ON COLUMN cdp.audit_log.clock IS 'The setting cdp.clock, when somebody set it.';
	COMMENT ON COLUMN cdp.audit_log.subject IS 'The person: a keyed hash of her profile id. cdp.audit_of() finds the rows of a profile.';
	COMMENT ON COLUMN cdp.audit_log.xid IS 'The transaction; acts of one have one.';

	CREATE VIEW cdp.audit_seals WITH (security_invoker = true) AS
	SELECT s.seal, s.sealed_at, cardinality(s.ids) AS rows, s.seal || ':' || encode(s.digest, 'hex') AS head FROM cdp_data.audit_seal s;
	COMMENT ON VIEW cdp.audit_seals IS 'The chain over the audit. Keep a head elsewhere: cdp.verify_audit(head) tells whether the chain still has it.';
END $$;
COMMENT ON FUNCTION cdp.install_audit_views() IS 'Part of cdp.init(): the views of the audit.';
