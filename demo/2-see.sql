-- Step 2: what came in, and who it is.
\ir style.psql
\echo
\echo '=================================================================================================='
\echo ' 2. SEE: every source side by side, and one person behind them'
\echo '=================================================================================================='
\echo
\echo 'Nothing is lost: what was sent = events + duplicates + refused. (A client that gets no answer sends again;'
\echo 'the second copy changes nothing. What is broken is kept with the reason, in cdp.rejected.)'
\echo

WITH sent AS (
	SELECT 'members' AS source, count(*) AS n FROM shop.member
	UNION ALL SELECT 'store', (SELECT count(*) FROM shop.purchase) + (SELECT count(*) FROM shop.redemption)
	UNION ALL SELECT 'campaigns', count(*) FROM shop.mailing
	UNION ALL SELECT source, count(*) FROM shop.collector GROUP BY source
), answer AS (
	SELECT source, count(*) FILTER (WHERE status = 'duplicate') AS duplicate FROM shop.receipt GROUP BY source
), refused AS (
	SELECT source, sum(times) AS n FROM cdp.rejected GROUP BY source
), kept AS (
	SELECT source, count(*) AS n FROM cdp.events GROUP BY source
), balance AS (
	SELECT source, s.n AS sent, coalesce(k.n, 0) AS events, coalesce(a.duplicate, 0) AS duplicates, coalesce(r.n, 0) AS refused
	FROM sent s LEFT JOIN kept k USING (source) LEFT JOIN answer a USING (source) LEFT JOIN refused r USING (source)
)
SELECT coalesce(source, 'all') AS source,
	CASE WHEN source IN ('members', 'store', 'campaigns') THEN '1, tables' WHEN source IS NOT NULL THEN '2, messages' ELSE '' END AS route,
	sum(sent) AS sent, sum(events) AS events, sum(duplicates) AS duplicates, sum(refused) AS refused,
	CASE WHEN sum(sent) = sum(events) + sum(duplicates) + sum(refused) THEN 'yes' ELSE 'NO' END AS "adds up"
FROM balance
GROUP BY ROLLUP (source)
ORDER BY array_position('{members,store,campaigns,web,app,email,contact_centre}', source);

SELECT count(*) + (SELECT count(*) FILTER (WHERE status <> 'accepted') FROM shop.receipt)
	= (SELECT count(*) FROM shop.member) + (SELECT count(*) FROM shop.purchase) + (SELECT count(*) FROM shop.redemption)
		+ (SELECT count(*) FROM shop.mailing) + (SELECT count(*) FROM shop.collector) AS adds_up
FROM cdp.events \gset
\if :adds_up
\else
	DO $$ BEGIN RAISE EXCEPTION 'the demo is broken: events are missing, or there are too many'; END $$;
\endif

\set ECHO queries
SELECT source, reason, detail FROM cdp.rejected ORDER BY source, reason;
\set ECHO none

\echo 'What came in. The web sees more people than the shop has members: some visitors never say who they are.'
\echo

\set ECHO queries
SELECT source, type, name, count(*) AS events, count(DISTINCT profile_id) AS people,
	min(ts)::date AS first, max(ts)::date AS last
FROM cdp.events
GROUP BY source, type, name
ORDER BY min(array_position('{members,store,campaigns,web,app,email,contact_centre}', source)), events DESC;
\set ECHO none

\echo 'Who they are. Identifiers that came together are one person; many came in more than one way:'
\echo

\set ECHO queries
SELECT namespace, count(*) AS identifiers, count(DISTINCT profile_id) AS people
FROM cdp.identifiers
GROUP BY namespace
ORDER BY identifiers DESC;
\set ECHO none

SELECT coalesce(who, 'all') AS who, count(*) AS people
FROM (SELECT CASE WHEN identifiers ? 'user_id' AND identifiers ? 'anonymous_id' THEN 'member, in the store and online'
		WHEN identifiers ? 'user_id' THEN 'member, in the store only'
		WHEN identifiers ? 'anonymous_id' THEN 'visitor who never said who she is'
		ELSE 'caller with an unknown number' END AS who
	FROM cdp.profiles) p
GROUP BY ROLLUP (who)
ORDER BY p.who IS NULL, p.who LIKE 'member%' DESC, people DESC;

-- One household of the 300. The shop knows a card, the web sites cookies, the contact centre a phone number.
\set who 'user_id:card-2208'
SELECT 'anonymous_id:' || value AS cookie FROM cdp.identifiers
WHERE profile_id = cdp.resolve(:'who') AND namespace = 'anonymous_id' ORDER BY first_seen LIMIT 1 \gset

\echo 'One of them. Whatever name she goes by, and however it is typed, she is one person:'
\echo

\set ECHO queries
SELECT who, cdp.resolve(who) AS profile_id
FROM unnest(ARRAY[:'who', :'cookie',
	'email: HH2208@Example.COM ', 'phone:+1 (555) 010-2208']) AS who;
\set ECHO none

\echo 'Her identifiers: the card, two browsers, an app on a phone, the number she calls from:'
\echo

\set ECHO queries
SELECT namespace, value, first_seen::timestamp(0), last_seen::timestamp(0)
FROM cdp.identifiers
WHERE profile_id = cdp.resolve(:'who')
ORDER BY first_seen, namespace, value;
\set ECHO none

\echo 'The moments that tied them together: on each device she logged in once, with card number and e-mail address:'
\echo

SELECT ts::timestamp(0) AS "when", source, coalesce(context ->> 'userAgent', 'app on ' || (context #>> '{device,type}')) AS client,
	traits ->> 'email' AS "e-mail as typed"
FROM cdp.events
WHERE profile_id = cdp.resolve(:'who') AND type = 'identify' AND source IN ('web', 'app')
ORDER BY ts;

\echo 'Her profile, one row with typed columns. WHERE email = ... is an index look-up:'
\echo

\set ECHO queries
SELECT profile_id, age, income, household_size, home_store, first_seen::date, last_seen::date, events
FROM cdp.profiles
WHERE email = 'hh2208@example.com';
\set ECHO none

\echo 'The end of her timeline: store, campaigns, e-mail, app, a call, web (from cdp.events and the shop''s products):'
\echo

SELECT to_char(ts, 'YYYY-MM-DD HH24:MI') AS "when", source, what,
	left(coalesce(string_agg(DISTINCT detail, ', '), ''), 52) AS detail
FROM (
	SELECT e.ts, e.source, coalesce(e.name, e.type) AS what,
		coalesce(p.category, e.properties ->> 'category', e.properties ->> 'reason',
			'campaign ' || (e.properties ->> 'campaign_id'), e.traits ->> 'email') AS detail,
		dense_rank() OVER (ORDER BY e.ts DESC) AS back
	FROM cdp.events e
	LEFT JOIN shop.product p ON p.product_id = (e.properties ->> 'product_id')::int
	WHERE e.profile_id = cdp.resolve(:'who')) t
WHERE back <= 18
GROUP BY ts, source, what
ORDER BY ts;
