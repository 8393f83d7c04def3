-- 58_subject.sql: the rights of a person: what is known of her, and to whom it was told.

CREATE FUNCTION cdp.install_subject() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- The key of the hashes below; for the owner alone.  Every backup has it,
	-- so that tokens kept outside still fit after a restore.
	CREATE TABLE cdp_data.suppression_key (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		secret		bytea NOT NULL,
		used		boolean NOT NULL DEFAULT false,	-- somebody was erased
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);
	INSERT INTO cdp_data.suppression_key (secret)
	SELECT sha256(string_agg(uuid_send(gen_random_uuid()), '')) FROM generate_series(1, 4);

	-- An erasure: numbers, and the ids that were hers.
	CREATE TABLE cdp_data.erasure (
		erasure_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		erased_at	timestamptz NOT NULL,
		erased_by	name NOT NULL,
		reapplied	boolean NOT NULL DEFAULT false,
		receipt		jsonb NOT NULL
	);
	CREATE TABLE cdp_data.erased_profile (
		profile_id	bigint PRIMARY KEY,
		erasure_id	bigint NOT NULL
	);

	-- HMAC-SHA-256 of an erased person's identifiers, and from when to when
	-- each was hers: a value may have had other bearers.
	CREATE TABLE cdp_data.suppression (
		token		bytea NOT NULL,
		from_ts		timestamptz NOT NULL,
		until_ts	timestamptz NOT NULL,
		erasure_id	bigint NOT NULL,
		created_at	timestamptz NOT NULL,
		lifted_by	name,		-- who let her come back: until_ts is when
		PRIMARY KEY (token, until_ts)
	);

	-- Messages that named an erased person; each batch appends.
	CREATE TABLE cdp_data.refused_return (
		source		text COLLATE "C" NOT NULL,
		at			timestamptz NOT NULL,
		times		bigint NOT NULL
	);

	-- What an erased person had allowed: proof for her who shows her identifier.
	CREATE TABLE cdp_data.consent_proof (
		token		bytea NOT NULL,
		purpose_id	int NOT NULL,
		state		text COLLATE "C" NOT NULL,
		ts			timestamptz NOT NULL,
		valid_until	timestamptz NOT NULL,
		source		text NOT NULL,
		recorded_at	timestamptz NOT NULL,
		recorded_by	name NOT NULL,
		channel		text COLLATE "C" NOT NULL,
		basis		text COLLATE "C",
		notice_id	int,
		collection_point text,
		valid_from	timestamptz,
		jurisdiction text COLLATE "C",
		erasure_id	bigint NOT NULL
	);
	CREATE INDEX consent_proof_token ON cdp_data.consent_proof (token);

	-- To whom something of a person was told.
	CREATE TABLE cdp_data.disclosure (
		disclosure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		profile_id	bigint,		-- null when she was erased
		erasure_id	bigint,
		kind		text COLLATE "C" NOT NULL,
		recipient	text NOT NULL,
		at			timestamptz NOT NULL,
		fields		text[] NOT NULL,
		basis		text NOT NULL,
		actor		name NOT NULL
	);
	CREATE INDEX disclosure_profile ON cdp_data.disclosure (profile_id);
	CREATE INDEX disclosure_erasure ON cdp_data.disclosure (erasure_id);

	-- Requests of people.  subject is the keyed hash of the identifier that
	-- she asked by; note is the officer's word and should name nobody.
	CREATE TABLE cdp_data.subject_request (
		request_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		kind		text COLLATE "C" NOT NULL CHECK (kind IN ('access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit')),
		law			text COLLATE "C" NOT NULL CHECK (law IN ('gdpr', 'ccpa', 'appi')),
		subject		bytea,
		received_at	timestamptz NOT NULL,
		due_at		timestamptz NOT NULL,
		extended_at	timestamptz,
		extension_reason text,
		closed_at	timestamptz,
		outcome		text COLLATE "C" CHECK (outcome IN ('complied', 'partly', 'denied', 'withdrawn')),
		reason		text,
		note		text,
		recorded_by	name NOT NULL,
		CHECK ((closed_at IS NULL) = (outcome IS NULL))
	);

	-- what everybody likes is somebody's, too, until it is added up anew
	ALTER TABLE cdp_data.dimension_base ALTER COLUMN value SET STATISTICS 0;

	-- Tables whose files may still have bytes of who was erased, since which transaction.
	CREATE TABLE cdp_data.scrub_due (
		tbl			text COLLATE "C" PRIMARY KEY,
		xid			xid8 NOT NULL
	);
END $$;
COMMENT ON FUNCTION cdp.install_subject() IS 'Step of cdp.init(): tables of erasures, disclosures and requests.';

