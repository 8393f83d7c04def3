-- What sets people apart.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_describe;
CREATE DATABASE regress_describe TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_describe
SET client_min_messages = warning;
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';
SET extra_float_digits = 0;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01 00:00Z';
SELECT cdp.define_trait('city'), cdp.define_trait('points', 'bigint'), cdp.define_trait('member', 'boolean'), cdp.define_trait('joined', 'date'),
	cdp.define_trait('tags', 'text', 'union'), cdp.define_trait('secret');
SELECT cdp.define_metric('orders', 'Order') > 0 AS metric, cdp.define_metric('favourite', 'View', 'most_frequent', 'category') > 0 AS favourite;
-- 600 people: those in Kyoto order more, have more points and look at tea
SELECT count(*) FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'm' || i, 'userId', 'u' || i, 'timestamp', '2026-02-01T00:00:00Z',
	'traits', jsonb_build_object('city', (ARRAY['Kyoto', 'Nara', 'Osaka', 'Tokyo'])[1 + i % 4], 'points', i % 97 + CASE i % 4 WHEN 0 THEN 50 ELSE 0 END, 'member', i % 3 = 0,
		'joined', date '2025-01-01' + i % 50, 'tags', jsonb_build_array('t' || i % 5, 't' || i % 2), 'secret', 's' || i)))) FROM generate_series(1, 600) i));
SELECT count(*) FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Order', 'messageId', 'o' || i || '/' || k, 'userId', 'u' || i)))
	FROM generate_series(1, 600) i CROSS JOIN LATERAL generate_series(1, CASE i % 4 WHEN 0 THEN i % 5 ELSE i % 2 END) k));
SELECT count(*) FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(jsonb_build_object('type', 'track', 'event', 'View', 'messageId', 'v' || i, 'userId', 'u' || i,
	'properties', jsonb_build_object('category', CASE WHEN i % 4 = 0 AND i % 7 > 1 THEN 'tea' ELSE (ARRAY['tea', 'cake', 'rice'])[1 + i % 3] END)))) FROM generate_series(1, 600, 2) i CROSS JOIN generate_series(0, 1) n WHERE n = 0 OR i % 4 = 0));
SELECT count(*) FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(jsonb_build_object('type', 'track', 'event', 'View', 'messageId', 'w' || i, 'userId', 'u' || i,
	'properties', '{"category": "tea"}'::jsonb))) FROM generate_series(4, 600, 4) i));
SELECT cdp.define_segment('kyoto', predicate => 'city = ''Kyoto''') > 0 AS kyoto, cdp.define_segment('rich', predicate => 'points >= 80') > 0 AS rich,
	cdp.define_segment('few', predicate => 'points >= 144') > 0 AS few, cdp.define_segment('nobody', predicate => 'points < 0') > 0 AS nobody;
SELECT kind, name, value, round(share::numeric, 4) AS share, round(base_share::numeric, 4) AS base_share, round(lift::numeric, 3) AS lift FROM cdp.describe('kyoto') LIMIT 40;
-- what is a sample of everybody is everybody: shares are those of plain SQL
SELECT d.value, d.share = s.share AND d.base_share = b.share AS exact FROM cdp.describe('kyoto') d
JOIN (SELECT favourite, count(*)::float8 / (SELECT count(*) FROM cdp.members('kyoto')) AS share FROM cdp.profiles WHERE city = 'Kyoto' GROUP BY 1) s ON s.favourite = d.value
JOIN (SELECT favourite, count(*)::float8 / (SELECT count(*) FROM cdp.profiles) AS share FROM cdp.profiles GROUP BY 1) b ON b.favourite = d.value WHERE d.name = 'favourite' ORDER BY 1;
SELECT d.value, round(d.share * 150)::int AS n, (SELECT count(*) FROM cdp.profiles p WHERE p.city = 'Kyoto' AND CASE WHEN d.value LIKE '< %' THEN p.points < substr(d.value, 3)::int
	WHEN d.value LIKE '%and%' THEN p.points >= split_part(d.value, ' ', 2)::int AND p.points < split_part(d.value, ' ', 5)::int ELSE p.points >= substr(d.value, 4)::int END) AS counted
