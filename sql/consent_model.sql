-- Consent: what a record says besides yes or no, and which record decides.
-- In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_consent_model TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_consent_model
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET jit = off;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT cdp.define_namespace('*', max_per_profile => 0);
SET cdp.clock = '2025-06-01 00:00Z';
CREATE ROLE regress_cdp_cm_ana;
CREATE ROLE regress_cdp_cm_priv;
CREATE ROLE regress_cdp_cm_app;
SELECT cdp.define_purpose('marketing') > 0 AS a, cdp.define_purpose('analytics') > 0 AS b;
SELECT cdp.permit('regress_cdp_cm_ana', 'marketing'), cdp.provision('regress_cdp_cm_priv', 'privacy'), cdp.provision('regress_cdp_cm_app', 'app');

--
-- What is said is what is kept; what cannot be meant is refused
--
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', channel => 'pigeon');
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', channel => NULL);
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', notice => 'v1');
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', basis => '');
SELECT cdp.define_channel('all');
SELECT cdp.define_channel('pigeon', 'pigeon_id'), cdp.define_channel('ads');
SELECT * FROM cdp.channels ORDER BY name COLLATE "C";
SELECT cdp.define_notice('sales', 'v1');
SELECT cdp.define_notice('marketing', 'v1', '2025-01-01') > 0 AS v1, cdp.define_notice('marketing', 'v2', '2025-03-01') > 0 AS v2, cdp.define_notice('marketing', 'v3') > 0 AS v3;
-- in the order of their declaration, so that a grant has one limit
SELECT cdp.define_notice('marketing', 'v3', '2025-02-01');
SELECT cdp.define_notice('marketing', 'v2', '2025-04-01') = cdp.define_notice('marketing', 'v2') AS same;
SELECT purpose, version, required_from, required FROM cdp.notices ORDER BY notice_id;
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', '2025-05-01', '2026-01-01', 'web', 'm1', 'all', 'consent', 'v1', 'checkout', '2025-05-02', 'eu') > 0 AS recorded;
-- the same message id with another term is another consent
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', '2025-05-01', '2026-01-01', 'web', 'm1', 'all', 'consent', 'v1', 'checkout', '2025-05-02', 'eu') > 0 AS same;
SELECT cdp.set_consent('email:x@y.z', 'marketing', 'granted', '2025-05-01', '2026-01-01', 'web', 'm1', 'sms', 'consent', 'v1', 'checkout', '2025-05-02', 'eu');
-- also where it says the same of something else
SELECT cdp.set_consent('email:x@y.z', 'analytics', 'denied', '2025-05-01', source => 'web', message_id => 'm2', basis => 'x') > 0 AS recorded;
SELECT cdp.set_consent('email:x@y.z', 'analytics', 'denied', '2025-05-01', source => 'web', message_id => 'm2', collection_point => 'x');
SELECT cdp.set_consent('email:x@y.z', 'analytics', 'denied', '2025-05-01', source => 'web', message_id => 'm2', jurisdiction => 'x');
SELECT purpose, state, at, valid_until, source, channel, basis, notice, collection_point, valid_from, jurisdiction, precedence FROM cdp.consents WHERE purpose = 'marketing';
SELECT message_id, channel, basis, notice, collection_point, valid_from, jurisdiction, signal FROM cdp.consent_log ORDER BY message_id;

--
-- The decision table of the documentation is the one that holds
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/docs/consent.md'
\set content `cat :'file'`
CREATE TABLE decision AS SELECT m[1]::int AS precedence, m[2] AS kind, m[3] = 'yes' AS allows
FROM regexp_matches(:'content', '\n\| ([1-9]) \| `([a-z ]+)`[^|]*\| (yes|no) \|', 'g') m;
SELECT * FROM decision ORDER BY 1;
-- how to say each; none: an identifier without a record
CREATE TABLE saying (kind text, state text, valid_from timestamptz, valid_until timestamptz, notice text);
INSERT INTO saying VALUES ('restricted', 'restricted', NULL, NULL, NULL), ('objected', 'objected', NULL, NULL, 'v2'), ('withdrawn', 'withdrawn', NULL, NULL, NULL), ('denied', 'denied', NULL, '2025-05-01', NULL), ('granted over', 'granted', NULL, '2025-05-01', 'v2'),
	('granted outdated', 'granted', NULL, NULL, 'v1'), ('granted later', 'granted', '2025-07-01', NULL, 'v2'), ('granted', 'granted', NULL, NULL, 'v2');
