-- CREATE EXTENSION, cdp.init(), and what the catalogues must look like after.
-- The tests that follow find the extension in this database.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE EXTENSION cdp;

-- before init: every function that needs the tables names the remedy
CREATE TABLE setup_before (id int PRIMARY KEY);
CREATE TABLE setup_call (n int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO setup_call (call) VALUES
	('SELECT cdp.track(''email:a@b.c'', ''E'')'),
	('SELECT cdp.track(''{email:a@b.c}''::text[], ''E'')'),
	('SELECT cdp.track(''{email:a@b.c}''::cdp.identity_set, ''E'')'),
	('SELECT cdp.track(1::bigint, ''E'')'),
	('SELECT cdp.identify(''email:a@b.c'', ''{"a": 1}'')'),
	('SELECT cdp.identify(''{email:a@b.c}''::text[])'),
	('SELECT cdp.identify(''{email:a@b.c}''::cdp.identity_set)'),
	('SELECT cdp.identify(1::bigint)'),
	('SELECT * FROM cdp.ingest(''{"type": "track", "event": "E", "userId": "u"}'')'),
	('SELECT * FROM cdp.ingest(''[]'')'),
	('SELECT cdp.set_consent(''email:a@b.c'', ''p'', ''granted'')'),
	('SELECT cdp.set_consent(''{email:a@b.c}''::text[], ''p'', ''granted'')'),
	('SELECT cdp.set_consent(''{email:a@b.c}''::cdp.identity_set, ''p'', ''granted'')'),
	('SELECT cdp.set_consent(1::bigint, ''p'', ''granted'')'),
	('SELECT cdp.resolve(''email:a@b.c'')'),
	('SELECT cdp.resolve(''{email:a@b.c}''::text[])'),
	('SELECT cdp.resolve(''{email:a@b.c}''::cdp.identity_set)'),
	('SELECT cdp.resolve(1::bigint)'),
	('SELECT * FROM cdp.members(''a'')'),
	('SELECT cdp.segment_count(''a'')'),
	('SELECT cdp.define_segment(''a'', ''true'')'),
	('SELECT cdp.drop_segment(''a'')'),
	('SELECT cdp.define_purpose(''a'')'),
	('SELECT cdp.define_activation(''a'', ''email'', ''p'')'),
	('SELECT cdp.drop_activation(''a'', ''email'', ''p'')'),
	('SELECT cdp.define_trait(''a'')'),
	('SELECT cdp.permit(current_role::regrole, ''p'')'),
	('SELECT cdp.forbid(current_role::regrole, ''p'')'),
	('SELECT cdp.provision(current_role::regrole, ''ingest'')'),
	('SELECT cdp.attach(''setup_before'', ''{}'')'),
	('SELECT cdp.detach(''setup_before'')'),
	('SELECT * FROM cdp.claim(''email'')'),
	('SELECT cdp.ack(''{}'')'),
	('SELECT cdp.create_partitions(''2020-01-01'', ''2020-02-01'')'),
	('SELECT cdp.maintain_step()'),
	('SELECT cdp.migrate()'),
	('SELECT cdp.schedule()'),
	('SELECT cdp.require_init()'),
	('SELECT cdp.require_admin()'),
	('CALL cdp.maintain()');
CREATE FUNCTION setup_outcome(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN format('%s %s %s', SQLSTATE, SQLERRM, hint);
END $$;
SELECT setup_outcome(call), count(*) AS calls FROM setup_call GROUP BY 1 ORDER BY 1;
SELECT call, setup_outcome(call) FROM setup_call
WHERE setup_outcome(call) <> '55000 cdp is not initialised in this database Run SELECT cdp.init();' ORDER BY n;
-- … and no public function is forgotten above: those left compute from their arguments, are parts of others or init itself
SELECT DISTINCT p.proname FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND p.provolatile <> 'i' AND p.prorettype <> 'trigger'::regtype
	AND p.proname !~ '^(install_|mapping_|identifier_|identity_set_)'
	AND NOT EXISTS (SELECT FROM setup_call WHERE call ~ ('cdp\.' || p.proname || '\('))
ORDER BY 1;
SELECT library = (SELECT extversion FROM pg_extension WHERE extname = 'cdp') AS library, data_schema FROM cdp.version();
-- the policies' tests answer no instead of raising
SELECT cdp.allowed(1), cdp.allowed_node(1), cdp.has_kind('analyst');
SELECT count(*) AS views_before_init FROM pg_class WHERE relnamespace = 'cdp'::regnamespace AND relkind = 'v';

-- init: who, what with, what it did (the role is there already when another database has cdp)
SELECT cdp.init(NULL);
SELECT cdp.init('fortnight');
CREATE ROLE regress_cdp_setup;
SET ROLE regress_cdp_setup;
SELECT cdp.init();
SELECT library IS NOT NULL AS library, data_schema FROM cdp.version();
RESET ROLE;
SELECT to_regnamespace('cdp_data') AS nothing_was_made;
-- a rollback leaves nothing
BEGIN;
SELECT count(*) > 0 AS steps FROM cdp.init();
SELECT data_schema FROM cdp.version();
ROLLBACK;
SELECT to_regnamespace('cdp_data') AS nothing_is_left, (SELECT data_schema FROM cdp.version());
SELECT setup_outcome('SELECT cdp.resolve(1::bigint)');
SELECT * FROM cdp.init() WHERE step <> 'role';
SELECT current_user = session_user AS still_myself;
SELECT library = (SELECT extversion FROM pg_extension WHERE extname = 'cdp') AS library, data_schema FROM cdp.version();

-- again: changes nothing
CREATE TABLE setup_seen AS
SELECT c.oid, c.relfilenode, c.relacl::text AS acl FROM pg_class c
WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace);
CREATE TABLE setup_installation AS SELECT * FROM cdp_data.installation;
SELECT * FROM cdp.init();
SELECT * FROM cdp.init('day') WHERE detail <> 'already there';
SELECT count(*) AS changed FROM
	((TABLE setup_seen) EXCEPT (SELECT c.oid, c.relfilenode, c.relacl::text FROM pg_class c
	 WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace))) x;
