-- Activations: who enters a segment gets a delivery; channels claim and
-- acknowledge.  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_activation TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_activation
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT * FROM cdp.claim('email');
SELECT cdp.ack('{}');
SELECT cdp.define_activation('vip', 'email', 'marketing');
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2025-01-01 00:00Z';
CREATE ROLE regress_cdp_sender;
CREATE ROLE regress_cdp_sender2;
CREATE ROLE regress_cdp_stranger;
CREATE ROLE regress_cdp_reader;
SELECT count(cdp.define_purpose(p)) FROM unnest('{marketing,service}'::text[]) p;
SELECT cdp.provision('regress_cdp_sender', 'app'), cdp.provision('regress_cdp_sender2', 'app'), cdp.provision('regress_cdp_stranger', 'app');
SELECT cdp.permit('regress_cdp_sender', 'marketing'), cdp.permit('regress_cdp_sender2', 'marketing'), cdp.permit('regress_cdp_stranger', 'service'), cdp.permit('regress_cdp_reader', 'marketing');
SELECT count(cdp.define_trait(name, type)) FROM (VALUES ('vip', 'bool'), ('nick', 'text')) t (name, type);
SELECT cdp.define_segment('vip', 'vip') > 0 AS defined;

CREATE PROCEDURE person(nick text, who text, consent text DEFAULT 'granted', purpose text DEFAULT 'marketing') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.identify(who, jsonb_build_object('nick', nick), '2024-01-01');
	IF consent <> 'none' THEN
		PERFORM cdp.set_consent(who, purpose, consent, '2024-01-01');
	END IF;
END $$;
CREATE PROCEDURE enter(who text, vip boolean DEFAULT true, at timestamptz DEFAULT '2024-06-01') LANGUAGE sql AS $$ SELECT cdp.identify(who, jsonb_build_object('vip', vip), at) $$;
CREATE VIEW deliveries AS
SELECT p.nick, o.segment, o.channel, o.purpose, o.state, o.reason, o.attempts AS n, o.created_at, o.leased_until, o.settled_at FROM cdp.outbox o LEFT JOIN cdp.profiles p USING (profile_id);
CREATE TABLE claimed (role text, delivery_id uuid, nick text);
-- claims as a role; remembers the deliveries' ids, which differ in each run
CREATE FUNCTION claim(role text, channel text, n int DEFAULT 100, lease interval DEFAULT '5 minutes') RETURNS TABLE (nick text, address text, payload jsonb) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	CREATE TEMP TABLE c ON COMMIT DROP AS SELECT * FROM cdp.claim(claim.channel, claim.n, claim.lease);
	PERFORM set_config('role', 'none', true);
	INSERT INTO claimed SELECT claim.role, c.delivery_id, p.nick FROM c JOIN cdp.profiles p USING (profile_id);
	RETURN QUERY SELECT p.nick, c.address, c.payload FROM c JOIN cdp.profiles p USING (profile_id) ORDER BY p.nick;
	DROP TABLE c;