SELECT cdp.define_notice('marketing', 'v2', '2025-03-01') > 0 AS required;
SELECT count(*) = 8 AND bool_and(d.kind IS NOT NULL AND s.kind IS NOT NULL) AS complete FROM decision d FULL JOIN saying s USING (kind);
-- every pair, over two identifiers, joined before, between and after, the one said first and the other
CREATE TABLE arrival (no int, steps text[]);
INSERT INTO arrival SELECT row_number() OVER (ORDER BY s), s FROM (VALUES ('{a,b,link}'::text[]), ('{b,a,link}'), ('{a,link,b}'), ('{b,link,a}'), ('{link,a,b}'), ('{link,b,a}')) v (s);
CREATE TABLE pair AS SELECT row_number() OVER (ORDER BY x.kind, y.kind, r.no) AS n, x.kind AS a, y.kind AS b, r.steps
FROM (SELECT kind FROM saying UNION ALL SELECT NULL) x, (SELECT kind FROM saying UNION ALL SELECT NULL) y, arrival r;
CREATE FUNCTION take(p pair) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	step text;
	s saying;
BEGIN
	FOREACH step IN ARRAY p.steps LOOP
		IF step = 'link' THEN
			PERFORM cdp.track(ARRAY['email:' || p.n || '@a', 'cookie:' || p.n], 'Visit', at => '2025-05-20', message_id => 'link' || p.n);
		ELSE
			SELECT * INTO s FROM saying WHERE kind = CASE step WHEN 'a' THEN p.a ELSE p.b END;
			IF FOUND THEN
				PERFORM cdp.set_consent(CASE step WHEN 'a' THEN 'email:' || p.n || '@a' ELSE 'cookie:' || p.n END, 'marketing', s.state, '2025-05-10', s.valid_until,
					message_id => step || p.n, notice => s.notice, valid_from => s.valid_from);
			END IF;
		END IF;
	END LOOP;
END $$;
SELECT count(take(p)) FROM (SELECT p FROM pair p ORDER BY n) x;
CREATE TABLE seen (profile_id bigint);
GRANT SELECT, INSERT ON seen TO regress_cdp_cm_ana;
SET ROLE regress_cdp_cm_ana;
INSERT INTO seen SELECT profile_id FROM cdp.profiles;
RESET ROLE;
-- the answers of explain_consent(), of the flags and of the policies, against the table
CREATE TABLE answer AS SELECT p.*, least(x.precedence, y.precedence) AS expected, coalesce((SELECT d.allows FROM decision d WHERE d.precedence = least(x.precedence, y.precedence)), false) AS allows,
	e.allowed, e.state, e.records, e.reason, (SELECT f.allowed FROM cdp.consent_flags f WHERE f.profile_id = i.profile_id AND f.purpose = 'marketing' AND f.channel = 'all') AS flag, EXISTS (SELECT FROM seen s WHERE s.profile_id = i.profile_id) AS visible,
	(SELECT min(c.precedence) FROM cdp.consents c WHERE c.profile_id = i.profile_id AND c.purpose = 'marketing' AND c.channel = 'all') AS found
FROM pair p LEFT JOIN decision x ON x.kind = p.a LEFT JOIN decision y ON y.kind = p.b
JOIN cdp.identifiers i ON i.namespace = 'email' AND i.value = p.n || '@a' CROSS JOIN LATERAL cdp.explain_consent(i.profile_id, 'marketing') e;
SELECT count(*) AS cases, count(*) FILTER (WHERE allows) AS allow, count(*) FILTER (WHERE found IS DISTINCT FROM expected) AS other_record,
	count(*) FILTER (WHERE allowed <> allows) AS explained_wrong, count(*) FILTER (WHERE flag <> allows) AS flag_wrong, count(*) FILTER (WHERE visible <> allows) AS seen_wrong,
	count(*) FILTER (WHERE records <> (a IS NOT NULL)::int + (b IS NOT NULL)::int) AS miscounted FROM answer;
SELECT DISTINCT expected, allowed, reason FROM answer ORDER BY 1;

