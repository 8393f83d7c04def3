-- Step 3: what she likes, which groups there are, and who may know it.
\ir style.psql
\set who 'user_id:card-2208'
\echo
\echo '=================================================================================================='
\echo ' 3. UNDERSTAND: tastes, segments, and who may look'
\echo '=================================================================================================='
\echo
\echo 'What she likes: a purchase counts 5, a look 1, and half of it is forgotten every 30 days.'
\echo 'Plain SQL over cdp.events and the shop''s own product table:'

WITH likes AS (
	SELECT p.category, p.brand, e.name,
		w.weight * 0.5 ^ (extract(epoch FROM timestamptz '2017-10-01' - e.ts) / 86400 / 30) AS weight
	FROM cdp.events e
	JOIN (VALUES ('Product Purchased', 5), ('Product Viewed', 1)) AS w (name, weight) USING (name)
	JOIN shop.product p ON p.product_id = (e.properties ->> 'product_id')::int
	WHERE e.profile_id = cdp.resolve(:'who')
), dimensions AS (
	SELECT 'category' AS dimension, category AS value, name, weight FROM likes
	UNION ALL
	SELECT 'brand', brand, name, weight FROM likes
)
SELECT dimension, value, affinity, bought, viewed
FROM (
	SELECT dimension, value, round(sum(weight)::numeric, 2) AS affinity,
		count(*) FILTER (WHERE name = 'Product Purchased') AS bought,
		count(*) FILTER (WHERE name = 'Product Viewed') AS viewed,
		row_number() OVER (PARTITION BY dimension ORDER BY sum(weight) DESC) AS place
	FROM dimensions
	GROUP BY dimension, value) t
WHERE place <= 6
ORDER BY dimension DESC, place;

-- The nightly job of 1 July: the members' table changes, so their profiles do.
CALL shop.nightly('2017-07-01');

-- A segment is a rule over the columns of cdp.profiles. Membership is kept from now on.
SELECT cdp.define_segment('family', 'household_size >= 3'),
	cdp.define_segment('young', 'age IN (''19-24'', ''25-34'')'),
	cdp.define_segment('heavy_shopper', 'events >= 80'),
	cdp.define_segment('gold', 'loyalty = ''gold'''),
	cdp.define_segment('churn_risk', 'weeks_since_visit >= 6') \g /dev/null

\echo 'Segments on 1 July 2017 (cdp.segment_count):'

SELECT expr AS segment, cdp.segment_count(expr) AS people
FROM (VALUES (1, 'family'), (2, 'young'), (3, 'heavy_shopper'), (4, 'gold'), (5, 'churn_risk'),
	(6, 'family & gold'), (7, '(family | young) & !churn_risk'), (8, 'gold & churn_risk')) AS v (n, expr)
ORDER BY n;

\echo 'Families who may be leaving: a segment is a set of people to join with (cdp.members):'

SELECT p.email, p.income, p.household_size, p.home_store, p.weeks_since_visit, p.segments
FROM cdp.members('family & churn_risk') m
JOIN cdp.profiles p USING (profile_id)
ORDER BY p.weeks_since_visit DESC, p.profile_id
LIMIT 5;

-- Who may look. An analyst works for the purpose analytics; a trainee has no purpose yet.
CREATE ROLE shop_analyst;
CREATE ROLE shop_trainee;
SELECT cdp.provision('shop_analyst', 'analyst'), cdp.provision('shop_trainee', 'analyst'),
	cdp.permit('shop_analyst', 'analytics') \g /dev/null

\echo 'One query, three roles. Consent decides what exists:'
\echo
\echo '   SELECT count(*) FROM cdp.profiles;  ... FROM cdp.events;  SELECT cdp.segment_count(''family'');'
\echo

\set look 'SELECT (SELECT count(*) FROM cdp.profiles) AS people, (SELECT count(*) FROM cdp.events) AS events, cdp.segment_count(''family'') AS families, (cdp.resolve(''user_id:card-2208'') IS NOT NULL) AS finds_her'
:look \gset owner_
SET ROLE shop_analyst;
:look \gset analyst_
SET ROLE shop_trainee;
:look \gset trainee_
RESET ROLE;

SELECT * FROM (VALUES
	('owner of the database', :owner_people, :owner_events, :owner_families, :'owner_finds_her'::bool),
	('analyst, permitted for analytics', :analyst_people, :analyst_events, :analyst_families, :'analyst_finds_her'),
	('trainee, permitted for nothing', :trainee_people, :trainee_events, :trainee_families, :'trainee_finds_her')
) AS v ("who looks", people, events, families, "finds card-2208");

\echo 'She withdraws. The analyst''s next statement knows:'
\echo
\echo '   SELECT cdp.set_consent(''user_id:card-2208'', ''analytics'', ''withdrawn'');'
\echo

SELECT cdp.set_consent(:'who', 'analytics', 'withdrawn', source => 'contact_centre') \g /dev/null
SET ROLE shop_analyst;
:look \gset after_
RESET ROLE;
SELECT * FROM (VALUES
	('analyst, before', :analyst_people, :analyst_events, :analyst_families, :'analyst_finds_her'::bool),
	('analyst, after', :after_people, :after_events, :after_families, :'after_finds_her')
) AS v ("who looks", people, events, families, "finds card-2208");