SELECT count(*) AS added FROM
	((SELECT c.oid, c.relfilenode, c.relacl::text FROM pg_class c
	 WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace)) EXCEPT (TABLE setup_seen)) x;
SELECT count(*) AS changed FROM ((TABLE setup_installation) EXCEPT (TABLE cdp_data.installation)) x;
SELECT data_version, partition_interval FROM cdp_data.installation;

-- every object a user can meet has a comment
SELECT p.oid::regprocedure AS function_without_comment FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND coalesce(btrim(obj_description(p.oid, 'pg_proc')), '') = ''
	AND NOT EXISTS (SELECT FROM pg_type t WHERE p.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend, t.typanalyze))
	AND NOT EXISTS (SELECT FROM pg_amproc a WHERE a.amproc = p.oid)
	AND NOT EXISTS (SELECT FROM pg_operator o WHERE p.oid IN (o.oprcode, o.oprrest, o.oprjoin))
	AND NOT EXISTS (SELECT FROM pg_aggregate a WHERE p.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn))
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT t.oid::regtype AS type_without_comment FROM pg_type t
WHERE t.typnamespace = 'cdp'::regnamespace AND t.typtype IN ('b', 'd', 'e', 'r') AND t.typcategory <> 'A'
	AND coalesce(btrim(obj_description(t.oid, 'pg_type')), '') = '' ORDER BY t.oid::regtype::text COLLATE "C";
SELECT o.oid::regoperator AS operator_without_comment FROM pg_operator o
WHERE o.oprnamespace = 'cdp'::regnamespace AND coalesce(btrim(obj_description(o.oid, 'pg_operator')), '') = '' ORDER BY o.oid::regoperator::text COLLATE "C";
SELECT c.oid::regclass AS view_without_comment FROM pg_class c
WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('v', 'r', 'm') AND coalesce(btrim(obj_description(c.oid, 'pg_class')), '') = '' ORDER BY c.oid::regclass::text COLLATE "C";
SELECT nspname AS schema_without_comment FROM pg_namespace n
WHERE nspname ~ '^cdp' AND obj_description(n.oid, 'pg_namespace') IS NULL ORDER BY 1;
SELECT c.relname AS view FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' ORDER BY 1;