--
-- A channel narrows
--
SELECT cdp.set_consent('email:ch@a', 'marketing', 'granted', '2025-05-01', notice => 'v2') > 0 AS all_channels, cdp.set_consent('email:ch@a', 'marketing', 'withdrawn', '2025-05-02', channel => 'sms') > 0 AS sms,
	cdp.set_consent('email:ch@a', 'analytics', 'granted', '2025-05-02', channel => 'email') > 0 AS only_email;
SELECT channel, allowed, reason FROM (VALUES ('all'), ('sms'), ('email')) c (channel), cdp.explain_consent('email:ch@a', 'marketing', channel);
SELECT channel, allowed, reason FROM (VALUES ('all'), ('sms'), ('email')) c (channel), cdp.explain_consent('email:ch@a', 'analytics', channel);
-- a yes to all does not take back the no to one
SELECT cdp.set_consent('email:ch@a', 'marketing', 'granted', '2025-05-03', notice => 'v2') > 0 AS again;
SELECT allowed, state, at FROM cdp.explain_consent('email:ch@a', 'marketing', 'sms');
SELECT cdp.set_consent('email:ch@a', 'marketing', 'granted', '2025-05-04', channel => 'sms', notice => 'v2') > 0 AS taken_back;
SELECT allowed, state, at FROM cdp.explain_consent('email:ch@a', 'marketing', 'sms');
-- what goes out on it is asked when it goes out
SELECT cdp.define_segment('everyone', 'events > 0') > 0 AS s, cdp.define_activation('everyone', 'email', 'marketing') > 0 AS a, cdp.define_activation('everyone', 'ads', 'marketing') > 0 AS b;
SELECT cdp.set_consent('email:d1@a', 'marketing', 'granted', notice => 'v2') > 0 AS d1, cdp.set_consent('email:d2@a', 'marketing', 'granted', notice => 'v2') > 0 AS d2, cdp.set_consent('email:d2@a', 'marketing', 'objected', channel => 'email') > 0 AS d2_email,
	cdp.set_consent('email:d3@a', 'marketing', 'granted', notice => 'v1') > 0 AS d3, cdp.set_consent('email:d4@a', 'marketing', 'granted', valid_from => '2025-06-02', notice => 'v2') > 0 AS d4;
SELECT count(cdp.track('email:d' || n || '@a', 'Visit', at => '2025-06-01')) FROM generate_series(1, 4) n;
SELECT address, payload->>'channel' AS channel FROM cdp.claim('email') ORDER BY 1;
SELECT count(*) AS ads, count(address) AS addresses FROM cdp.claim('ads');
SELECT i.value, o.channel, o.state, o.reason FROM cdp.outbox o JOIN cdp.identifiers i USING (profile_id) WHERE i.value LIKE 'd_@a' ORDER BY 1, 2;

--
-- Who is told
--
SET ROLE regress_cdp_cm_priv;
SELECT allowed, state FROM cdp.explain_consent('email:d3@a', 'marketing');
SELECT allowed, records FROM cdp.explain_consent('email:d3@a', 'analytics');
RESET ROLE;
SET ROLE regress_cdp_cm_ana;
SELECT count(*) AS hidden FROM cdp.explain_consent('email:d3@a', 'marketing');
SELECT allowed, state FROM cdp.explain_consent('email:d1@a', 'marketing');
SELECT count(*) FROM cdp.explain_consent('email:nobody@a', 'marketing');
SELECT bool_and(allowed) AS only_who_allow, count(DISTINCT profile_id) = (SELECT count(*) FROM cdp.profiles) AS all_of_them FROM cdp.consent_flags WHERE purpose = 'marketing' AND channel = 'all';
UPDATE cdp.consent_flags SET allowed = false WHERE channel = 'all';
SELECT * FROM cdp.purpose_reach;
RESET ROLE;
SET ROLE regress_cdp_cm_app;
SELECT count(*) FROM cdp.explain_consent('email:d1@a', 'marketing');
UPDATE cdp.consent_flags SET allowed = false WHERE channel = 'all';
RESET ROLE;
SELECT * FROM cdp.explain_consent('email:d1@a', 'sales');
SELECT * FROM cdp.explain_consent('email:d1@a', 'marketing', 'smoke');
SELECT * FROM cdp.explain_consent('email:d1@a', NULL);

