-- Step 2: what came in, and who it is.
\ir style.psql
\echo
\echo '=================================================================================================='
\echo ' 2. SEE: every source side by side, and one person behind them'
\echo '=================================================================================================='
\echo
\echo 'What came in (view cdp.events):'

SELECT source, type, coalesce(name, '') AS name, count(*) AS events, count(DISTINCT profile_id) AS people,
	min(ts)::date AS first, max(ts)::date AS last
FROM cdp.events
GROUP BY source, type, name
ORDER BY min(array_position('{members,store,campaigns,web,app,email,contact_centre}', source)), events DESC;

\echo 'What became of the messages (a retry changes nothing, a broken message is kept and named):'

SELECT source, count(*) AS sent,
	count(*) FILTER (WHERE status = 'accepted') AS accepted,
	count(*) FILTER (WHERE status = 'duplicate') AS duplicate,
	count(*) FILTER (WHERE status = 'rejected') AS rejected
FROM shop.receipt
GROUP BY source
ORDER BY sent DESC;

SELECT source, reason, detail, payload ->> 'messageId' AS message_id, payload ->> 'type' AS type, payload ->> 'event' AS event
FROM cdp.rejected
ORDER BY source, reason;

\echo 'Who they are: identifiers found, and the people behind them (view cdp.identifiers):'

SELECT namespace, count(*) AS identifiers, count(DISTINCT profile_id) AS people
FROM cdp.identifiers
GROUP BY namespace
ORDER BY identifiers DESC;

SELECT count(*) AS people,
	count(*) FILTER (WHERE identifiers ? 'user_id') AS with_a_card,
	count(*) FILTER (WHERE NOT identifiers ? 'user_id') AS strangers,
	count(*) FILTER (WHERE identifiers ? 'user_id' AND identifiers ? 'anonymous_id') AS seen_in_store_and_online
FROM cdp.profiles;

-- One household of the 300. The shop knows a card, the web sites cookies, the contact centre a phone number.
\set who 'user_id:card-2208'
SELECT value AS cookie FROM cdp.identifiers
WHERE profile_id = cdp.resolve(:'who') AND namespace = 'anonymous_id' ORDER BY first_seen LIMIT 1 \gset

\echo 'One person, whatever name she goes by (cdp.resolve):'

SELECT who, cdp.resolve(who) AS profile_id
FROM (VALUES (:'who'), ('email: HH2208@Example.COM '), ('phone:+1 (555) 010-2208'), ('anonymous_id:' || :'cookie')) AS v (who);

\echo 'Her identifiers: two browsers, an app on a phone, the contact centre, the card:'

SELECT namespace, value, first_seen::timestamp(0), last_seen::timestamp(0)
FROM cdp.identifiers
WHERE profile_id = cdp.resolve(:'who')
ORDER BY first_seen, namespace, value;

\echo 'The moments that tied them together: logging in with the card number and an e-mail address:'

SELECT ts::timestamp(0) AS "when", source, coalesce(context ->> 'userAgent', 'app on ' || (context #>> '{device,type}')) AS client,
	traits ->> 'email' AS email
FROM cdp.events
WHERE profile_id = cdp.resolve(:'who') AND type = 'identify' AND source IN ('web', 'app')
ORDER BY ts;

\echo 'Her profile, found by e-mail address through an index (view cdp.profiles):'

SELECT profile_id, age, income, household_size, home_store, first_seen::date, last_seen::date, events
FROM cdp.profiles
WHERE email = 'hh2208@example.com';

\echo 'The end of her timeline: store, web, app, campaigns, e-mail, a call:'

SELECT ts::timestamp(0) AS "when", source, what,
	left(coalesce(string_agg(DISTINCT detail, ', '), ''), 60) AS detail
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