-- the owner of the storage
SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = 'cdp_owner';
SELECT c.oid::regclass AS not_owned_by_cdp_owner FROM pg_class c
WHERE (c.relnamespace = 'cdp_data'::regnamespace OR c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v')
	AND c.relowner <> 'cdp_owner'::regrole ORDER BY c.oid::regclass::text COLLATE "C";
SELECT count(*) > 20 AS there_are_tables FROM pg_class WHERE relnamespace = 'cdp_data'::regnamespace;

-- rights on the schemas: cdp is to be used by all and filled by nobody, cdp_data is closed
SELECT n.nspname, a.grantee::regrole, a.privilege_type
FROM pg_namespace n, aclexplode(n.nspacl) a
WHERE n.nspname IN ('cdp', 'cdp_data') AND a.grantee <> n.nspowner AND a.grantee <> 10 ORDER BY 1, a.grantee::regrole::text COLLATE "C", 3;
SELECT has_schema_privilege('regress_cdp_setup', 'cdp', 'USAGE') AS cdp_usage,
	has_schema_privilege('regress_cdp_setup', 'cdp', 'CREATE') AS cdp_create,
	has_schema_privilege('regress_cdp_setup', 'cdp_data', 'USAGE') AS data_usage,
	has_schema_privilege('regress_cdp_setup', 'cdp_data', 'CREATE') AS data_create;
-- a role without grants: may run nothing that touches data, may read no table and no view
SELECT p.oid::regprocedure AS public_may_execute FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND p.provolatile <> 'i'
	AND has_function_privilege('regress_cdp_setup', p.oid, 'EXECUTE') ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS public_may_read FROM pg_class c
WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm')
	AND has_any_column_privilege('regress_cdp_setup', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') ORDER BY c.oid::regclass::text COLLATE "C";
SELECT p.oid::regprocedure AS security_definer FROM pg_proc p
WHERE p.pronamespace = 'cdp'::regnamespace AND p.prosecdef ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT p.oid::regprocedure AS without_fixed_search_path FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'cdp'::regnamespace AND l.lanname IN ('plpgsql', 'sql')
	AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c = 'search_path=pg_catalog, pg_temp')
	AND p.prosqlbody IS NULL ORDER BY p.oid::regprocedure::text COLLATE "C";

-- views ask with the reader's rights, so the policies meet the reader
SELECT c.oid::regclass AS not_security_invoker FROM pg_class c
WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v'
	AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false) ORDER BY c.oid::regclass::text COLLATE "C";

-- tables that hold persons, and their partitions: forced policies, one for the owner and one that asks for consent
CREATE VIEW setup_person_table AS
SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c
WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p')
	AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
		AND a.attname IN ('profile_id', 'node_id', 'ord', 'a', 'winner', 'old_id', 'payload', 'value'));
SELECT relname FROM setup_person_table WHERE relname !~ '^event_[0-9]' ORDER BY 1;
SELECT count(*) > 0 AS partitions FROM setup_person_table WHERE relname ~ '^event_[0-9]';
SELECT t.relname AS not_guarded FROM setup_person_table t
WHERE NOT t.relrowsecurity OR NOT t.relforcerowsecurity
	OR NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'owner_all' AND p.polcmd = '*'
		AND p.polpermissive AND p.polroles = ARRAY['cdp_owner'::regrole::oid] AND pg_get_expr(p.polqual, t.oid) = 'true')
	OR NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'consent' AND p.polcmd = 'r'
		AND p.polpermissive AND p.polroles = ARRAY[0::oid] AND pg_get_expr(p.polqual, t.oid) ~ '^(\(*cdp\.(allowed|allowed_node|has_kind)\(|\(EXISTS \( SELECT\s+FROM unnest\(.*\)\s+WHERE cdp\.allowed_node\(|false$)')
	OR (SELECT count(*) FROM pg_policy p WHERE p.polrelid = t.oid) <> 2