--
-- A dashboard sets a flag, as kind privacy
--
SELECT cdp.track('{email:f@a,cookie:f}', 'Visit', at => '2025-06-01') > 0 AS known;
SELECT profile_id AS f FROM cdp.identifiers WHERE value = 'f@a' \gset
SET ROLE regress_cdp_cm_priv;
SELECT purpose, channel, allowed, state FROM cdp.consent_flags WHERE profile_id = :f AND channel IN ('all', 'sms') ORDER BY 1, 2;
UPDATE cdp.consent_flags SET allowed = true WHERE profile_id = :f AND purpose = 'analytics' AND channel = 'all' RETURNING allowed;
UPDATE cdp.consent_flags SET allowed = false WHERE profile_id = :f AND purpose = 'analytics' AND channel = 'sms';
-- without the notice it would not count
UPDATE cdp.consent_flags SET allowed = true, notice = 'v2', valid_until = '2026-01-01' WHERE profile_id = :f AND purpose = 'marketing' AND channel = 'all';
SELECT purpose, channel, allowed, state, valid_until, notice, source FROM cdp.consent_flags WHERE profile_id = :f AND channel IN ('all', 'sms', 'email') ORDER BY 1, 2;
UPDATE cdp.consent_flags SET allowed = allowed WHERE profile_id = :f;
UPDATE cdp.consent_flags SET channel = 'sms' WHERE profile_id = :f;
UPDATE cdp.consent_flags SET allowed = NULL WHERE profile_id = :f AND purpose = 'marketing' AND channel = 'all';
DELETE FROM cdp.consent_flags;
RESET ROLE;
SET cdp.clock = '2025-06-01 00:01Z';
SET ROLE regress_cdp_cm_priv;
UPDATE cdp.consent_flags SET allowed = false WHERE profile_id = :f AND purpose = 'analytics' AND channel = 'all';
UPDATE cdp.consent_flags SET allowed = true WHERE profile_id = :f AND purpose = 'analytics' AND channel = 'sms';
RESET ROLE;
SELECT namespace, purpose, channel, state, at, source, recorded_by FROM cdp.consent_log WHERE profile_id = :f ORDER BY at, purpose, channel, namespace;
-- what is set beside it makes no yes last longer, and no no another one
SELECT cdp.set_consent('email:g@a', 'analytics', 'granted', '2025-05-01', '2025-07-01') > 0 AS until_july, cdp.set_consent('email:g@a', 'analytics', 'granted', '2025-05-01', '2025-06-15', channel => 'sms') > 0 AS sms_until_june,
	cdp.set_consent('email:g@a', 'marketing', 'restricted', '2025-05-01') > 0 AS restricted;
SELECT profile_id AS g FROM cdp.identifiers WHERE value = 'g@a' \gset
SET ROLE regress_cdp_cm_priv;
UPDATE cdp.consent_flags SET basis = 'contract' WHERE profile_id = :g AND channel IN ('all', 'sms');
RESET ROLE;
SELECT purpose, channel, state, at, valid_until, basis FROM cdp.consents WHERE profile_id = :g ORDER BY 1, 2;
SET cdp.clock = '2025-06-01 00:02Z';
SET ROLE regress_cdp_cm_priv;
UPDATE cdp.consent_flags SET valid_until = NULL WHERE profile_id = :g AND purpose = 'analytics' AND channel = 'all';
SELECT purpose, channel, allowed, valid_until FROM cdp.consent_flags WHERE profile_id = :g AND channel = 'all' ORDER BY 1;
RESET ROLE;

--
-- In numbers
--
SET ROLE regress_cdp_cm_priv;
SELECT * FROM cdp.consent_stats WHERE source IN ('dashboard', 'web') ORDER BY purpose, channel, state, source, day;
SELECT namespace, purpose, channel, state, at, granted_at, granted_source, granted_notice FROM cdp.withdrawals ORDER BY at, purpose, channel, namespace;
SELECT * FROM cdp.purpose_reach ORDER BY purpose;
RESET ROLE;
SELECT r.people = (SELECT count(*) FROM cdp.consent_flags f WHERE f.purpose = r.purpose AND f.channel = 'all' AND f.allowed) AS as_flags FROM cdp.purpose_reach r;

