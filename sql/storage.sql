-- Rows are written directly only where the tables are as cdp made them.
-- In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_storage TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_storage
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2025-06-01 00:00Z';

-- what everything else is compared with: messages of new people, of known ones, a link, a duplicate
CREATE FUNCTION act(tag text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE ids bigint[];
BEGIN
	ids := ARRAY[cdp.identify(ARRAY['cookie:' || tag, 'email:' || tag || '@x.y'], '{"city": "Nara"}', '2025-05-01', message_id => tag || 1),
		cdp.track('cookie:' || tag, 'Seen', '{"a": 1}', '2025-05-02', message_id => tag || 2),
		cdp.track(ARRAY['cookie:' || tag, 'device:' || tag], 'Seen', NULL, '2025-04-30', message_id => tag || 3),
		cdp.track('cookie:' || tag, 'Seen', '{"a": 1}', '2025-05-02', message_id => tag || 2)];
	RETURN (SELECT count(DISTINCT i) || ' person, ' || s.events || ' events, ' || s.first_seen::date || ' - ' || s.last_seen::date || ', rev ' || s.rev
		FROM unnest(ids) i, cdp_data.profile_state s WHERE s.profile_id = ids[1] GROUP BY s.profile_id)
		|| (SELECT '; ' || string_agg(i.namespace || ' ' || i.first_seen::date || ' - ' || i.last_seen::date, ', ' ORDER BY i.namespace) FROM cdp_data.identifier i
			JOIN cdp_data.node n USING (node_id) WHERE n.profile_id = ids[1])
		|| (SELECT '; ' || count(*) || ' edges' FROM cdp_data.identity_edge e JOIN cdp_data.node n ON n.node_id = e.a WHERE n.profile_id = ids[1]);
END $$;
CREATE FUNCTION detours() RETURNS TABLE (table_name text, actions text, reason text) LANGUAGE sql AS $$
	SELECT p.table_name, string_agg(DISTINCT p.action, ', ' ORDER BY p.action), p.reason FROM cdp.storage_paths() p WHERE NOT p.direct GROUP BY 1, 3 ORDER BY 1, 3 $$;
SELECT act('plain');
SELECT DISTINCT table_name, action, direct, reason FROM cdp.storage_paths() ORDER BY 1, 2;

-- by statements it is the same
SET cdp.direct_storage = off;
SELECT act('statements');
SELECT DISTINCT reason FROM cdp.storage_paths();
RESET cdp.direct_storage;
SELECT act('again'), (SELECT count(*) FROM detours());

--
-- What somebody adds is honoured
--
-- a trigger
CREATE TABLE audit (what text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.audit VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE ON cdp_data.identifier FOR EACH ROW EXECUTE FUNCTION audit();
SELECT act('trigger');
SELECT * FROM detours();
SELECT what, count(*) FROM audit GROUP BY 1 ORDER BY 1;
DROP TRIGGER audit ON cdp_data.identifier;
-- one that folds somebody else, of other traits
BEGIN;
SELECT cdp.define_trait('declared_one', 'text'), cdp.define_trait('declared_two', 'int');
CREATE FUNCTION shadow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	PERFORM cdp.identify('shadow:' || NEW.declared_one, '{"declared_two": 5}', '2025-05-02');
	RETURN NULL;
END $$;
CREATE TRIGGER shadow AFTER UPDATE ON cdp_data.profile FOR EACH ROW WHEN (NEW.declared_one IS DISTINCT FROM OLD.declared_one) EXECUTE FUNCTION shadow();
SELECT status FROM cdp.ingest('[{"type": "identify", "userId": "sun", "traits": {"declared_one": "x"}, "timestamp": "2025-05-02T00:00:00Z"},
	{"type": "identify", "userId": "moon", "traits": {"declared_one": "y"}, "timestamp": "2025-05-02T00:00:00Z"}]');
SELECT declared_one, declared_two FROM cdp_data.profile WHERE coalesce(declared_one, declared_two::text) IS NOT NULL ORDER BY 1, 2;
SELECT * FROM detours();
ROLLBACK;
-- one for each statement on all events, and one on a partition
CREATE TRIGGER audit AFTER INSERT ON cdp_data.event FOR EACH STATEMENT EXECUTE FUNCTION audit();
TRUNCATE audit;
SELECT act('parent');
SELECT * FROM detours();
SELECT what, count(*) FROM audit GROUP BY 1 ORDER BY 1;
DROP TRIGGER audit ON cdp_data.event;
CREATE TRIGGER audit AFTER INSERT ON cdp_data.event_202505 FOR EACH ROW EXECUTE FUNCTION audit();
TRUNCATE audit;
SELECT act('part');
SELECT cdp.track('cookie:part', 'Seen', at => '2025-05-02') > 0 AS taken;
SELECT * FROM detours();
SELECT what, count(*) FROM audit GROUP BY 1 ORDER BY 1;
DROP TRIGGER audit ON cdp_data.event_202505;
-- a rule
CREATE RULE audit AS ON INSERT TO cdp_data.node DO ALSO INSERT INTO public.audit VALUES ('rule');
GRANT INSERT ON audit TO cdp_owner;
TRUNCATE audit;
SELECT act('rule');
SELECT * FROM detours();
SELECT what, count(*) FROM audit GROUP BY 1 ORDER BY 1;
DROP RULE audit ON cdp_data.node;
-- a check
ALTER TABLE cdp_data.profile_state ADD CONSTRAINT few CHECK (events < 3) NOT VALID;
SELECT act('check');
SELECT * FROM detours();
ALTER TABLE cdp_data.profile_state DROP CONSTRAINT few;
ALTER TABLE cdp_data.event ADD CONSTRAINT good CHECK (name <> 'Bad');
SELECT cdp.track('cookie:check', 'Bad', at => '2025-05-02');
SELECT * FROM detours();
ALTER TABLE cdp_data.event DROP CONSTRAINT good;
-- a policy that takes away, and one that adds
CREATE POLICY nothing ON cdp_data.message_seen AS RESTRICTIVE FOR INSERT WITH CHECK (source <> 'default');
ALTER TABLE cdp_data.message_seen ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdp_data.message_seen FORCE ROW LEVEL SECURITY;
SELECT act('policy');
DROP POLICY nothing ON cdp_data.message_seen;
ALTER TABLE cdp_data.message_seen NO FORCE ROW LEVEL SECURITY;
ALTER TABLE cdp_data.message_seen DISABLE ROW LEVEL SECURITY;
CREATE POLICY nothing ON cdp_data.profile_state AS RESTRICTIVE USING (profile_id > 0);
SELECT act('restrictive');
SELECT * FROM detours();
DROP POLICY nothing ON cdp_data.profile_state;
CREATE POLICY more ON cdp_data.profile_state FOR SELECT TO PUBLIC USING (false);
SELECT act('permissive'), (SELECT count(*) FROM detours());
DROP POLICY more ON cdp_data.profile_state;
-- columns
ALTER TABLE cdp_data.node ADD COLUMN doubled bigint GENERATED ALWAYS AS (node_id * 2) STORED;
SELECT act('generated');
SELECT * FROM detours();
SELECT bool_and(doubled = node_id * 2) AS computed FROM cdp_data.node;
ALTER TABLE cdp_data.node DROP COLUMN doubled;
ALTER TABLE cdp_data.node ADD COLUMN at timestamptz NOT NULL DEFAULT '2025-06-01';
SELECT act('default');
SELECT * FROM detours();
ALTER TABLE cdp_data.node DROP COLUMN at;
ALTER TABLE cdp_data.node ADD COLUMN note text;
SELECT act('further'), (SELECT count(*) FROM detours());
UPDATE cdp_data.event SET properties = '{}' WHERE properties IS NULL;
ALTER TABLE cdp_data.event ALTER COLUMN properties SET NOT NULL;
SELECT act('nothing');
ALTER TABLE cdp_data.event ALTER COLUMN properties DROP NOT NULL;
-- indexes: of our kinds they are kept, others are the executor's
CREATE INDEX mine ON cdp_data.profile_state (last_seen);
SELECT act('index'), (SELECT count(*) FROM detours());
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM cdp_data.profile_state WHERE last_seen = '2025-05-02';
RESET enable_seqscan; RESET enable_bitmapscan;
DROP INDEX cdp_data.mine;
CREATE INDEX mine ON cdp_data.profile_state (abs(events));
SELECT act('expression');
SELECT * FROM detours();
DROP INDEX cdp_data.mine;
CREATE INDEX mine ON cdp_data.profile_state (last_seen) WHERE events > 1;
SELECT act('partial');
SELECT * FROM detours();
DROP INDEX cdp_data.mine;
CREATE INDEX mine ON cdp_data.event USING gin (properties);
SELECT act('gin');
SELECT * FROM detours();
DROP INDEX cdp_data.mine;
CREATE UNIQUE INDEX mine ON cdp_data.event (message_id, ts);
SELECT act('unique'), (SELECT count(*) FROM detours());
INSERT INTO cdp_data.event (ts, node_id, message_key, received_at, type, source, message_id)
	VALUES ('2025-05-02', 1, '00000000-0000-0000-0000-000000000000', now(), 'track', 'x', 'taken');
SELECT cdp.track('cookie:unique', 'Seen', at => '2025-05-02', message_id => 'taken');
DELETE FROM cdp_data.event WHERE message_id = 'taken';
DROP INDEX cdp_data.mine;
-- whole rows, equal nulls
ALTER TABLE cdp_data.profile_state ADD COLUMN note text;
CREATE UNIQUE INDEX mine ON cdp_data.profile_state (profile_id) WHERE profile_state IS NOT NULL;
SELECT act('whole');
SELECT * FROM detours();
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM cdp_data.profile_state WHERE profile_state IS NOT NULL;
RESET enable_seqscan; RESET enable_bitmapscan;
DROP INDEX cdp_data.mine;
ALTER TABLE cdp_data.profile_state DROP COLUMN note;
ALTER TABLE cdp_data.message_seen ADD COLUMN note text;
CREATE UNIQUE INDEX mine ON cdp_data.message_seen (source, note) NULLS NOT DISTINCT WHERE received_at > '2100-01-01';
DROP INDEX cdp_data.mine;
DELETE FROM cdp_data.message_seen;
CREATE UNIQUE INDEX mine ON cdp_data.message_seen (source, note) NULLS NOT DISTINCT;
SELECT cdp.track('cookie:equal', 'Seen', at => '2025-05-02', message_id => 'equal1') > 0 AS taken;
SET statement_timeout = '10s';
SELECT cdp.track('cookie:equal', 'Seen', at => '2025-05-02', message_id => 'equal2') > 0 AS taken;
RESET statement_timeout;
SELECT * FROM detours();
DROP INDEX cdp_data.mine;
ALTER TABLE cdp_data.message_seen DROP COLUMN note;
-- domains and lengths
CREATE DOMAIN short AS text DEFAULT 'none' CHECK (length(VALUE) < 6);
GRANT USAGE ON SCHEMA public TO cdp_owner;
ALTER TABLE cdp_data.node ADD COLUMN brief short;
SELECT act('domain');
SELECT * FROM detours();
SELECT brief, count(*) FROM cdp_data.node GROUP BY 1 ORDER BY 1;
ALTER TABLE cdp_data.node DROP COLUMN brief;
ALTER TABLE cdp_data.node ADD COLUMN brief varchar(8);
SELECT act('length');
SELECT * FROM detours();
ALTER TABLE cdp_data.node DROP COLUMN brief;
-- rights and owners
REVOKE UPDATE ON cdp_data.profile_state FROM cdp_owner;
SELECT cdp.track('cookie:domain', 'Seen', at => '2025-05-02');
GRANT UPDATE ON cdp_data.profile_state TO cdp_owner;
ALTER TABLE cdp_data.node OWNER TO CURRENT_USER;
SELECT cdp.track('cookie:domain', 'Seen', at => '2025-05-02');
ALTER TABLE cdp_data.node OWNER TO cdp_owner;
-- the owner's own policy
ALTER POLICY owner_all ON cdp_data.identifier WITH CHECK (namespace <> 'cookie');
SELECT act('own');
SELECT * FROM detours();
ALTER POLICY owner_all ON cdp_data.identifier WITH CHECK (true);
SELECT act('ours'), (SELECT count(*) FROM detours());
-- tables in partitions
BEGIN;
ALTER TABLE cdp_data.message_seen RENAME TO message_seen_old;
CREATE TABLE cdp_data.message_seen (source text COLLATE "C" NOT NULL, key uuid NOT NULL, content bigint NOT NULL, received_at timestamptz NOT NULL, PRIMARY KEY (source, key)) PARTITION BY HASH (source);
CREATE TABLE cdp_data.message_seen_0 PARTITION OF cdp_data.message_seen FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE cdp_data.message_seen OWNER TO cdp_owner;
ALTER TABLE cdp_data.message_seen_0 OWNER TO cdp_owner;
SELECT act('hash');
SELECT * FROM detours();
ROLLBACK;
BEGIN;
ALTER TABLE cdp_data.event DETACH PARTITION cdp_data.event_202505;
ALTER TABLE cdp_data.event_202505 RENAME TO event_old;
CREATE TABLE cdp_data.event_202505 (LIKE cdp_data.event) PARTITION BY HASH (node_id);
CREATE TABLE cdp_data.event_202505_0 PARTITION OF cdp_data.event_202505 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE cdp_data.event_202505 OWNER TO cdp_owner;
ALTER TABLE cdp_data.event_202505_0 OWNER TO cdp_owner;
ALTER TABLE cdp_data.event ATTACH PARTITION cdp_data.event_202505 FOR VALUES FROM ('2025-05-01') TO ('2025-06-01');
SELECT cdp.track('cookie:hash', 'Seen', at => '2025-05-02', message_id => 'hash1') > 0 AS taken;
SELECT * FROM detours();
SELECT tableoid::regclass, count(*) FROM cdp_data.event_202505 GROUP BY 1;
ALTER TABLE cdp_data.event DETACH PARTITION cdp_data.event_202505;
DELETE FROM cdp_data.event_202505;
ALTER TABLE cdp_data.event ATTACH PARTITION cdp_data.event_202505 DEFAULT;
SELECT cdp.track('cookie:hash', 'Seen', at => '2025-05-02') > 0 AS taken;
ROLLBACK;
-- values out of line, and what was in a column that is gone
ALTER TABLE cdp_data.profile_state ADD COLUMN note text;
ALTER TABLE cdp_data.profile_state ALTER COLUMN note SET STORAGE EXTERNAL;
UPDATE cdp_data.profile_state SET note = repeat('long', 3000), segments = ARRAY(SELECT generate_series(1, 5000))
WHERE profile_id = (SELECT cdp.resolve('cookie:plain'));
SELECT cdp.track('cookie:plain', 'Seen', properties => jsonb_build_object('big', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) i)), at => '2025-05-02', message_id => 'big') > 0 AS taken;
SELECT length(note), cardinality(segments) FROM cdp_data.profile_state WHERE profile_id = (SELECT cdp.resolve('cookie:plain'));
SELECT length(properties ->> 'big'), (SELECT count(*) FROM detours()) FROM cdp_data.event WHERE message_id = 'big';
UPDATE cdp_data.profile_state SET note = repeat('short', 100), segments = '{}' WHERE note IS NOT NULL;
ALTER TABLE cdp_data.profile_state DROP COLUMN note;
SELECT pg_column_size(s.*) > 500 AS has_note FROM cdp_data.profile_state s WHERE profile_id = (SELECT cdp.resolve('cookie:plain'));
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-02') > 0 AS taken, (SELECT count(*) FROM detours());
SELECT pg_column_size(s.*) > 500 AS has_note FROM cdp_data.profile_state s WHERE profile_id = (SELECT cdp.resolve('cookie:plain'));
-- a partition detached and attached with other bounds
ALTER TABLE cdp_data.event DETACH PARTITION cdp_data.event_202505;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-03');
DELETE FROM cdp_data.event_202505 WHERE ts >= '2025-05-02';
ALTER TABLE cdp_data.event ATTACH PARTITION cdp_data.event_202505 FOR VALUES FROM ('2025-05-01') TO ('2025-05-02 12:00');
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-02') > 0 AS taken;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-03');
-- not in a transaction that only reads
BEGIN READ ONLY;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-02', message_id => 'read only');
ROLLBACK;
-- a publication that needs to know rows
SET client_min_messages = error;
CREATE PUBLICATION all_states FOR TABLE cdp_data.profile_state;
ALTER TABLE cdp_data.profile_state REPLICA IDENTITY NOTHING;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-06-01');
DROP PUBLICATION all_states;
SELECT act('end'), (SELECT count(*) FROM detours());

-- what is not there yet is found when it is
ALTER TABLE cdp_data.identity_edge RENAME COLUMN refused_at TO refused_when;
\c
SET cdp.clock = '2025-06-01 00:00Z';
SELECT cdp.track(ARRAY['cookie:late', 'device:late'], 'Seen', at => '2025-05-02 00:00Z');
SELECT cdp.track(ARRAY['cookie:late', 'device:late'], 'Seen', at => '2025-05-02 00:00Z');
SELECT count(*) < 100 AS ends FROM cdp.storage_paths();
ALTER TABLE cdp_data.identity_edge RENAME COLUMN refused_when TO refused_at;
SELECT cdp.track(ARRAY['cookie:late', 'device:late'], 'Seen', at => '2025-05-02 00:00Z') > 0 AS taken;

\c :main
DROP DATABASE regress_cdp_storage;