ORDER BY 1;
-- a partition made later is guarded too
SELECT cdp.create_partitions('2001-05-05', '2001-06-06');
SELECT cdp.create_partitions('2001-05-05', '2001-06-06');
SELECT relname, relrowsecurity, relforcerowsecurity, (SELECT count(*) FROM pg_policy p WHERE p.polrelid = t.oid) AS policies
FROM setup_person_table t WHERE relname = 'event_history' ORDER BY 1;
SELECT count(*) AS event_partitions_without_own_policies FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'cdp_data.event'::regclass AND NOT (c.relrowsecurity AND c.relforcerowsecurity);
SELECT cdp.create_partitions('1969-12-31', '1970-01-02');
SELECT cdp.create_partitions('2001-01-01', '2000-01-01');
SELECT cdp.create_partitions('2001-01-01', 'infinity');
SELECT cdp.create_partitions('-infinity', '2001-01-01');
SELECT cdp.create_partitions('2001-01-01', '2021-01-01');

-- nothing works by configuring as an ordinary role
SET ROLE regress_cdp_setup;
SELECT cdp.define_purpose('p');
SELECT cdp.track('email:a@b.c', 'E');
SELECT * FROM cdp.profiles;
SELECT * FROM cdp_data.identifier;
RESET ROLE;
-- … even with every EXECUTE there is
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cdp TO regress_cdp_setup;
SET ROLE regress_cdp_setup;
SELECT cdp.define_purpose('p');
SELECT cdp.define_segment('s', 'true');
SELECT cdp.define_activation('s', 'email', 'p');
SELECT cdp.permit('regress_cdp_setup', 'p');
SELECT cdp.provision('regress_cdp_setup', 'privacy');
SELECT cdp.attach('pg_class', '{}');
SELECT cdp.init();
RESET ROLE;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cdp FROM regress_cdp_setup;
-- a member of the owner is as strong as a superuser: there must be none
GRANT cdp_owner TO regress_cdp_setup;
SELECT cdp.init();
SET ROLE regress_cdp_setup;
SELECT cdp.define_purpose('p');
RESET ROLE;
REVOKE cdp_owner FROM regress_cdp_setup;
SELECT cdp.resolve('user_id:1');

-- what DROP EXTENSION took along comes back with the next init()
BEGIN;
SELECT cdp.define_purpose('p') > 0 AS purpose, cdp.define_trait('shoe_size', 'int', index => true), cdp.identify('user_id:1', '{"shoe_size": 42}') > 0 AS identified;
CREATE TABLE setup_orders (id int PRIMARY KEY, who text);
SELECT cdp.attach('setup_orders', '{"event": "Ordered", "identifiers": {"user_id": "who"}}') > 0 AS attached;
SELECT cdp.permit('regress_cdp_setup', 'p'), cdp.set_consent('user_id:1', 'p', 'granted') > 0 AS consent;
SET LOCAL client_min_messages = warning;
DROP EXTENSION cdp CASCADE;
CREATE EXTENSION cdp;
SELECT step, CASE WHEN step IN ('protection', 'partitions') THEN 'counted' ELSE detail END AS detail FROM cdp.init();
INSERT INTO setup_orders VALUES (1, '1');
SELECT shoe_size, events FROM cdp.profiles;
SET LOCAL ROLE regress_cdp_setup;
SELECT shoe_size, events FROM cdp.profiles;
ROLLBACK;

-- a role that may log in cannot become the owner of the storage
ALTER ROLE cdp_owner BYPASSRLS;
SELECT cdp.init();
ALTER ROLE cdp_owner NOBYPASSRLS;
-- what the library does not know is refused, never guessed
BEGIN;
UPDATE cdp_data.installation SET data_version = 99;
SELECT data_schema FROM cdp.version();
SELECT cdp.resolve('email:a@b.c');
ROLLBACK;
BEGIN;
DELETE FROM cdp_data.installation;
SELECT cdp.resolve('email:a@b.c');
ROLLBACK;
SELECT cdp.resolve('email:a@b.c');

DROP VIEW setup_person_table;
DROP TABLE setup_before, setup_call, setup_seen, setup_installation;
DROP FUNCTION setup_outcome(text);
DROP ROLE regress_cdp_setup;