--
-- Where nobody was asked, the law of the person's jurisdictions decides
--
SELECT cdp.set_jurisdiction('email:us@a', '');
SELECT cdp.set_jurisdiction('email:us@a', 'us', '2025-01-01', message_id => 'j1') > 0 AS stated, cdp.set_jurisdiction('email:us@a', 'us', '2025-01-01', message_id => 'j1') > 0 AS again;
SELECT cdp.set_jurisdiction('email:us@a', 'eu', '2025-01-01', message_id => 'j1');
SELECT cdp.define_default('marketing', 'us', true) AS known, cdp.define_default('marketing', 'eu', false) AS known;
SELECT cdp.define_default('marketing', 'us', NULL);
SELECT cdp.define_default('sales', 'us', true);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cdp.define_default('marketing', 'us', true);
ROLLBACK;
SELECT * FROM cdp.consent_defaults ORDER BY 1, 2;
-- a jurisdiction for each: one that asks for consent is enough
CREATE TABLE lawful (who text, jurisdiction text, state text);
INSERT INTO lawful VALUES ('us', 'us', NULL), ('eu', 'eu', NULL), ('other', 'ch', NULL), ('blank', NULL, NULL), ('us_no', 'us', 'objected'), ('eu_yes', 'eu', 'granted');
SELECT count(cdp.set_jurisdiction('email:' || who || '@law', jurisdiction, '2025-01-01')) FROM lawful WHERE jurisdiction IS NOT NULL;
SELECT count(cdp.set_consent('email:' || who || '@law', 'marketing', state, '2025-01-02', notice => 'v2')) FROM lawful WHERE state IS NOT NULL;
SELECT cdp.track('email:blank@law', 'Visit', at => '2025-01-02') > 0 AS known;
SELECT namespace, value, jurisdiction, at FROM cdp.jurisdictions WHERE value LIKE '%@law' ORDER BY value;
SELECT who, e.allowed, e.state, e.jurisdiction, e.reason FROM lawful, cdp.explain_consent('email:' || who || '@law', 'marketing') e ORDER BY 1;
SELECT cdp.set_consent('email:us@law', 'marketing', 'withdrawn', '2025-01-02', channel => 'sms') > 0 AS narrowed;
SELECT channel, allowed FROM (VALUES ('all'), ('sms'), ('email')) c (channel), cdp.explain_consent('email:us@law', 'marketing', channel);
-- every two of them as one person, and taken apart again
CREATE TABLE joint AS SELECT a.who AS a, b.who AS b, NULL::boolean AS allowed, NULL::boolean AS apart FROM lawful a JOIN lawful b ON a.who < b.who;
DO $$
DECLARE
	j joint;
	m bigint;
BEGIN
	FOR j IN SELECT * FROM joint LOOP
		m := cdp.merge(ARRAY['email:' || j.a || '@law', 'email:' || j.b || '@law'], 'law', override => true);
		UPDATE joint SET allowed = (SELECT e.allowed FROM cdp.explain_consent('email:' || j.a || '@law', 'marketing') e) WHERE a = j.a AND b = j.b;
		PERFORM cdp.unmerge(m);
		UPDATE joint SET apart = (SELECT bool_and(e.allowed = (l.who IN ('us', 'eu_yes'))) FROM lawful l, cdp.explain_consent('email:' || l.who || '@law', 'marketing') e) WHERE a = j.a AND b = j.b;
	END LOOP;
END $$;
SELECT * FROM joint ORDER BY a, b;
SET ROLE regress_cdp_cm_ana;
SELECT value FROM cdp.identifiers WHERE value LIKE '%@law' ORDER BY 1;
RESET ROLE;
SELECT cdp.define_default('marketing', 'us', false) AS known;
SET ROLE regress_cdp_cm_ana;
SELECT value FROM cdp.identifiers WHERE value LIKE '%@law' ORDER BY 1;
RESET ROLE;

--
-- Random histories: late, duplicate, joined and taken apart; against the messages alone, at any time
--
DO $$ BEGIN PERFORM cdp.define_purpose('r' || n) FROM generate_series(1, 2) n; PERFORM cdp.permit('regress_cdp_cm_ana', 'r1'), cdp.forbid('regress_cdp_cm_ana', 'marketing'); END $$;
SELECT cdp.define_notice('r1', 'one', '2025-02-15') > 0 AS one, cdp.define_notice('r1', 'two', '2025-04-15') > 0 AS two, cdp.define_notice('r2', 'only') > 0 AS only;
CREATE TABLE said (n int, idents text[], purpose text, channel text, state text, ts timestamptz, valid_from timestamptz, valid_until timestamptz, notice text);
SELECT setseed(0.42);
INSERT INTO said SELECT n, CASE WHEN random() < 0.3 THEN ARRAY['k:n' || (random() * 119)::int, 'k:n' || (random() * 119)::int] ELSE ARRAY['k:n' || (random() * 119)::int] END, 'r' || 1 + (random() < 0.5)::int,
	CASE WHEN random() < 0.25 THEN 'sms' ELSE 'all' END, (ARRAY['granted', 'granted', 'granted', 'granted', 'granted', 'granted', 'denied', 'withdrawn', 'objected', 'restricted'])[1 + (random() * 9)::int],
	'2025-01-01'::timestamptz + (random() * 150)::int * interval '1 day' + n * interval '1 second',
	CASE WHEN random() < 0.2 THEN '2025-01-01'::timestamptz + (random() * 200)::int * interval '1 day' END, CASE WHEN random() < 0.3 THEN '2025-01-01'::timestamptz + (random() * 300)::int * interval '1 day' END, NULL
