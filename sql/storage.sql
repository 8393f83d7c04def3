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
-- a partition detached and attached with other bounds
ALTER TABLE cdp_data.event DETACH PARTITION cdp_data.event_202505;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-03');
DELETE FROM cdp_data.event_202505 WHERE ts >= '2025-05-02';
ALTER TABLE cdp_data.event ATTACH PARTITION cdp_data.event_202505 FOR VALUES FROM ('2025-05-01') TO ('2025-05-02 12:00');
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-02') > 0 AS taken;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-03');
-- not in a transaction that only reads
BEGIN READ ONLY;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-05-02');
ROLLBACK;
-- a publication that needs to know rows
SET client_min_messages = error;
CREATE PUBLICATION all_states FOR TABLE cdp_data.profile_state;
ALTER TABLE cdp_data.profile_state REPLICA IDENTITY NOTHING;
SELECT cdp.track('cookie:plain', 'Seen', at => '2025-06-01');
DROP PUBLICATION all_states;
SELECT act('end'), (SELECT count(*) FROM detours());

\c :main
DROP DATABASE regress_cdp_storage;
