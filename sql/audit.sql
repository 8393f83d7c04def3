-- The audit: what leaves a row, what is in it, who reads it, and that no
-- change of it goes unnoticed.  In a database of its own.
\set VERBOSITY terse
\set SHOW_CONTEXT never
\set main :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_audit;
CREATE DATABASE regress_audit TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_audit
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SELECT state, audit_id, seal, detail FROM cdp.verify_audit();

--
-- What leaves a row
--
CREATE ROLE regress_a_app;
CREATE ROLE regress_a_ingest;
CREATE ROLE regress_a_privacy;
CREATE ROLE regress_a_auditor;
CREATE ROLE regress_a_analyst;
SELECT cdp.provision('regress_a_app', 'app'), cdp.provision('regress_a_ingest', 'ingest'), cdp.provision('regress_a_privacy', 'privacy'), cdp.provision('regress_a_auditor', 'auditor');
SELECT cdp.provision('regress_a_app', 'app') AS again;
SELECT cdp.define_purpose('ads', 'marker_person@x.y'), cdp.permit('regress_a_analyst', 'ads'), cdp.permit('regress_a_analyst', 'ads'), cdp.forbid('regress_a_analyst', 'ads');
SELECT cdp.define_trait('city'), cdp.define_segment('some', 'city = ''marker_person@x.y''') > 0 AS segment, cdp.define_metric('seen', 'Seen', 'count') > 0 AS metric;
SELECT cdp.define_namespace('card', blocked => '{marker_person@x.y}'), cdp.set_retention('1 year'), cdp.set_identity_limits(max_identifiers => 50);
CREATE TABLE public.orders (id int PRIMARY KEY, mail text);
SELECT cdp.attach('public.orders', '{"event": "Ordered", "identifiers": {"email": "mail"}}') > 0 AS attached, cdp.detach('public.orders') IS NOT NULL AS detached;
SELECT cdp.drop_segment('some') IS NOT NULL AS dropped, cdp.deprovision('regress_a_app', 'app') AS deprovisioned, cdp.provision('regress_a_app', 'app');
-- by hand, too
UPDATE cdp_data.purpose SET description = 'other' WHERE name = 'ads';
INSERT INTO cdp_data.role_purpose VALUES ('regress_a_app', 1);
-- events do not
SET ROLE regress_a_ingest;
SELECT cdp.track('{email:marker_person@x.y,card:marker_card}', 'Seen') > 0 AS tracked, cdp.identify('email:b@x.y') > 0 AS identified;
SELECT cdp.set_consent('email:b@x.y', 'ads', 'granted') > 0 AS of_a_feed;
RESET ROLE;
SET ROLE regress_a_app;
SET cdp.purpose = 'ads';
SELECT cdp.set_consent('email:marker_person@x.y', 'ads', 'granted', message_id => 'm1') > 0 AS granted;
SELECT cdp.set_consent('email:marker_person@x.y', 'ads', 'granted', message_id => 'm1') > 0 AS the_same_again;
RESET cdp.purpose;
SELECT cdp.merge('{email:marker_person@x.y,email:b@x.y}', 'marker_reason') > 0 AS merged;
SELECT cdp.audit('spam');
RESET ROLE;
SET ROLE regress_a_privacy;
SELECT cdp.set_consent('email:b@x.y', 'ads', 'withdrawn') > 0 AS withdrawn;
SELECT cdp.unmerge((SELECT max(merge_id) FROM cdp.merges), 'marker_reason') > 0 AS unmerged;
SELECT cdp.unlink('email:marker_person@x.y', 'card:marker_card', 'marker_reason') AS unlinked;
SELECT cdp.remove_identifier('email:b@x.y') > 0 AS removed;
SELECT cdp.audit('export', 1, '{"columns": 12}');
RESET ROLE;
SET cdp.clock = '2026-01-01';
SELECT cdp.set_consent('email:marker_person@x.y', 'ads', 'denied') > 0 AS denied;
RESET cdp.clock;
-- nothing of what was rolled back
BEGIN;
SELECT cdp.permit('regress_a_analyst', 'ads');
ROLLBACK;
BEGIN;
SELECT cdp.audit('kept');
SAVEPOINT s;
SELECT cdp.audit('gone');
ROLLBACK TO s;
COMMIT;
SELECT replace(session_role, session_user, 'me') AS session_role, replace(role, session_user, 'me') AS role, client IN ('local', 'network') AS client, purpose, clock, action, coalesce((SELECT count(DISTINCT b.subject) FROM cdp.audit_log b WHERE a.subject IS NOT NULL AND b.audit_id <= (SELECT min(c.audit_id) FROM cdp.audit_log c WHERE c.subject = a.subject)), 0) AS person, detail FROM cdp.audit_log a ORDER BY audit_id;
SELECT bool_and(at BETWEEN now() - interval '1 hour' AND clock_timestamp()) AS by_the_server_s_clock FROM cdp.audit_log;
-- pseudonymous: nothing of a person, of what she is called, or why
SELECT count(*) AS with_personal_data FROM cdp_data.audit a WHERE a::text ~ 'marker|x\.y';
-- but the rows of a person can be found, also those of whom she was merged with
SELECT action, detail FROM cdp.audit_of((SELECT min(profile_id) FROM cdp_data.profile)) ORDER BY audit_id;
SELECT count(*) FROM cdp.audit_of(999999);