FROM generate_series(1, 260) n;
UPDATE said SET notice = CASE purpose WHEN 'r2' THEN CASE WHEN n % 3 = 0 THEN 'only' END ELSE CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'one' ELSE 'two' END END;
CREATE TABLE person_of AS SELECT namespace || ':' || value AS ident, profile_id FROM cdp.identifiers WHERE false;
-- whose law it is, of a third of them; what it says changes on the way
CREATE TABLE law (n int, ident text, jurisdiction text, ts timestamptz);
INSERT INTO law SELECT n, 'k:n' || (random() * 119)::int, (ARRAY['us', 'us', 'us', 'jp', 'eu'])[1 + (random() * 4)::int], '2025-01-01'::timestamptz + (random() * 150)::int * interval '1 day' + n * interval '1 second'
FROM generate_series(1, 260, 4) n;
CREATE VIEW naive AS
SELECT p.profile_id, q.purpose, coalesce(r.whole, d.allows, false) AS whole, coalesce(r.everywhere, true) AS everywhere
FROM (SELECT DISTINCT profile_id FROM person_of) p CROSS JOIN (VALUES ('r1'), ('r2')) q (purpose)
LEFT JOIN (SELECT p.profile_id, x.purpose, bool_and(x.yes) FILTER (WHERE x.channel = 'all') AS whole, bool_and(x.yes) AS everywhere
	FROM (SELECT DISTINCT ON (u, s.purpose, s.channel) u AS ident, s.purpose, s.channel,
			s.state = 'granted' AND coalesce(s.valid_from, '-infinity') <= now AND coalesce(s.valid_until, 'infinity') > now
				AND NOT (s.purpose = 'r1' AND (s.notice IS NULL AND now >= '2025-02-15' OR s.notice IS DISTINCT FROM 'two' AND now >= '2025-04-15')) AS yes
		FROM said s CROSS JOIN LATERAL unnest(s.idents) u CROSS JOIN LATERAL (SELECT cdp.clock() AS now) c
		WHERE s.n <= current_setting('cdp_test.n')::int ORDER BY u, s.purpose, s.channel, s.ts DESC) x
	JOIN person_of p USING (ident) GROUP BY 1, 2) r USING (profile_id, purpose)
CROSS JOIN LATERAL (SELECT bool_and(coalesce(f.allows, false)) AS allows FROM (SELECT DISTINCT ON (l.ident) l.ident, l.jurisdiction FROM law l WHERE l.n <= current_setting('cdp_test.n')::int ORDER BY l.ident, l.ts DESC) l
	JOIN person_of i ON i.ident = l.ident AND i.profile_id = p.profile_id LEFT JOIN cdp.consent_defaults f ON f.purpose = q.purpose AND f.jurisdiction = l.jurisdiction) d;