-- The catalogue.  Each table of cdp_data is in it: with how a person's rows are
-- found, which columns she is given, and what becomes of them when she is
-- erased; or as one that holds nobody, and why.  sql/subject.sql fails when a
-- table or column is missing.
--
-- find: a condition on the row t, with $1 her nodes, $2 her profile ids, past
-- ones too, $3 her positions, $4 her values, each as a pattern for payloads,
-- $5 keys of her identifiers, $6 changes of her nodes.
-- erased: delete (the rows found), special (see cdp.erase_rows()), kept (with
-- what takes the person out of it), derived (made anew from what is left).
CREATE FUNCTION cdp.personal_data(OUT tbl text, OUT part text, OUT find text, OUT exported text[], OUT held_back text[], OUT erased text, OUT why text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 60 SET search_path = pg_catalog, pg_temp AS $$
	SELECT v.tbl, v.part, v.find, v.exported::text[], v.held_back::text[], v.erased, v.why FROM (VALUES
	-- table, part of the export, her rows, columns she gets, columns she does not, what erasing does, why (also: why columns are held back)
	('identifier', 'identifiers', 't.node_id = ANY ($1)', '{namespace,value,first_seen,last_seen,born,ended}', '{key,node_id,uncounted}', 'special', 'numbers and hashes of ours; a former bearer of the value is its bearer again'),
	('identifier_retired', 'former_identifiers', 't.node_id = ANY ($1)', '{namespace,value,first_seen,last_seen,born,ended}', '{key,node_id,uncounted}', 'delete', 'numbers and hashes of ours'),
	('node', 'nodes', 't.node_id = ANY ($1)', '{node_id,since}', '{profile_id,change}', 'delete', 'the person is the document'),
	('node_history', 'identity_history', 't.until_change = ANY ($6) AND t.nodes && $1', '{since,until}', '{until_change,profile_id,change,nodes}', 'special', 'other people''s numbers; theirs stay'),
	('identity_edge', 'evidence', 't.a = ANY ($1) OR t.b = ANY ($1)', '{rule,ts,source,message_id,last_ts,refused,refused_at}', '{a,b,nodes,message_key,last_key}', 'special', 'other people''s numbers; what is evidence for others stays without her'),
	('identity_merge', 'merges', 't.winner = ANY ($2) OR t.loser = ANY ($2) OR t.merge_id = ANY ($6)', '{at,kind,source,message_id,reason,undone_at}', '{merge_id,winner,loser,loser_ord,moved_nodes,actor,undone_by}', 'special', 'numbers, clerks; stays without her where somebody else''s old id needs it'),
	('identity_separation', 'separations', 't.side_a && $1 OR t.side_b && $1', '{kind,reason,at,revoked_at}', '{separation_id,side_a,side_b,merge_id,actor,revoked_by}', 'special', 'numbers, clerks; stays without her where two others are kept apart'),
	('separation_node', NULL, 't.node_id = ANY ($1)', '{}', '{node_id,separation_id}', 'delete', 'finds the separations'),
	('profile_merged', 'merged_ids', 't.profile_id = ANY ($2)', '{old_id,old_created_at}', '{old_ord,old_rev,old_segments,profile_id,ord,merge_id}', 'delete', 'numbers of ours'),
	('profile', 'profile', 't.profile_id = ANY ($2)', '{profile_id,traits,created_at}', '{ord,trait_meta}', 'delete', 'declared traits are exported too; of which message a value is, events say'),
	('profile_state', 'activity', 't.profile_id = ANY ($2)', '{events,first_seen,last_seen}', '{profile_id,ord,rev,segments,linked_ts,linked_key,contested,separated}', 'delete', 'locks and marks; segments are exported by name'),
	('trait_tally', 'trait_values', 't.profile_id = ANY ($2)', '{name,value,times,ts,source}', '{profile_id,key,message_key}', 'delete', 'hashes'),
	('segment_member', 'segments', 't.profile_id = ANY ($2)', '{segment_id,since,cause}', '{ord,profile_id}', 'special', 'with a step -1 in the index'),
	('segment_history', 'segments_left', 't.profile_id = ANY ($2)', '{segment_id,entered_at,left_at,cause}', '{ord,profile_id}', 'delete', 'numbers'),
	('segment_before', 'segments_before_merges', 't.loser = ANY ($2) OR t.profile_id = ANY ($2)', '{segment_id,since}', '{loser,profile_id}', 'delete', 'numbers'),
	('segment_delta', NULL, 'EXISTS (SELECT FROM unnest($3) o WHERE t.chunk_no = o / 15872 AND t.position = o % 15872)', '{}', '{segment_id,chunk_no,position,step}', 'derived', 'bits of the index: segments say it in words. Steps of +1 and -1 cancel out and go when the chunk is folded'),
	('segment_chunk', NULL, 'EXISTS (SELECT FROM unnest($3) o WHERE t.chunk_no = o / 15872)', '{}', '{segment_id,chunk_no,payload}', 'derived', 'bits of the index, folded'),
	('timer', NULL, 't.profile_id = ANY ($2)', '{}', '{profile_id,ord,due}', 'delete', 'when her segments are looked at again'),
	('consent_log', 'consent_log', 't.node_id = ANY ($1)', '{purpose_id,state,ts,valid_until,source,message_id,recorded_at,channel,basis,notice_id,collection_point,valid_from,jurisdiction,signal}', '{consent_id,node_id,message_key,recorded_by}', 'special', 'moves to consent_proof: what was allowed when, under a keyed hash of the identifier'),
	('consent_current', 'consents', 't.node_id = ANY ($1)', '{purpose_id,state,ts,valid_until,source,channel,basis,notice_id,collection_point,valid_from,jurisdiction}', '{node_id,message_key}', 'delete', 'numbers'),
	('consent_ord', NULL, 't.ord = ANY ($3)', '{}', '{purpose_id,ord,valid_to,valid_from,notice_id}', 'delete', 'follows from consents'),
	('consent_node', NULL, 't.node_id = ANY ($1)', '{}', '{purpose_id,node_id,valid_to,valid_from,notice_id}', 'delete', 'follows from consents'),
	('metric_state', NULL, 't.node_id = ANY ($1)', '{}', '{node_id,states}', 'delete', 'binary: exported as metrics and affinities'),
	('session_part', 'sessions', 't.node_id = ANY ($1)', '{started_at,ended_at,events,source,first_page,last_page,campaign}', '{node_id,since,first_key,first_page_at,last_page_at,campaign_at}', 'delete', 'numbers and marks'),
	('sequence_mark', 'sequence_marks', 't.node_id = ANY ($1)', '{sequence_id,ts,value}', '{node_id,message_key,kind}', 'delete', 'numbers'),
	('node_base', 'past_activity', 't.node_id = ANY ($1)', '{events,first_seen,last_seen}', '{node_id,metrics}', 'special', 'binary: exported as metrics and affinities. The counter of what is gone goes down'),
	('node_base_trait', 'past_traits', 't.node_id = ANY ($1)', '{name,source,value,times,first_ts,last_ts}', '{node_id,hash,first_key,last_key}', 'delete', 'hashes'),
	('node_base_session', 'past_sessions', 't.node_id = ANY ($1)', '{started_at,ended_at,events,source,first_page,last_page,campaign}', '{node_id,first_key,first_page_at,last_page_at,campaign_at}', 'delete', 'numbers and marks'),
	('node_base_mark', 'past_sequence_marks', 't.node_id = ANY ($1)', '{sequence_id,ts,value}', '{node_id,message_key,kind}', 'delete', 'numbers'),
	('event', 'events', 't.node_id = ANY ($1)', '{ts,received_at,type,name,source,message_id,properties,traits,context,extra,blocked}', '{node_id,message_key,other_nodes}', 'special', 'other people''s numbers. Events of others lose her numbers and values'),
	('message_seen', NULL, 't.key IN (SELECT e.message_key FROM cdp_data.event e WHERE e.node_id = ANY ($1) UNION ALL SELECT c.message_key FROM cdp_data.consent_log c WHERE c.node_id = ANY ($1) UNION ALL SELECT g.message_key FROM cdp_data.identity_edge g WHERE g.a = ANY ($1) OR g.b = ANY ($1))', '{}', '{source,key,content,received_at}', 'special', 'hashes of ids and contents of messages; of messages about others they stay'),
	('outbox', 'deliveries', 't.profile_id = ANY ($2)', '{channel,purpose_id,created_at,state,attempts,reason,settled_at}', '{delivery_id,activation_id,segment_id,profile_id,ord,first_profile,leased_until,leased_by}', 'delete', 'numbers; first_profile is one of hers'),
	('rejected', 'rejected', 't.payload::text ~* ANY ($4) OR t.before::text ~* ANY ($4) OR t.message_id ~* ANY ($4)', '{rejected_at,last_at,times,source,message_id,reason,detail,payload}', '{rejected_id,recorded_by,space,tbl,before}', 'delete', 'clerks; refusals and rows whose mapping failed that name her as one of her identifiers is written'),
	('captured', 'captured', 't.message::text ~* ANY ($4)', '{source,captured_at,message}', '{position,space,writer}', 'special', 'messages that wait'),
	('tracking_violation', NULL, 't.message_id IN (SELECT e.message_id FROM cdp_data.event e WHERE e.node_id = ANY ($1))', '{}', '{event,path,rule,mode,times,first_at,last_at,message_id}', 'special', 'counts; the id of a message is an example, and goes'),
	('list_identifier', 'imported_lists', 't.key = ANY ($5)', '{namespace,value,list_id,valid_until}', '{import_id,key}', 'special', 'hashes; her present values only'),
	('item_wanted', NULL, 't.item_id ~* ANY ($4)', '{}', '{item_id}', 'delete', 'ids of the shop''s items, unless one is written like an identifier of hers'),
	('dimension_base', NULL, 'false', '{}', '{dimension_id,next,value,score}', 'derived', 'what everybody likes, added up; added up anew by the next cdp.maintain()'),
	('dimension_total', NULL, 'false', '{}', '{dimension_id,next,at,score}', 'derived', 'the same'),
	('data_map', NULL, 'false', '{}', '{kind,type,event,name,source,rows,total,types,nodes,first_seen,last_seen,personal}', 'special', 'names of properties and traits, never values; those that only she may have had go'),
	('task', NULL, 'false', '{}', '{task_id,kind,target,state,position,done_rows,total_rows,error,created_at,updated_at}', 'special', 'the text of an error may quote a value; all texts go'),
	('disclosure', 'disclosures', 't.profile_id = ANY ($2)', '{kind,recipient,at,fields,basis}', '{disclosure_id,profile_id,erasure_id,actor}', 'kept', 'who was told, without of whom: the number of the erasure takes her id''s place'),
	('subject_request', NULL, 'false', '{}', '{request_id,kind,law,subject,received_at,due_at,extended_at,extension_reason,closed_at,outcome,reason,note,recorded_by}', 'kept', 'a register that the law asks for; by keyed hash'),
	('suppression', NULL, 'false', '{}', '{token,from_ts,until_ts,erasure_id,created_at,lifted_by}', 'kept', 'keyed hashes'),
	('consent_proof', NULL, 'false', '{}', '{token,purpose_id,state,ts,valid_until,source,recorded_at,recorded_by,channel,basis,notice_id,collection_point,valid_from,jurisdiction,erasure_id}', 'kept', 'keyed hashes'),
	('erasure', NULL, 'false', '{}', '{erasure_id,erased_at,erased_by,reapplied,receipt}', 'kept', 'numbers'),
	('erased_profile', NULL, 'false', '{}', '{profile_id,erasure_id}', 'kept', 'numbers that were hers'),
	('audit', NULL, 'false', '{}', '{audit_id,at,xid,session_role,role,client,purpose,clock,action,subject,detail,mac}', 'kept', 'acts of roles; a person is a keyed hash of her id')
	) v (tbl, part, find, exported, held_back, erased, why)
$$;
COMMENT ON FUNCTION cdp.personal_data() IS
'Where something of a person is kept: how her rows are found, which columns cdp.export_subject() gives her and which not, what cdp.erase_subject() does.';

-- Everything else, and why it holds nobody.
CREATE FUNCTION cdp.impersonal_data(OUT tbl text, OUT why text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 40 SET search_path = pg_catalog, pg_temp AS $$
	VALUES ('action', 'configuration'), ('audit_head', 'the end of the chain'), ('audit_key', 'a secret, of nobody'), ('audit_open', 'numbers of rows of the audit'), ('audit_seal', 'links of the chain'),
	('activation', 'configuration'), ('attachment', 'configuration'), ('channel', 'configuration'), ('consent_default', 'configuration'), ('notice', 'configuration'), ('signal_map', 'configuration'),
	('config_signal', 'no rows'), ('data_map_personal', 'paths that an officer marked'), ('data_map_read', 'how far partitions were read'),
	('dimension', 'configuration'), ('event_definition', 'configuration'), ('event_partition', 'tables and their bounds'),
	('identifier_path', 'configuration'), ('identity_setting', 'configuration'), ('import', 'calls of cdp.import_audience(), counted'),
	('installation', 'version, seed'), ('item', 'the catalogue of the shop'), ('item_past', 'the catalogue of the shop'), ('item_path', 'configuration'),
	('list', 'lists, not who is on them'), ('message_horizon', 'configuration'), ('metric', 'configuration'), ('namespace', 'configuration: a pattern of blocked values should not be one person''s'),
	('partition_over', 'tables'), ('protection', 'policies and triggers as they were made'), ('purpose', 'configuration'), ('refused_return', 'messages refused, counted by source'), ('retention', 'configuration'), ('retention_done', 'counts'),
	('role_kind', 'roles'), ('role_purpose', 'roles'), ('schema_step', 'steps of cdp.init()'), ('scrub_due', 'tables'),
	('segment', 'configuration: rules should not name a person'), ('segment_build', 'configuration'), ('segment_error', 'an SQLSTATE, never a value'), ('segment_version', 'configuration'),
	('sequence', 'configuration'), ('session_rule', 'configuration'), ('suppression_key', 'a secret, of nobody'), ('trait', 'configuration'), ('trait_pruned', 'names of traits')
$$;
COMMENT ON FUNCTION cdp.impersonal_data() IS 'Tables of cdp_data that hold nobody, and why; all others are in cdp.personal_data().';

CREATE FUNCTION cdp.uncatalogued(OUT tbl text, OUT col text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN cdp.personal_data() p ON p.tbl = c.relname
	WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
		AND NOT EXISTS (SELECT FROM cdp.impersonal_data() i WHERE i.tbl = c.relname)
		AND (p.tbl IS NULL OR NOT (a.attname::text = ANY (p.exported || p.held_back)
			OR c.relname = 'profile' AND EXISTS (SELECT FROM cdp_data.trait d WHERE d.name = a.attname)))
	ORDER BY 1, a.attnum
$$;
COMMENT ON FUNCTION cdp.uncatalogued() IS
'Columns of cdp_data of which the catalogue does not say whether they hold somebody: none, or exports and erasures are not complete.';

-- How an identifier may be written in a payload, as a pattern for ~*: its
-- value as a word of its own, a phone number with anything between its digits.
CREATE FUNCTION cdp.payload_pattern(namespace text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN value ~ '^\+[0-9]{7,}$' THEN (SELECT string_agg(d, '[^0-9a-z]{0,3}' ORDER BY o) FROM regexp_split_to_table(right(value, 9), '') WITH ORDINALITY r (d, o))
		-- short values are too common to be looked for anywhere: only as identifiers
		WHEN length(value) < 6 THEN '("(' || string_agg(DISTINCT n, '|' ORDER BY n) || ')" ?: ?"?' || cdp.quote_pattern(value) || '"?[,}\]]|' || cdp.quote_pattern(namespace || ':' || value) || '($|[^[:alnum:]]))'
		ELSE '(^|[^[:alnum:]])' || cdp.quote_pattern(left(to_json(value)::text, -1), 2) || '($|[^[:alnum:]])' END
	FROM unnest(ARRAY['id', 'user_id', 'userId', 'anonymousId', 'anonymous_id', 'previousId', 'previous_id', 'email', 'phone', 'a', 'b', 'who', cdp.quote_pattern(namespace)]) n
$$;
COMMENT ON FUNCTION cdp.payload_pattern(text, text) IS 'A pattern that finds an identifier in the text of a payload; part of cdp.erase_subject().';

CREATE FUNCTION cdp.quote_pattern(value text, from_char int DEFAULT 1) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT regexp_replace(substr(value, from_char), '([\\^$.|?*+()\[\]{}-])', '\\\1', 'g')
$$;
COMMENT ON FUNCTION cdp.quote_pattern(text, int) IS 'A text as a pattern that matches it; part of cdp.payload_pattern().';

-- What the conditions of the catalogue are asked with.
CREATE FUNCTION cdp.subject_keys(person bigint, OUT nodes bigint[], OUT ids bigint[], OUT ords int[], OUT patterns text[], OUT keys uuid[], OUT changes bigint[]) RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	nodes := ARRAY(SELECT n.node_id FROM cdp_data.node n WHERE n.profile_id = person ORDER BY 1);
	ids := person || ARRAY(SELECT m.old_id FROM cdp_data.profile_merged m WHERE m.profile_id = person ORDER BY 1);
	ords := ARRAY(SELECT p.ord FROM cdp_data.profile p WHERE p.profile_id = person)
		|| ARRAY(SELECT m.old_ord FROM cdp_data.profile_merged m WHERE m.profile_id = person ORDER BY 1);
	patterns := ARRAY(SELECT cdp.payload_pattern(i.namespace, i.value) FROM cdp_data.identifier i WHERE i.node_id = ANY (nodes) ORDER BY 1);
	keys := ARRAY(SELECT i.key FROM cdp_data.identifier i WHERE i.node_id = ANY (nodes) ORDER BY 1);
	WITH RECURSIVE c AS (
		SELECT n.change FROM cdp_data.node n WHERE n.profile_id = person
		UNION SELECT h.change FROM c JOIN cdp_data.node_history h ON h.until_change = c.change WHERE h.nodes && subject_keys.nodes)
	SELECT coalesce(array_agg(c.change ORDER BY c.change), '{}') INTO changes FROM c;
END $$;
COMMENT ON FUNCTION cdp.subject_keys(bigint) IS 'Numbers and patterns by which a person''s rows are found; part of cdp.export_subject() and cdp.erase_subject().';

-- The document, of a person's present id; called by the owner.
CREATE FUNCTION cdp.subject_document(person bigint, recipient text, basis text, actor name, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	k record;
	t record;
	part jsonb;
	data jsonb := '{}';
	v_fields text[] := '{}';
	names jsonb;
BEGIN
	SELECT * INTO k FROM cdp.subject_keys(person);
	FOR t IN SELECT c.tbl, c.part, c.find, c.exported || CASE c.tbl WHEN 'profile' THEN ARRAY(SELECT d.name::text FROM cdp_data.trait d ORDER BY d.trait_id) ELSE '{}' END AS cols
			FROM cdp.personal_data() c WHERE c.part IS NOT NULL LOOP
		EXECUTE format('SELECT jsonb_agg(x.doc ORDER BY x.doc) FROM (SELECT to_jsonb(r) AS doc FROM (SELECT %s FROM cdp_data.%I t WHERE %s) r) x',
			(SELECT string_agg(format('t.%I', c), ', ' ORDER BY o) FROM unnest(t.cols) WITH ORDINALITY u (c, o))
			|| CASE WHEN t.part LIKE 'consent%' THEN ', (SELECT min(i.namespace || '':'' || i.value) FROM (SELECT i.namespace, i.value FROM cdp_data.identifier i WHERE i.node_id = t.node_id
				UNION ALL SELECT i.namespace, i.value FROM cdp_data.identifier_retired i WHERE i.node_id = t.node_id) i) AS identifier' ELSE '' END, t.tbl, t.find)
		INTO part USING k.nodes, k.ids, k.ords, k.patterns, k.keys, k.changes;
		IF part IS NOT NULL THEN
			data := data || jsonb_build_object(t.part, part);
			v_fields := v_fields || t.part;
		END IF;
	END LOOP;
	-- numbers as words
	FOR t IN SELECT * FROM (VALUES ('segment_id', 'segment', '{segments,segments_left,segments_before_merges}'::text[]), ('purpose_id', 'purpose', '{consents,consent_log,deliveries}'),
			('sequence_id', 'sequence', '{sequence_marks,past_sequence_marks}')) v (id, word, parts) LOOP
		names := CASE t.word WHEN 'purpose' THEN (SELECT jsonb_object_agg(p.purpose_id, p.name) FROM cdp_data.purpose p)
			WHEN 'sequence' THEN (SELECT jsonb_object_agg(q.sequence_id, q.name) FROM cdp_data.sequence q)
			ELSE (SELECT jsonb_object_agg(x.id, x.name) FROM (SELECT s.set_id AS id, s.name FROM cdp_data.segment s UNION SELECT s.segment_id, s.name FROM cdp_data.segment s
				WHERE NOT EXISTS (SELECT FROM cdp_data.segment o WHERE o.set_id = s.segment_id)) x) END;
		SELECT coalesce(jsonb_object_agg(d.key, (SELECT jsonb_agg((e.doc - t.id) || jsonb_build_object(t.word, coalesce(names->(e.doc->>t.id), e.doc->t.id)) ORDER BY e.o)
			FROM jsonb_array_elements(d.value) WITH ORDINALITY e (doc, o))), '{}') INTO part FROM jsonb_each(data) d WHERE d.key = ANY (t.parts);
		data := data || part;
	END LOOP;
	-- what is kept in binary form, in words
	SELECT jsonb_object_agg(m.name, cdp.metric_value(person, m.name) ORDER BY m.metric_id) INTO part FROM cdp_data.metric m WHERE m.state = 'ready';
	IF part IS NOT NULL THEN
		data := data || jsonb_build_object('metrics', part);
		v_fields := v_fields || 'metrics'::text;
	END IF;
	SELECT jsonb_agg(to_jsonb(a) - 'profile_id' ORDER BY to_jsonb(a)) INTO part FROM cdp.affinities a WHERE a.profile_id = person;
	IF part IS NOT NULL THEN
		data := data || jsonb_build_object('affinities', part);
		v_fields := v_fields || 'affinities'::text;
	END IF;
	INSERT INTO cdp_data.disclosure (profile_id, kind, recipient, at, fields, basis, actor)
	VALUES (person, 'export', subject_document.recipient, subject_document.at, v_fields, subject_document.basis, subject_document.actor);
	PERFORM cdp.audit('export_subject', person, jsonb_build_object('parts', v_fields));
	RETURN jsonb_build_object('profile_id', person, 'exported_at', subject_document.at, 'recipient', subject_document.recipient, 'basis', subject_document.basis, 'data', data);
END $$;
COMMENT ON FUNCTION cdp.subject_document(bigint, text, text, name, timestamptz) IS 'What cdp.export_subject() returns, and its record of disclosure.';

CREATE FUNCTION cdp.export_subject(who text, recipient text DEFAULT 'the person herself', basis text DEFAULT 'right of access') RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_export_subject_text';
COMMENT ON FUNCTION cdp.export_subject(text, text, text) IS
'All that is kept of a person, table by table, as a document; leaves a record of who got it and why. For kind privacy.';
CREATE FUNCTION cdp.export_subject(who text[], recipient text DEFAULT 'the person herself', basis text DEFAULT 'right of access') RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_export_subject_array';
COMMENT ON FUNCTION cdp.export_subject(text[], text, text) IS
'All that is kept of a person, table by table, as a document; leaves a record of who got it and why. For kind privacy.';
CREATE FUNCTION cdp.export_subject(who cdp.identity_set, recipient text DEFAULT 'the person herself', basis text DEFAULT 'right of access') RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_export_subject_set';
COMMENT ON FUNCTION cdp.export_subject(cdp.identity_set, text, text) IS
'All that is kept of a person, table by table, as a document; leaves a record of who got it and why. For kind privacy.';
CREATE FUNCTION cdp.export_subject(who bigint, recipient text DEFAULT 'the person herself', basis text DEFAULT 'right of access') RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_export_subject_profile';
COMMENT ON FUNCTION cdp.export_subject(bigint, text, text) IS
'All that is kept of a person, table by table, as a document; leaves a record of who got it and why. For kind privacy.';

-- Called by the owner, as all that cdp.as_steward() runs.
CREATE FUNCTION cdp.subject_disclosures(person bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(to_jsonb(x) ORDER BY x.at, x.kind, x.recipient), '[]') FROM (
		SELECT d.at, d.kind::text AS kind, d.recipient, d.fields, d.basis, d.actor::text AS actor FROM cdp_data.disclosure d WHERE d.profile_id = person
		UNION ALL SELECT o.settled_at, 'delivery', 'channel ' || o.channel, ARRAY[coalesce(c.namespace::text, 'address')], 'consent to ' || p.name, o.leased_by::text
		FROM cdp_data.outbox o JOIN cdp_data.purpose p ON p.purpose_id = o.purpose_id LEFT JOIN cdp_data.channel c ON c.name = o.channel
		WHERE o.profile_id = person AND o.state = 'delivered') x
$$;
COMMENT ON FUNCTION cdp.subject_disclosures(bigint) IS 'What cdp.disclosures() returns.';
CREATE FUNCTION cdp.disclosures_json(who text) RETURNS jsonb
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_disclosures_text';
COMMENT ON FUNCTION cdp.disclosures_json(text) IS 'As cdp.disclosures(), as one document; part of it.';
CREATE FUNCTION cdp.disclosures(who text) RETURNS TABLE (at timestamptz, kind text, recipient text, fields text[], basis text, actor text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.at, d.kind, d.recipient, d.fields, d.basis, d.actor
	FROM jsonb_to_recordset(cdp.disclosures_json($1)) d (at timestamptz, kind text, recipient text, fields text[], basis text, actor text) ORDER BY d.at, d.kind, d.recipient
$$;
COMMENT ON FUNCTION cdp.disclosures(text) IS
'To whom something of a person was told: exports, and deliveries that a channel took, with when, which fields and on what basis. For kind privacy.';
CREATE FUNCTION cdp.disclosures_json(who text[]) RETURNS jsonb
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_disclosures_array';
COMMENT ON FUNCTION cdp.disclosures_json(text[]) IS 'As cdp.disclosures(), as one document; part of it.';
CREATE FUNCTION cdp.disclosures(who text[]) RETURNS TABLE (at timestamptz, kind text, recipient text, fields text[], basis text, actor text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.at, d.kind, d.recipient, d.fields, d.basis, d.actor
	FROM jsonb_to_recordset(cdp.disclosures_json($1)) d (at timestamptz, kind text, recipient text, fields text[], basis text, actor text) ORDER BY d.at, d.kind, d.recipient
$$;
COMMENT ON FUNCTION cdp.disclosures(text[]) IS
'To whom something of a person was told: exports, and deliveries that a channel took, with when, which fields and on what basis. For kind privacy.';
CREATE FUNCTION cdp.disclosures_json(who cdp.identity_set) RETURNS jsonb
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_disclosures_set';
COMMENT ON FUNCTION cdp.disclosures_json(cdp.identity_set) IS 'As cdp.disclosures(), as one document; part of it.';
CREATE FUNCTION cdp.disclosures(who cdp.identity_set) RETURNS TABLE (at timestamptz, kind text, recipient text, fields text[], basis text, actor text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.at, d.kind, d.recipient, d.fields, d.basis, d.actor
	FROM jsonb_to_recordset(cdp.disclosures_json($1)) d (at timestamptz, kind text, recipient text, fields text[], basis text, actor text) ORDER BY d.at, d.kind, d.recipient
$$;
COMMENT ON FUNCTION cdp.disclosures(cdp.identity_set) IS
'To whom something of a person was told: exports, and deliveries that a channel took, with when, which fields and on what basis. For kind privacy.';
CREATE FUNCTION cdp.disclosures_json(who bigint) RETURNS jsonb
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_disclosures_profile';
COMMENT ON FUNCTION cdp.disclosures_json(bigint) IS 'As cdp.disclosures(), as one document; part of it.';
CREATE FUNCTION cdp.disclosures(who bigint) RETURNS TABLE (at timestamptz, kind text, recipient text, fields text[], basis text, actor text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.at, d.kind, d.recipient, d.fields, d.basis, d.actor
	FROM jsonb_to_recordset(cdp.disclosures_json($1)) d (at timestamptz, kind text, recipient text, fields text[], basis text, actor text) ORDER BY d.at, d.kind, d.recipient
$$;
COMMENT ON FUNCTION cdp.disclosures(bigint) IS
'To whom something of a person was told: exports, and deliveries that a channel took, with when, which fields and on what basis. For kind privacy.';

CREATE FUNCTION cdp.as_steward(act text, arguments jsonb) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_as_steward';
COMMENT ON FUNCTION cdp.as_steward(text, jsonb) IS 'Runs one of the acts of an officer of privacy on the tables; part of the functions that do.';
CREATE FUNCTION cdp.subject_token(namespace text, value text) RETURNS bytea
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_subject_token';
COMMENT ON FUNCTION cdp.subject_token(text, text) IS 'The keyed hash of an identifier in its normal form; for the owner alone.';

-- An identifier as it is stored: namespaces may ask for a form of their own.
CREATE FUNCTION cdp.identifier_token(identifier text) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id text := identifier::cdp.identifier::text;
	ns text := split_part(id, ':', 1);
	form text := (SELECT coalesce(r.normaliser, d.normaliser) FROM (SELECT 1) one LEFT JOIN cdp_data.namespace r ON r.name = ns LEFT JOIN cdp_data.namespace d ON d.name = '*');
BEGIN
	RETURN cdp.subject_token(ns, CASE WHEN form IS NULL THEN substr(id, length(ns) + 2) ELSE coalesce(cdp.normalise(substr(id, length(ns) + 2), form), substr(id, length(ns) + 2)) END);
END $$;
COMMENT ON FUNCTION cdp.identifier_token(text) IS 'The keyed hash of an identifier as it may be given; for the owner alone.';

-- What the law gives a request of a kind.
CREATE FUNCTION cdp.legal_term(law text, kind text, received_at timestamptz, extended boolean DEFAULT false) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT (CASE law
		WHEN 'gdpr' THEN r + CASE WHEN extended THEN interval '3 months' ELSE interval '1 month' END
		WHEN 'ccpa' THEN CASE WHEN kind IN ('opt_out', 'limit')
			THEN (SELECT d FROM generate_series(r + interval '1 day', r + interval '30 days', '1 day') d WHERE extract(isodow FROM d) < 6 ORDER BY d OFFSET 14 LIMIT 1)
			ELSE r + CASE WHEN extended THEN interval '90 days' ELSE interval '45 days' END END
		WHEN 'appi' THEN r + interval '14 days' END) AT TIME ZONE 'UTC'
	FROM (SELECT received_at AT TIME ZONE 'UTC' AS r) x
$$;
COMMENT ON FUNCTION cdp.legal_term(text, text, timestamptz, boolean) IS
'Until when a request must be answered: GDPR a month, and two more; CCPA 45 days, and 45 more, opting out 15 business days; APPI without delay, taken as two weeks. In UTC, without holidays.';

CREATE FUNCTION cdp.do_open_request(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_at timestamptz := coalesce((arguments->>'received_at')::timestamptz, at);
	v_due timestamptz := cdp.legal_term(arguments->>'law', arguments->>'kind', v_at);
	id bigint;
BEGIN
	IF v_due IS NULL OR NOT arguments->>'kind' = ANY ('{access,portability,erasure,rectification,restriction,objection,opt_out,limit}') THEN
		RAISE invalid_parameter_value USING MESSAGE = 'there is no such law, or kind of request',
			HINT = 'Laws are gdpr, ccpa and appi; kinds access, portability, erasure, rectification, restriction, objection, opt_out and limit.';
	END IF;
	IF v_at > at + interval '1 day' THEN
		RAISE datetime_field_overflow USING MESSAGE = 'a request cannot be received in the future';
	END IF;
	INSERT INTO cdp_data.subject_request (kind, law, subject, received_at, due_at, note, recorded_by)
	VALUES (arguments->>'kind', arguments->>'law', cdp.identifier_token(arguments->>'who'), v_at, v_due, arguments->>'note', actor) RETURNING request_id INTO id;
	RETURN to_jsonb(id);
END $$;
COMMENT ON FUNCTION cdp.do_open_request(jsonb, name, timestamptz) IS 'What cdp.open_request() does.';
CREATE FUNCTION cdp.do_extend_request(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_due timestamptz;
BEGIN
	UPDATE cdp_data.subject_request r SET extended_at = do_extend_request.at, extension_reason = arguments->>'reason', due_at = cdp.legal_term(r.law, r.kind, r.received_at, true)
	WHERE r.request_id = (arguments->>'request_id')::bigint AND r.closed_at IS NULL AND r.extended_at IS NULL AND r.due_at >= do_extend_request.at
		AND (r.law = 'gdpr' OR (r.law = 'ccpa' AND r.kind NOT IN ('opt_out', 'limit'))) RETURNING r.due_at INTO v_due;
	IF v_due IS NULL THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'the request cannot be extended',
			DETAIL = 'It must be open, not overdue and not extended, and the law must give more time.';
	END IF;
	RETURN to_jsonb(v_due);
END $$;
COMMENT ON FUNCTION cdp.do_extend_request(jsonb, name, timestamptz) IS 'What cdp.extend_request() does.';
CREATE FUNCTION cdp.do_close_request(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT coalesce(arguments->>'outcome' = ANY ('{complied,partly,denied,withdrawn}'), false) OR (arguments->>'outcome' IN ('partly', 'denied') AND coalesce(arguments->>'reason', '') = '') THEN
		RAISE invalid_parameter_value USING MESSAGE = 'outcome is complied, partly, denied or withdrawn; partly and denied have a reason';
	END IF;
	UPDATE cdp_data.subject_request r SET closed_at = do_close_request.at, outcome = arguments->>'outcome', reason = arguments->>'reason'
	WHERE r.request_id = (arguments->>'request_id')::bigint AND r.closed_at IS NULL;
	IF NOT FOUND THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'there is no such open request';
	END IF;
	RETURN to_jsonb(at);
END $$;
COMMENT ON FUNCTION cdp.do_close_request(jsonb, name, timestamptz) IS 'What cdp.close_request() does.';
CREATE FUNCTION cdp.do_consent_proof(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(to_jsonb(x) ORDER BY x.at, x.recorded_at, x.purpose), '[]') FROM (
		SELECT p.name::text AS purpose, c.channel::text AS channel, c.state::text AS state, c.ts AS at, nullif(c.valid_until, 'infinity') AS valid_until, c.source, c.collection_point, c.basis::text AS basis,
			n.version::text AS notice, c.valid_from, c.jurisdiction::text AS jurisdiction, c.recorded_at, c.recorded_by::text AS recorded_by
		FROM cdp_data.consent_proof c LEFT JOIN cdp_data.purpose p ON p.purpose_id = c.purpose_id LEFT JOIN cdp_data.notice n ON n.notice_id = c.notice_id WHERE c.token = cdp.identifier_token(arguments->>'identifier')) x
$$;
COMMENT ON FUNCTION cdp.do_consent_proof(jsonb, name, timestamptz) IS 'What cdp.consent_proof() returns.';

CREATE FUNCTION cdp.open_request(kind text, law text, who text DEFAULT NULL, received_at timestamptz DEFAULT NULL, note text DEFAULT NULL) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT (cdp.as_steward('open_request', jsonb_build_object('kind', kind, 'law', law, 'who', who, 'received_at', received_at, 'note', note)))::bigint
$$;
COMMENT ON FUNCTION cdp.open_request(text, text, text, timestamptz, text) IS
'Records a request of a person, whose identifier is kept as a keyed hash, and when the law wants it answered; returns its number. For kind privacy.';
CREATE FUNCTION cdp.extend_request(request_id bigint, reason text) RETURNS timestamptz
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT (cdp.as_steward('extend_request', jsonb_build_object('request_id', request_id, 'reason', reason)) #>> '{}')::timestamptz
$$;
COMMENT ON FUNCTION cdp.extend_request(bigint, text) IS 'Takes the longer term that the law gives, once, before the first is over; returns it. For kind privacy.';
CREATE FUNCTION cdp.close_request(request_id bigint, outcome text, reason text DEFAULT NULL) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT (cdp.as_steward('close_request', jsonb_build_object('request_id', request_id, 'outcome', outcome, 'reason', reason)) #>> '{}')::timestamptz
$$;
COMMENT ON FUNCTION cdp.close_request(bigint, text, text) IS 'A request is answered: complied, partly, denied (both with the reason) or withdrawn. For kind privacy.';
CREATE FUNCTION cdp.consent_proof(identifier text) RETURNS TABLE (purpose text, channel text, state text, at timestamptz, valid_until timestamptz, source text, collection_point text, basis text, notice text, valid_from timestamptz, jurisdiction text, recorded_at timestamptz, recorded_by text)
LANGUAGE sql VOLATILE STRICT ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM jsonb_to_recordset(cdp.as_steward('consent_proof', jsonb_build_object('identifier', identifier)))
		x (purpose text, channel text, state text, at timestamptz, valid_until timestamptz, source text, collection_point text, basis text, notice text, valid_from timestamptz, jurisdiction text, recorded_at timestamptz, recorded_by text)
$$;
COMMENT ON FUNCTION cdp.consent_proof(text) IS 'What an erased person had said about purposes, by an identifier that she shows. For kind privacy.';

CREATE FUNCTION cdp.subject_id(who text) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_subject_id_text';
COMMENT ON FUNCTION cdp.subject_id(text) IS 'The profile id of a person, whatever she allows; raises if there is none. For kind privacy.';

-- Restriction is a word of consent for every purpose there is: nobody allows a
-- later one by default.
CREATE FUNCTION cdp.restrict_subject(who text, source text DEFAULT 'restriction') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	person bigint := cdp.subject_id(who);
	p record;
BEGIN
	FOR p IN SELECT x.name FROM cdp.purposes x ORDER BY x.name LOOP
		PERFORM cdp.set_consent(person, p.name, 'restricted', source => restrict_subject.source);
	END LOOP;
	RETURN person;
END $$;
COMMENT ON FUNCTION cdp.restrict_subject(text, text) IS
'Restricts the use of a person''s data for every purpose: only kind privacy goes on seeing her identifiers and consents. She may be seen again by what she grants later.';

CREATE FUNCTION cdp.install_subject_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.subject_requests WITH (security_invoker = true) AS
	SELECT r.request_id, r.kind::text AS kind, r.law::text AS law, r.received_at, r.due_at, r.extended_at IS NOT NULL AS extended, r.extension_reason, r.closed_at, r.outcome::text AS outcome, r.reason, r.note,
		CASE WHEN r.closed_at IS NOT NULL THEN CASE WHEN r.closed_at > r.due_at THEN 'late' ELSE 'closed' END WHEN r.due_at < cdp.clock() THEN 'overdue'
			WHEN r.due_at < cdp.clock() + interval '3 days' THEN 'due' ELSE 'open' END AS state,
		coalesce(r.closed_at, cdp.clock()) - r.received_at AS age, r.recorded_by::text AS recorded_by
	FROM cdp_data.subject_request r;
	COMMENT ON VIEW cdp.subject_requests IS 'Requests of people and their legal clocks; kind privacy only.';
	COMMENT ON COLUMN cdp.subject_requests.state IS 'open, due (within three days), overdue; closed, or late if it was answered after its term.';

	CREATE VIEW cdp.request_figures WITH (security_invoker = true) AS
	SELECT extract(year FROM r.received_at AT TIME ZONE 'UTC')::int AS year, r.law::text AS law, r.kind::text AS kind, count(*) AS received,
		count(*) FILTER (WHERE r.outcome = 'complied') AS complied, count(*) FILTER (WHERE r.outcome = 'partly') AS partly, count(*) FILTER (WHERE r.outcome = 'denied') AS denied,
		count(*) FILTER (WHERE r.outcome = 'withdrawn') AS withdrawn, count(*) FILTER (WHERE r.closed_at IS NULL) AS open,
		count(*) FILTER (WHERE coalesce(r.closed_at, cdp.clock()) > r.due_at) AS late,
		round(avg(extract(epoch FROM r.closed_at - r.received_at) / 86400), 1) AS mean_days,
		round((percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM r.closed_at - r.received_at)) / 86400)::numeric, 1) AS median_days
	FROM cdp_data.subject_request r GROUP BY 1, 2, 3;
	COMMENT ON VIEW cdp.request_figures IS 'Requests by year, law and kind: received, complied with, denied, and mean and median days to the answer, as the CCPA regulations ask for each year; kind privacy only.';

	CREATE VIEW cdp.erasures WITH (security_invoker = true) AS
	SELECT e.erasure_id, e.erased_at, e.erased_by::text AS erased_by, e.reapplied, e.receipt FROM cdp_data.erasure e;
	COMMENT ON VIEW cdp.erasures IS 'Erasures, with how many rows of which table went; kind privacy only.';

	CREATE VIEW cdp.refused_returns WITH (security_invoker = true) AS
	SELECT (r.at AT TIME ZONE 'UTC')::date AS day, r.source::text AS source, sum(r.times)::bigint AS times FROM cdp_data.refused_return r GROUP BY 1, 2;
	COMMENT ON VIEW cdp.refused_returns IS 'Messages that named an erased person and were refused, by day and source; nothing else of them is kept. Kind privacy only.';
END $$;
COMMENT ON FUNCTION cdp.install_subject_views() IS 'Part of a step of cdp.init(): the views of requests and erasures.';