FROM cdp.describe('kyoto', min_group => 1) d WHERE d.name = 'points' ORDER BY 1;
SELECT bool_and(abs(d.share * 150 - (SELECT count(DISTINCT e.profile_id) FROM cdp.events e JOIN cdp.profiles p USING (profile_id) WHERE p.city = 'Kyoto' AND e.name = d.name)) < 1e-9) AS events
FROM cdp.describe('kyoto') d WHERE d.kind = 'event' AND d.name <> 'identify';
-- in the order of how telling it is, as documented
SELECT bool_and(score <= coalesce(before, score)) AS sorted FROM (SELECT score, lag(score) OVER (ORDER BY n) AS before FROM (SELECT n, round((greatest(a, b) * abs(ln(p / (1 - p)) - ln(q / (1 - q))))::numeric, 9) AS score
	FROM (SELECT row_number() OVER () AS n, d.share AS a, d.base_share AS b, greatest(1 / 300.0, least(299 / 300.0, d.share)) AS p, greatest(1 / 300.0, least(299 / 300.0, d.base_share)) AS q FROM cdp.describe('kyoto') d) x) y) z;
-- nobody is named who is one of few
SELECT count(*) AS secrets FROM cdp.describe('kyoto') WHERE name = 'secret';
SELECT count(*) AS secrets FROM cdp.describe('kyoto', min_group => 1) WHERE name = 'secret';
SELECT cdp.segment_count('few') AS few, (SELECT count(*) FROM cdp.describe('few')) AS said, (SELECT count(*) > 0 FROM cdp.describe('few', min_group => 2)) AS said_if_wanted;
SELECT count(*) FROM cdp.describe('nobody');
SELECT count(*) FROM cdp.describe(NULL);
SELECT min(round(share * 150)) >= 30 AND min(round(base_share * 600)) >= 30 AS at_least FROM cdp.describe('kyoto', min_group => 30);
-- a sample is the same each time, and near
SELECT md5(string_agg(d::text, ',')) = (SELECT md5(string_agg(e::text, ',')) FROM cdp.describe('kyoto | rich', sample => 100) e) AS same FROM cdp.describe('kyoto | rich', sample => 100) d;
SELECT bool_and(abs(s.base_share - f.base_share) < 0.2) AS near, count(*) > 5 AS some FROM cdp.describe('kyoto', sample => 100) s JOIN cdp.describe('kyoto') f USING (kind, name) WHERE s.value IS NOT DISTINCT FROM f.value;
SELECT cardinality(cdp.spread_profiles(100)) AS sampled, cardinality(cdp.spread_profiles(1000)) AS everybody;
SELECT cdp.describe('kyoto', min_group => 0);
SELECT cdp.describe('kyoto', sample => 10);
SELECT cdp.describe('kyoto &');
SELECT cdp.describe('unknown');
-- of whom one may see
SELECT cdp.define_purpose('news') > 0 AS purpose;
SELECT count(*) FROM (SELECT cdp.set_consent('user_id:u' || i, 'news', 'granted') FROM generate_series(1, 600) i WHERE i % 8 IN (0, 1)) x;
CREATE ROLE regress_describe_analyst;
SELECT cdp.provision('regress_describe_analyst', 'analyst'), cdp.permit('regress_describe_analyst', 'news');
SET ROLE regress_describe_analyst;
SELECT name, value, round(share::numeric, 3) AS share, round(base_share::numeric, 3) AS base_share FROM cdp.describe('kyoto') WHERE name IN ('city', 'member', 'rich') ORDER BY 1, 2;
SELECT cardinality(cdp.spread_profiles(1000)) AS everybody;
SET cdp.purpose = 'none';
SELECT count(*) FROM cdp.describe('kyoto');
RESET cdp.purpose;
RESET ROLE;
SELECT cdp.forbid('regress_describe_analyst', 'news');
SET ROLE regress_describe_analyst;
SELECT count(*) FROM cdp.describe('kyoto', min_group => 1);
RESET ROLE;

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_describe;
DROP ROLE regress_describe_analyst;