CREATE TABLE compared (n bigint);
CREATE TABLE difference (n int, at timestamptz, what text, profile_id bigint, purpose text);
CREATE FUNCTION compare(step int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz;
	saved text := current_setting('cdp.clock');
BEGIN
	PERFORM set_config('cdp_test.n', step::text, true);
	DELETE FROM person_of;
	INSERT INTO person_of SELECT namespace || ':' || value, profile_id FROM cdp.identifiers WHERE namespace = 'k';
	-- nothing runs between these times
	FOREACH t IN ARRAY '{2025-02-01,2025-03-01,2025-05-01,2025-06-10,2025-08-01,2025-12-01}'::timestamptz[] LOOP
		PERFORM set_config('cdp.clock', t::text, true);
		INSERT INTO difference SELECT step, t, 'flag ' || f.channel, f.profile_id, f.purpose FROM cdp.consent_flags f LEFT JOIN naive x USING (profile_id, purpose)
		WHERE f.purpose IN ('r1', 'r2') AND f.channel IN ('all', 'sms') AND f.profile_id = ANY (ARRAY(SELECT profile_id FROM person_of))
			AND f.allowed IS DISTINCT FROM coalesce(x.whole AND (f.channel = 'all' OR x.everywhere), false);
		PERFORM set_config('role', 'regress_cdp_cm_ana', true);
		CREATE TEMP TABLE now_seen ON COMMIT DROP AS SELECT p.profile_id FROM cdp.profiles p;
		CREATE TEMP TABLE node_seen ON COMMIT DROP AS SELECT DISTINCT i.profile_id FROM cdp.identifiers i WHERE i.namespace = 'k';
		PERFORM set_config('role', 'none', true);
		INSERT INTO difference SELECT step, t, 'policy', coalesce(s.profile_id, x.profile_id), NULL
		FROM (SELECT * FROM now_seen WHERE profile_id IN (SELECT profile_id FROM person_of)) s FULL JOIN (SELECT profile_id FROM naive WHERE whole AND purpose = 'r1') x USING (profile_id)
		WHERE s.profile_id IS NULL OR x.profile_id IS NULL;
		INSERT INTO difference SELECT step, t, 'policy of nodes', coalesce(s.profile_id, x.profile_id), NULL
		FROM node_seen s FULL JOIN (SELECT profile_id FROM naive WHERE whole AND purpose = 'r1') x USING (profile_id) WHERE s.profile_id IS NULL OR x.profile_id IS NULL;
		INSERT INTO compared SELECT count(*) FROM now_seen;
		DROP TABLE now_seen, node_seen;
	END LOOP;
	PERFORM set_config('cdp.clock', saved, true);
END $$;
SELECT set_config('cdp_test.n', '0', false) AS start;
-- each message once or twice, in any order of time; after some somebody is joined, or taken apart exactly
DO $$
DECLARE
	s said;
	m bigint;
	before text;
	after text;
	allowed text := $q$SELECT string_agg(format('%s %s %s %s', i.value, f.purpose, f.channel, f.allowed), ';' ORDER BY i.value, f.purpose, f.channel)
		FROM cdp.identifiers i JOIN cdp.consent_flags f USING (profile_id) WHERE i.namespace = 'k' AND f.profile_id = ANY (ARRAY(SELECT profile_id FROM cdp.identifiers WHERE namespace = 'k')) AND f.purpose IN ('r1', 'r2') AND f.channel IN ('all', 'sms')$q$;
	pair text[];
BEGIN
	FOR s IN SELECT * FROM said ORDER BY n LOOP
		FOR i IN 1..1 + (s.n % 5 = 0)::int LOOP
			PERFORM cdp.set_consent(s.idents, s.purpose, s.state, s.ts, s.valid_until, message_id => 's' || s.n, channel => s.channel, notice => s.notice, valid_from => s.valid_from);
		END LOOP;
		PERFORM cdp.set_jurisdiction(l.ident, l.jurisdiction, l.ts, message_id => 'l' || l.n) FROM law l WHERE l.n = s.n;
		CASE s.n WHEN 30 THEN
			PERFORM cdp.define_default('r1', 'us', true), cdp.define_default('r2', 'us', true), cdp.define_default('r1', 'eu', false);
		WHEN 110 THEN
			PERFORM cdp.define_default('r1', 'jp', true);
		WHEN 200 THEN
			PERFORM cdp.define_default('r1', 'us', false);
		ELSE
		END CASE;
		IF s.n % 10 = 0 THEN
			pair := ARRAY['k:n' || (random() * 119)::int, 'k:n' || (random() * 119)::int];
			IF cdp.resolve(pair[1]) <> cdp.resolve(pair[2]) THEN
				IF s.n % 4 = 0 THEN
					EXECUTE allowed INTO before;
				END IF;
				m := cdp.merge(pair, 'test', override => true);
				IF s.n % 4 = 0 AND m IS NOT NULL THEN
					PERFORM cdp.unmerge(m);
					EXECUTE allowed INTO after;
					IF before IS DISTINCT FROM after THEN
						INSERT INTO difference VALUES (s.n, NULL, 'unmerge', NULL, NULL);
					END IF;
				END IF;
			END IF;
		END IF;
		-- a merge of some time ago, undone after more was said
		IF s.n % 37 = 0 THEN
			PERFORM cdp.unmerge(g.merge_id) FROM (SELECT g.merge_id FROM cdp.merges g WHERE g.undone_at IS NULL AND g.reason = 'test' ORDER BY g.merge_id LIMIT 1) g;
		END IF;
		IF s.n % 52 = 0 THEN
			PERFORM compare(s.n);
		END IF;
	END LOOP;
END $$;
SELECT sum(n) > 20 AS seen FROM compared;
SELECT count(*) > 10 AS people, count(*) FILTER (WHERE n > 1) > 3 AS joined FROM (SELECT count(*) AS n FROM cdp.identifiers WHERE namespace = 'k' GROUP BY profile_id) x;
SELECT n, at, what, count(*) FROM difference GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 20;
SELECT * FROM cdp.verify();
-- what verify() finds, rebuild() mends
UPDATE cdp_data.consent_ord SET valid_from = NULL WHERE valid_from IS NOT NULL;
UPDATE cdp_data.consent_current SET notice_id = NULL WHERE notice_id IS NOT NULL AND node_id < 100;
SELECT count(*) > 0 AS found FROM cdp.verify();
SELECT count(cdp.rebuild(profile_id)) > 0 AS mended FROM cdp.profiles;
SELECT count(*) AS left FROM cdp.verify();

--
-- Who is on a list under a purpose is who allows it, at any time, and however that came
--
SET cdp.clock = '2025-06-01';
SELECT cdp.define_purpose('partner') > 0 AS partner, cdp.define_notice('partner', 'one', '2025-06-03') > 0 AS one, cdp.define_notice('partner', 'two') > 0 AS two, cdp.define_default('partner', 'ca', true) AS known;
SELECT cdp.set_consent('email:plain@l', 'partner', 'granted') > 0 AS plain, cdp.set_consent('email:later@l', 'partner', 'granted', valid_from => '2025-06-02', notice => 'one') > 0 AS later,
	cdp.set_consent('email:one@l', 'partner', 'granted', notice => 'one') > 0 AS one, cdp.set_consent('email:two@l', 'partner', 'granted', notice => 'two') > 0 AS two, cdp.set_jurisdiction('email:unasked@l', 'ca') > 0 AS unasked;
SELECT cdp.import_audience('partners', $$SELECT 'email:' || n || '@l' FROM unnest('{plain,later,one,two,unasked}'::text[]) n$$, 'acme', purpose => 'partner') ->> 'matched' AS matched;
CREATE FUNCTION on_list() RETURNS TABLE (at timestamptz, members text, shown text, wrong bigint) LANGUAGE sql AS $$
	SELECT cdp.clock(), (SELECT string_agg(i.value, ' ' ORDER BY i.value) FROM cdp.members('partners') m (profile_id) JOIN cdp.identifiers i USING (profile_id)),
		(SELECT string_agg(i.value, ' ' ORDER BY i.value) FROM cdp.segment_members m JOIN cdp.identifiers i USING (profile_id) WHERE m.segment = 'partners'), (SELECT count(*) FROM cdp.verify())
$$;
SELECT * FROM on_list();
SET cdp.clock = '2025-06-02';
SELECT * FROM on_list();
SET cdp.clock = '2025-06-02 23:59:59.999999';
SELECT * FROM on_list();
SET cdp.clock = '2025-06-03';
SELECT * FROM on_list();
-- what is required changes, at once and for later
SELECT cdp.define_notice('partner', 'two', '2025-06-04') > 0 AS later_still;
SELECT * FROM on_list();
SET cdp.clock = '2025-06-04';
SELECT * FROM on_list();
SELECT cdp.define_notice('partner', 'two') > 0 AS not_yet;
SELECT * FROM on_list();
SELECT cdp.define_default('partner', 'ca', false) AS known;
SELECT * FROM on_list();
SELECT cdp.define_default('partner', 'ca', true) AS known;
SELECT * FROM on_list();
CALL cdp.maintain();
SELECT * FROM on_list();

\c :main
DROP DATABASE regress_cdp_consent_model;
DROP ROLE regress_cdp_cm_ana;
DROP ROLE regress_cdp_cm_priv;
DROP ROLE regress_cdp_cm_app;