--
-- Who may read it, and write it
--
SET ROLE regress_a_auditor;
SELECT count(*) > 20 AS rows, count(DISTINCT subject) > 0 AS subjects FROM cdp.audit_log;
SELECT state FROM cdp.verify_audit();
SELECT count(*) FROM cdp.audit_of(1);
SELECT cdp.audit('spam');
SELECT * FROM cdp_data.audit_key;
SET ROLE regress_a_analyst;
SELECT count(*) FROM cdp.audit_log;
SELECT * FROM cdp.verify_audit();
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdp.verify_audit(text), cdp.audit_mac(text, text[]), cdp.audit_of(bigint) TO regress_a_analyst;
GRANT SELECT ON cdp.audit_log TO regress_a_analyst;
GRANT SELECT ON cdp_data.audit TO regress_a_analyst;
SET ROLE regress_a_analyst;
SELECT count(*) FROM cdp.audit_log;
SELECT * FROM cdp.verify_audit();
SELECT * FROM cdp.audit_of(1);
RESET ROLE;
SELECT cdp.deprovision('regress_a_analyst');
SELECT c.relname, r.rolname FROM pg_class c CROSS JOIN pg_roles r WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relname IN ('audit', 'audit_key', 'audit_open', 'audit_seal', 'audit_head')
	AND r.rolname LIKE 'regress_a_%' AND (has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE') OR has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE') OR c.relname IN ('audit_key', 'audit_open', 'audit_head') AND has_any_column_privilege(r.oid, c.oid, 'SELECT')) ORDER BY 1, 2;
SELECT cdp.audit(NULL);
SELECT cdp.audit('');
SELECT cdp.audit('a', 1, '[]');
SELECT cdp.audit('a', 1, jsonb_build_object('a', repeat('x', 9000)));
SELECT cdp.verify_audit('1:abc');

--
-- Sealed by maintain(), in as many steps as it takes
--
SELECT state FROM cdp.verify_audit();
CALL cdp.maintain(10);
SELECT count(cdp.audit('bulk', n)) FROM generate_series(1, 2500) n;
CALL cdp.maintain(10);
SELECT cdp.audit('one more'), cdp.audit('and another');
CALL cdp.maintain(10);
CALL cdp.maintain(10);
SELECT seal, rows > 0 AS rows, rows = 1000 AS full FROM cdp.audit_seals ORDER BY seal;
SELECT state, seal, substring(detail FROM '^\d+') = (SELECT count(*)::text FROM cdp.audit_log) AS all_of_them FROM cdp.verify_audit();
SELECT head FROM cdp.audit_seals ORDER BY seal DESC LIMIT 1 \gset
SELECT state FROM cdp.verify_audit(:'head');
-- and some that wait
SELECT cdp.audit('waits', 7, '{"n": 1.50}'), cdp.audit('waits', 8), cdp.audit('waits', 9, '{"a": "b\"c"}');
SELECT state, regexp_replace(detail, ',.*|;.*', '') AS detail FROM cdp.verify_audit();

