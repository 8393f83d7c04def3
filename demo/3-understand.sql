-- Step 3: what she likes, which groups there are, and who may know it.
\ir style.psql
\set who 'user_id:card-2208'
\echo '=================================================================================================='
\echo ' 3. UNDERSTAND: tastes, segments, and who may look'
\echo '=================================================================================================='
\echo
\echo 'What she likes on 1 October 2017: a purchase counts 5, a look 1, and half of it is forgotten every 30 days.'
\echo 'Plain SQL over cdp.events and the shop''s own products:'
\echo

\set ECHO queries
WITH likes AS (
	SELECT p.category, p.brand, e.name,
		w.weight * 0.5 ^ (extract(epoch FROM timestamptz '2017-10-01' - e.ts) / 86400 / 30) AS weight
	FROM cdp.events e
	JOIN (VALUES ('Product Purchased', 5), ('Product Viewed', 1)) AS w (name, weight) USING (name)
	JOIN shop.product p ON p.product_id = (e.properties ->> 'product_id')::int
	WHERE e.profile_id = cdp.resolve(:'who')
)
SELECT dimension, value, round(sum(weight)::numeric, 2) AS affinity,
	count(*) FILTER (WHERE name = 'Product Purchased') AS bought,
	count(*) FILTER (WHERE name = 'Product Viewed') AS viewed
FROM likes, LATERAL (VALUES ('category', category), ('brand', brand)) AS d (dimension, value)
GROUP BY dimension, value
ORDER BY affinity DESC, value
LIMIT 8;
\set ECHO none

-- The shop's nightly job keeps two columns of shop.member; the table changes, so the profiles do.
CALL shop.nightly('2017-07-01');

\echo 'A segment is a rule over the columns of cdp.profiles. Its members are kept from now on, with every event:'
\echo

\o /dev/null
\set ECHO queries
SELECT cdp.define_segment('family', 'household_size >= 3');
SELECT cdp.define_segment('young', $$age IN ('19-24', '25-34')$$);
SELECT cdp.define_segment('heavy_shopper', 'events >= 80');
SELECT cdp.define_segment('gold', $$loyalty = 'gold'$$);
SELECT cdp.define_segment('churn_risk', 'weeks_since_visit >= 6');
\set ECHO none
\o

\echo
\echo 'How many they are, alone and combined. (The two columns that the shop''s nightly job keeps, loyalty and'
\echo 'weeks_since_visit, are of 1 July: it did not run over the summer. Step 4 starts it again.)'
\echo

\set ECHO queries
SELECT segment, cdp.segment_count(segment) AS people
FROM unnest('{family, young, heavy_shopper, gold, churn_risk,
	family & gold, (family | young) & !churn_risk, heavy_shopper & churn_risk}'::text[]) AS segment;
\set ECHO none

\echo 'Families who may be leaving: a segment is a set of people to join with:'
\echo

\set ECHO queries
SELECT identifiers #>> '{user_id,0}' AS card, income, household_size, home_store, weeks_since_visit, segments
FROM cdp.members('family & churn_risk')
JOIN cdp.profiles USING (profile_id)
ORDER BY weeks_since_visit DESC, card
LIMIT 5;
\set ECHO none

\echo 'Who may look. An analyst works for the purpose analytics; a trainee has no purpose yet:'
\echo

CREATE ROLE shop_analyst;
CREATE ROLE shop_trainee;
\o /dev/null
\set ECHO queries
SELECT cdp.provision('shop_analyst', 'analyst'), cdp.permit('shop_analyst', 'analytics');
SELECT cdp.provision('shop_trainee', 'analyst');
\set ECHO none
\o

-- The same four questions, asked by three roles.
\set look 'SELECT (SELECT count(*) FROM cdp.profiles) AS people, (SELECT count(*) FROM cdp.events) AS events, cdp.segment_count(''family'') AS families, coalesce(cdp.resolve(''user_id:card-2208'')::text, ''nobody'') AS her'
:look \gset owner_
SET ROLE shop_analyst;
:look \gset analyst_
SET ROLE shop_trainee;
:look \gset trainee_
RESET ROLE;

\echo
\echo 'Three roles ask the same: SELECT count(*) FROM cdp.profiles; the same of cdp.events;'
\echo 'SELECT cdp.segment_count(''family''); SELECT cdp.resolve(''user_id:card-2208''). Consent decides what exists:'
\echo

SELECT * FROM (VALUES
	('owner of the database', :owner_people, :owner_events, :owner_families, :'owner_her'),
	('analyst, for analytics', :analyst_people, :analyst_events, :analyst_families, :'analyst_her'),
	('trainee, for nothing', :trainee_people, :trainee_events, :trainee_families, :'trainee_her')
) AS v ("who looks", people, events, families, "card-2208 is");

SELECT count(*) FILTER (WHERE f.answer = 'granted') AS yes, count(*) FILTER (WHERE f.answer = 'denied') AS no,
	count(*) FILTER (WHERE f.answer IS NULL) AS empty, :owner_people - count(*) AS strangers
FROM shop.member m LEFT JOIN shop.consent_form f ON f.card = m.card AND f.purpose = 'analytics' \gset
\echo 'Of the 300 members' :yes 'said yes to analytics,' :no 'said no,' :empty 'left the box empty;' :strangers 'others were never asked.'
\echo
\echo 'She withdraws. The analyst''s next statement knows:'
\echo

\o /dev/null
\set ECHO queries
SELECT cdp.set_consent(:'who', 'analytics', 'withdrawn', source => 'contact_centre');
\set ECHO none
\o
SET ROLE shop_analyst;
:look \gset after_
RESET ROLE;
\echo
SELECT * FROM (VALUES
	('analyst, before', :analyst_people, :analyst_events, :analyst_families, :'analyst_her'),
	('analyst, after', :after_people, :after_events, :after_families, :'after_her')
) AS v ("who looks", people, events, families, "card-2208 is");