END $$;
CREATE FUNCTION ack(role text, who text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	ids uuid[] := ARRAY(SELECT delivery_id FROM claimed WHERE nick = who);
	result int;
BEGIN
	PERFORM set_config('role', role, true);
	result := cdp.ack(ids);
	PERFORM set_config('role', 'none', true);
	RETURN result;
END $$;

--
-- Defining
--
SELECT cdp.define_activation('nobody', 'email', 'marketing');
SELECT cdp.define_activation('vip', 'email', 'sales');
SELECT cdp.define_activation('vip', '', 'marketing');
SELECT cdp.define_activation('vip', NULL, 'marketing');
SELECT cdp.define_activation(NULL, 'email', 'marketing');
SELECT cdp.define_activation('vip', 'email', NULL);
-- who is a member already gets nothing
CALL person('old', 'email:old@x.y');
CALL enter('email:old@x.y');
SELECT cdp.define_activation('vip', 'email', 'marketing') = cdp.define_activation('vip', 'email', 'marketing') AS same;
CALL enter('email:old@x.y', at => '2024-06-02');
SELECT * FROM deliveries;

--
-- Entering, in the event's own transaction
--
CALL person('ada', 'email:ada@x.y');
SELECT count(*) FROM deliveries;
BEGIN;
CALL enter('email:ada@x.y');
SELECT nick, state FROM deliveries;
ROLLBACK;
SELECT nick, state FROM deliveries;
BEGIN;
SAVEPOINT s;
CALL enter('email:ada@x.y');
ROLLBACK TO s;
COMMIT;
SELECT nick, state FROM deliveries;
CALL enter('email:ada@x.y');
SELECT * FROM deliveries;
-- staying in is not entering
CALL enter('email:ada@x.y', at => '2024-06-02');
SELECT cdp.track('email:ada@x.y', 'Seen', at => '2024-06-02') IS NOT NULL AS tracked;
SELECT count(*) FROM deliveries;
-- redefining a segment is not entering either
CALL person('bea', 'email:bea@x.y');
SELECT cdp.define_segment('vip', 'vip OR nick = ''bea''') > 0 AS redefined;
SELECT cdp.segment_count('vip'), (SELECT count(*) FROM deliveries);
SELECT cdp.define_segment('vip', 'vip') > 0 AS redefined;

--
-- Claiming: once, to one
--
SELECT * FROM claim('regress_cdp_sender', 'email');
SELECT * FROM deliveries;
SELECT * FROM claim('regress_cdp_sender', 'email');
SELECT * FROM claim('regress_cdp_sender2', 'email');
SELECT * FROM claim('regress_cdp_sender', 'sms');
-- acknowledged by who claimed, once
SELECT ack('regress_cdp_sender2', 'ada'), ack('regress_cdp_stranger', 'ada');
SELECT ack('regress_cdp_sender', 'ada'), ack('regress_cdp_sender', 'ada');
SELECT * FROM deliveries;
SELECT cdp.ack('{}'), cdp.ack(NULL), cdp.ack(ARRAY[gen_random_uuid(), NULL]);
-- the lease ends: handed out again, and the first claimer is too late
SET cdp.clock = '2025-01-02 00:00Z';
CALL enter('email:bea@x.y');
SELECT * FROM claim('regress_cdp_sender', 'email', lease => '1 hour');
SET cdp.clock = '2025-01-02 00:59:59Z';
SELECT * FROM claim('regress_cdp_sender2', 'email');
SET cdp.clock = '2025-01-02 01:00Z';
SELECT * FROM claim('regress_cdp_sender2', 'email');
SELECT ack('regress_cdp_sender', 'bea'), ack('regress_cdp_sender2', 'bea');
SELECT nick, state, n, created_at, leased_until, settled_at FROM deliveries ORDER BY created_at;
SET cdp.clock = '2025-01-02 03:00Z';
SELECT * FROM claim('regress_cdp_sender2', 'email');
-- a superuser may acknowledge for anybody
CALL person('cleo', 'email:cleo@x.y');
CALL enter('email:cleo@x.y');
SELECT nick FROM claim('regress_cdp_sender', 'email');
SELECT ack(current_user::text, 'cleo');
-- a claim that rolls back gives back what it took
CALL person('dora', 'email:dora@x.y');
CALL enter('email:dora@x.y');
BEGIN;
SELECT nick FROM claim('regress_cdp_sender', 'email');
ROLLBACK;
SELECT nick FROM claim('regress_cdp_sender2', 'email');
SELECT ack('regress_cdp_sender2', 'dora');
-- n at a time, who entered first comes first
DO $$
BEGIN
	FOR i IN REVERSE 5..1 LOOP
		PERFORM set_config('cdp.clock', '2025-01-03 00:0' || 5 - i || 'Z', true);
		CALL person('q' || i, 'email:q' || i || '@x.y');
		CALL enter('email:q' || i || '@x.y');
	END LOOP;
END $$;
SET cdp.clock = '2025-01-03 01:00Z';
SELECT nick FROM claim('regress_cdp_sender', 'email', 2);
SELECT nick FROM claim('regress_cdp_sender2', 'email', 2);
SELECT nick FROM claim('regress_cdp_sender', 'email', 2);
SELECT nick FROM claim('regress_cdp_sender', 'email', 2);

--
-- Consent, decided when the delivery leaves
--
SELECT cdp.ack(ARRAY(SELECT delivery_id FROM claimed)) > 0 AS settled;
SET cdp.clock = '2025-02-01 00:00Z';
TRUNCATE claimed;
CALL person('no record', 'email:f1@x.y', 'none');
CALL person('denied', 'email:f2@x.y', 'denied');
CALL person('other purpose', 'email:f3@x.y', 'granted', 'service');
CALL person('withdraws', 'email:f4@x.y');
CALL person('expires', 'email:f5@x.y', 'none');
SELECT cdp.set_consent('email:f5@x.y', 'marketing', 'granted', '2024-01-01', '2025-02-02') IS NOT NULL AS recorded;
CALL person('grants later', 'email:f6@x.y', 'denied');
CALL person('willing', 'email:f7@x.y');
DO $$
BEGIN
	FOR i IN 1..7 LOOP
		PERFORM set_config('cdp.clock', '2025-02-01 00:0' || i || 'Z', true);
		CALL enter('email:f' || i || '@x.y');
	END LOOP;
END $$;
SET cdp.clock = '2025-02-02 00:00Z';
SELECT cdp.set_consent('email:f4@x.y', 'marketing', 'withdrawn', '2025-02-01') IS NOT NULL AS recorded;
SELECT cdp.set_consent('email:f6@x.y', 'marketing', 'granted', '2025-02-01') IS NOT NULL AS recorded;
SELECT nick, state FROM deliveries WHERE created_at > '2025-02-01' ORDER BY created_at;
-- suppressed ones do not use up n
SELECT nick FROM claim('regress_cdp_sender', 'email', 1);
SELECT nick FROM claim('regress_cdp_sender', 'email', 1);
SELECT nick FROM claim('regress_cdp_sender', 'email', 1);
SELECT nick, state, reason, n, leased_until, settled_at FROM deliveries WHERE created_at > '2025-02-01' ORDER BY created_at;
-- settled is settled: a later grant brings nothing back
SELECT cdp.set_consent('email:f2@x.y', 'marketing', 'granted', '2025-02-01') IS NOT NULL AS recorded;
SELECT nick FROM claim('regress_cdp_sender', 'email');
-- withdrawn while leased: not handed out again
SELECT cdp.set_consent('email:f7@x.y', 'marketing', 'objected', '2025-02-02') IS NOT NULL AS recorded;
SET cdp.clock = '2025-02-02 01:00Z';
SELECT nick FROM claim('regress_cdp_sender', 'email');
SELECT nick, state, n FROM deliveries WHERE nick IN ('willing', 'grants later') ORDER BY nick;

-- a role carries the purposes in force only; it sees who allows them
CALL person('eva', 'email:eva@x.y');
CALL enter('email:eva@x.y');
SELECT nick FROM claim('regress_cdp_stranger', 'email');
SELECT state FROM deliveries WHERE nick = 'eva';
SET cdp.purpose = 'service';
SELECT nick FROM claim('regress_cdp_sender', 'email');
RESET cdp.purpose;
SELECT nick FROM claim('regress_cdp_reader', 'email');
SET ROLE regress_cdp_reader;
SELECT count(*) > 0 AS deliveries, bool_and(profile_id IS NOT NULL) AS named FROM cdp.outbox;
SELECT cdp.ack('{}');
RESET ROLE;
SET ROLE regress_cdp_stranger;
SELECT count(*) FROM cdp.outbox o WHERE NOT EXISTS (SELECT FROM cdp.profiles p WHERE p.profile_id = o.profile_id);
SELECT count(*) FROM cdp.outbox;
RESET ROLE;
SELECT nick FROM claim('regress_cdp_sender', 'email');

--
-- Addresses
--
SELECT cdp.ack(ARRAY(SELECT delivery_id FROM claimed)) > 0 AS settled;
SET cdp.clock = '2025-03-01 00:00Z';
SELECT count(cdp.define_activation('vip', c, 'marketing')) FROM unnest('{sms,push,fax}'::text[]) c;
CALL person('all', '{email:all@x.y,phone:+33123456789,device_id:d1}');
CALL person('no mail', 'phone:+33123456780');
CALL person('two', '{user_id:two,email:first@x.y}');
SELECT cdp.track('{user_id:two,email:second@x.y}', 'Seen', at => '2024-02-02') IS NOT NULL AS seen_last;
SELECT cdp.track('{user_id:two,email:first@x.y}', 'Seen', at => '2024-02-01') IS NOT NULL AS seen_earlier;
CALL enter('phone:+33123456789');
CALL enter('phone:+33123456780');
CALL enter('user_id:two');
SELECT channel, c.nick, c.address FROM unnest('{email,sms,push,fax}'::text[]) channel, claim('regress_cdp_sender', channel) c ORDER BY channel, nick;
SELECT nick, channel, state, reason FROM deliveries WHERE created_at = '2025-03-01 00:00Z' ORDER BY nick, channel;

--
-- Merges
--
SELECT cdp.ack(ARRAY(SELECT delivery_id FROM claimed)) > 0 AS settled;
SET cdp.clock = '2025-04-01 00:00Z';
SELECT cdp.drop_activation('vip', c, 'marketing') FROM unnest('{sms,push,fax}'::text[]) c;
-- a delivery goes with the person
CALL person('m1', 'cookie:m1');
CALL enter('cookie:m1');
CALL person('m1 too', 'email:m1@x.y');
SELECT cdp.track('{cookie:m1,email:m1@x.y}', 'Seen', at => '2024-07-01') IS NOT NULL AS merged;
SELECT count(*), min(state) AS state, count(p.profile_id) AS living FROM cdp.outbox o LEFT JOIN cdp.profiles p USING (profile_id) WHERE o.created_at = '2025-04-01 00:00Z';
SELECT address FROM claim('regress_cdp_sender', 'email');
SELECT cdp.ack(ARRAY(SELECT delivery_id FROM claimed)) > 0 AS settled;
-- two that wait become one; entered once more is nobody
SET cdp.clock = '2025-04-02 00:00Z';
CALL person('m2', 'cookie:m2');
CALL enter('cookie:m2');
SET cdp.clock = '2025-04-02 01:00Z';
CALL person('m2', 'email:m2@x.y');
CALL enter('email:m2@x.y');
SELECT cdp.track('{cookie:m2,email:m2@x.y}', 'Seen', at => '2024-07-01') IS NOT NULL AS merged;
SELECT nick, state, reason, created_at FROM deliveries WHERE created_at >= '2025-04-02 00:00Z' ORDER BY created_at;
SELECT address, payload ->> 'entered_at' AS entered FROM claim('regress_cdp_sender', 'email');
SELECT cdp.ack(ARRAY(SELECT delivery_id FROM claimed)) > 0 AS settled;
-- one that is out already is the only one
SET cdp.clock = '2025-04-03 00:00Z';
CALL person('m3', 'email:m3@x.y');
CALL enter('email:m3@x.y');
SELECT nick FROM claim('regress_cdp_sender', 'email');
SET cdp.clock = '2025-04-03 00:01Z';
CALL person('m3', 'email:m33@x.y');
CALL enter('email:m33@x.y');
SELECT cdp.track('{email:m3@x.y,email:m33@x.y}', 'Seen', at => '2024-07-01') IS NOT NULL AS merged;
SELECT created_at, state FROM deliveries WHERE created_at >= '2025-04-03 00:00Z' ORDER BY created_at;
SELECT count(*) FROM claim('regress_cdp_sender2', 'email');
SELECT cdp.ack(ARRAY(SELECT delivery_id FROM claimed)) > 0 AS settled;
-- a refusal of one half holds for both
SET cdp.clock = '2025-04-04 00:00Z';
CALL person('m4', 'email:m4@x.y');
CALL enter('email:m4@x.y');
CALL person('m4', 'cookie:m4', 'objected');
SELECT cdp.track('{email:m4@x.y,cookie:m4}', 'Seen', at => '2024-07-01') IS NOT NULL AS merged;
SELECT count(*) FROM claim('regress_cdp_sender', 'email');
SELECT nick, state FROM deliveries WHERE created_at = '2025-04-04 00:00Z';

--
-- Refused
--
SET cdp.clock = '2025-05-01 00:00Z';
CALL person('last', 'email:last@x.y');
CALL enter('email:last@x.y');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM cdp.claim('email');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM cdp.claim('email');
ROLLBACK;
SELECT * FROM cdp.claim('email', 0);
SELECT * FROM cdp.claim('email', -1);
SELECT * FROM cdp.claim('email', 100001);
SELECT * FROM cdp.claim('email', 2147483647);
SELECT * FROM cdp.claim('email', lease => '0');
SELECT * FROM cdp.claim('email', lease => '-1 day');
SELECT * FROM cdp.claim('email', lease => '1000000 years');
SELECT * FROM cdp.claim(NULL);
SELECT * FROM cdp.claim('email', NULL);
SELECT * FROM cdp.claim('email', lease => NULL);
SELECT * FROM cdp.claim('EMAIL');
BEGIN READ ONLY;
SELECT * FROM cdp.claim('email');
ROLLBACK;
SELECT nick, state, n FROM deliveries WHERE created_at = '2025-05-01 00:00Z';
SELECT count(*), bool_and(profile_id IS NOT NULL AND delivery_id IS NOT NULL) AS complete FROM cdp.claim('email', 100000, '7 days');

--
-- NOTIFY, with the channel, at commit, if asked for
--
SELECT cdp.define_activation('vip', 'email', 'marketing', notify => true) > 0 AS defined, cdp.define_activation('vip', 'sms', 'marketing') > 0 AS silent;
LISTEN cdp_outbox;
CALL person('n1', 'email:n1@x.y');
\o | sed 's/received from server process with PID .*/received/'
CALL enter('email:n1@x.y');
\o
BEGIN;
CALL person('n2', 'email:n2@x.y');
CALL enter('email:n2@x.y');
ROLLBACK;
SELECT cdp.define_activation('vip', 'email', 'marketing', notify => false) > 0 AS defined;
CALL person('n3', 'email:n3@x.y');
CALL enter('email:n3@x.y');
UNLISTEN *;

-- deliveries of a segment that was dropped are settled, and claim ends
RESET cdp.clock;
SELECT cdp.define_segment('gone', 'nick = ''gone''') > 0 AS defined, cdp.define_activation('gone', 'gone_channel', 'marketing') > 0 AS activated;
SELECT cdp.identify('user_id:gone', '{"nick": "gone"}') > 0 AS entered, cdp.set_consent('user_id:gone', 'marketing', 'granted') > 0 AS consent;
SELECT cdp.drop_activation('gone', 'gone_channel', 'marketing'), cdp.drop_segment('gone');
SELECT count(*) FROM cdp.claim('gone_channel');
SELECT segment, state, reason FROM cdp.outbox WHERE channel = 'gone_channel';

\c :main
DROP DATABASE regress_cdp_activation;
DROP ROLE regress_cdp_sender, regress_cdp_sender2, regress_cdp_stranger, regress_cdp_reader;