--
-- Tampering: each done, looked for, and rolled back
--
CREATE FUNCTION tamper(how text, head text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found text;
	n bigint;
BEGIN
	BEGIN
		EXECUTE how;
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n = 0 THEN
			RETURN 'nothing was changed';
		END IF;
		SELECT string_agg(DISTINCT v.state, ' ' ORDER BY v.state) INTO found FROM cdp.verify_audit(head) v WHERE v.state NOT IN ('sealed', 'unsealed');
		RAISE EXCEPTION USING ERRCODE = 'ZZ001';
	EXCEPTION WHEN SQLSTATE 'ZZ001' THEN NULL;
	END;
	RETURN coalesce(found, 'not found');
END $$;
-- rows by where they stand
CREATE TABLE spot AS SELECT 'first' AS spot, min(audit_id) AS id, false AS waits FROM cdp_data.audit UNION ALL
	SELECT 'middle', 1234, false UNION ALL
	SELECT 'last sealed', max(audit_id), false FROM cdp_data.audit a WHERE NOT EXISTS (SELECT FROM cdp_data.audit_open o WHERE o.audit_id = a.audit_id) UNION ALL
	SELECT 'first that waits', min(audit_id), true FROM cdp_data.audit_open UNION ALL SELECT 'last', max(audit_id), true FROM cdp_data.audit_open;
SELECT count(*) AS spots FROM spot WHERE id IN (SELECT audit_id FROM cdp_data.audit);
-- every column of a row
CREATE TABLE other AS SELECT a.attname AS col, CASE format_type(a.atttypid, NULL)
		WHEN 'bigint' THEN format('%I + 1000000', a.attname) WHEN 'timestamp with time zone' THEN format('%I + interval ''1 microsecond''', a.attname)
		WHEN 'name' THEN '''somebody''' WHEN 'text' THEN format('coalesce(%I, '''') || ''x''', a.attname) WHEN 'uuid' THEN 'gen_random_uuid()'
		WHEN 'jsonb' THEN format('%I || ''{"z": 1}''', a.attname) WHEN 'bytea' THEN format('set_byte(%I, 31, (get_byte(%I, 31) + 1) %% 256)', a.attname, a.attname) END AS value
FROM pg_attribute a WHERE a.attrelid = 'cdp_data.audit'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
SELECT count(*) FILTER (WHERE value IS NULL) AS without_a_trick FROM other;
SELECT o.col, string_agg(DISTINCT s.spot || ': ' || tamper(format('UPDATE cdp_data.audit SET %I = %s WHERE audit_id = %s', o.col, o.value, s.id)), ', ') AS found
FROM other o CROSS JOIN spot s WHERE s.spot IN ('middle', 'last') GROUP BY o.col ORDER BY o.col COLLATE "C";
-- … set to null, where it may be
SELECT col, tamper(format('UPDATE cdp_data.audit SET %I = NULL WHERE audit_id = (SELECT max(audit_id) FROM cdp_data.audit WHERE %I IS NOT NULL)', col, col)) FROM unnest('{subject,purpose,clock}'::name[]) col;
-- a row, or all of a time
SELECT spot, tamper(format('DELETE FROM cdp_data.audit WHERE audit_id = %s', id)) AS deleted,
	tamper(format('INSERT INTO cdp_data.audit SELECT (a).* FROM (SELECT jsonb_populate_record(a, ''{"audit_id": 77777}'') AS a FROM cdp_data.audit a WHERE audit_id = %s) x', id)) AS copied FROM spot ORDER BY id;
SELECT tamper('DELETE FROM cdp_data.audit') AS everything, tamper('DELETE FROM cdp_data.audit WHERE audit_id > 500') AS tail, tamper('DELETE FROM cdp_data.audit WHERE action = ''bulk''') AS some;
-- places changed
SELECT tamper('UPDATE cdp_data.audit a SET audit_id = -a.audit_id WHERE a.audit_id IN (100, 101)') AS numbers,
	tamper('WITH x AS (DELETE FROM cdp_data.audit WHERE audit_id IN (100, 101) RETURNING *) SELECT count(*) FROM x') AS gone,
	tamper('UPDATE cdp_data.audit a SET (at, action, subject, detail, mac) = (SELECT b.at, b.action, b.subject, b.detail, b.mac FROM cdp_data.audit b WHERE b.audit_id = 201 - a.audit_id) WHERE a.audit_id IN (100, 101)') AS contents,
	tamper('UPDATE cdp_data.audit a SET subject = b.subject FROM cdp_data.audit b WHERE a.audit_id IN (100, 101) AND b.audit_id = 201 - a.audit_id') AS people;
-- what waits
SELECT tamper('DELETE FROM cdp_data.audit_open WHERE audit_id = (SELECT max(audit_id) FROM cdp_data.audit_open)') AS witness, tamper('UPDATE cdp_data.audit_open SET audit_id = audit_id + 1000') AS moved,
	tamper('UPDATE cdp_data.audit_open SET mac = set_byte(mac, 0, (get_byte(mac, 0) + 1) % 256)') AS code, tamper('INSERT INTO cdp_data.audit_open SELECT audit_id, mac FROM cdp_data.audit WHERE audit_id = 100') AS again,
	tamper('INSERT INTO cdp_data.audit_open VALUES (88888, ''\x00'')') AS invented;
-- the chain
SELECT s.seal, tamper(format('DELETE FROM cdp_data.audit_seal WHERE seal = %s', seal)) AS deleted, tamper(format('UPDATE cdp_data.audit_seal SET sealed_at = sealed_at - interval ''1 day'' WHERE seal = %s', seal)) AS sealed_at,
	tamper(format('UPDATE cdp_data.audit_seal SET ids = ids[2:] WHERE seal = %s', seal)) AS ids, tamper(format('UPDATE cdp_data.audit_seal SET ids = ids[2:] || ids[1] WHERE seal = %s', seal)) AS in_another_order,
	tamper(format('UPDATE cdp_data.audit_seal SET ids = ids || 1::bigint WHERE seal = %s', seal)) AS more, tamper(format('UPDATE cdp_data.audit_seal SET digest = sha256(digest) WHERE seal = %s', seal)) AS digest,
	tamper(format('UPDATE cdp_data.audit_seal SET seal = seal + 100 WHERE seal = %s', seal)) AS number
FROM cdp_data.audit_seal s ORDER BY s.seal;
SELECT tamper('UPDATE cdp_data.audit_seal SET seal = -seal WHERE seal IN (2, 3)') AS numbers, tamper('UPDATE cdp_data.audit_seal a SET (ids, digest, sealed_at) = (SELECT b.ids, b.digest, b.sealed_at FROM cdp_data.audit_seal b WHERE b.seal = 5 - a.seal) WHERE a.seal IN (2, 3)') AS swapped,
	tamper('DELETE FROM cdp_data.audit_head') AS head, tamper('UPDATE cdp_data.audit_head SET seal = seal - 1') AS head_seal, tamper('UPDATE cdp_data.audit_head SET digest = sha256(digest)') AS head_digest,
	tamper('UPDATE cdp_data.audit_key SET key = sha256(key)') AS key;
SELECT tamper('DELETE FROM cdp_data.audit_key');
-- the end cut off with care: only who kept the head knows; what was not sealed yet is in no head
CREATE FUNCTION cut(last bigint) RETURNS void LANGUAGE sql AS $$
	DELETE FROM cdp_data.audit_open;
	DELETE FROM cdp_data.audit a WHERE NOT EXISTS (SELECT FROM cdp_data.audit_seal s WHERE s.seal <= last AND a.audit_id = ANY (s.ids));
	DELETE FROM cdp_data.audit_seal s WHERE s.seal > last;
	UPDATE cdp_data.audit_head h SET seal = s.seal, digest = s.digest FROM cdp_data.audit_seal s WHERE s.seal = last;
$$;
SELECT tamper('SELECT cut(2)') AS nobody_knows, tamper('SELECT cut(2)', :'head') AS by_the_head, tamper('SELECT cut(5)', :'head') AS only_what_waits;
-- a row that was changed before it was sealed is found afterwards
BEGIN;
UPDATE cdp_data.audit SET action = 'nothing' WHERE action = 'waits' AND detail ? 'n';
DELETE FROM cdp_data.audit WHERE action = 'waits' AND detail ? 'a';
SELECT cdp.seal_step();
SELECT state, seal IS NOT NULL AS seal, detail FROM cdp.verify_audit() WHERE state NOT IN ('sealed', 'unsealed');
ROLLBACK;
-- all is as it was
SELECT state FROM cdp.verify_audit(:'head');
CALL cdp.maintain(10);
SELECT state FROM cdp.verify_audit(:'head');
SELECT * FROM cdp.selfcheck();
-- the owner of an old code cannot write a row that passes: it takes the key
SELECT tamper(format('INSERT INTO cdp_data.audit SELECT 99999, at, xid, session_role, role, client, purpose, clock, action, subject, detail, mac FROM cdp_data.audit WHERE audit_id = 100')) AS forged;

\c :main
DROP DATABASE regress_audit;
DROP ROLE regress_a_app, regress_a_ingest, regress_a_privacy, regress_a_auditor, regress_a_analyst;
