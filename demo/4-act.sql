-- Step 4: the segment acts. Whoever enters it is handed to a channel, if she may be written to.
\ir style.psql
\set who 'user_id:card-2208'
\echo
\echo '=================================================================================================='
\echo ' 4. ACT: the moment somebody is about to leave'
\echo '=================================================================================================='

SELECT cdp.define_activation('churn_risk', 'email', 'marketing') \g /dev/null
CREATE TEMP TABLE before AS SELECT profile_id FROM cdp.members('churn_risk');

\echo
\echo 'The shop''s nightly job of 1 October updates weeks_since_visit in its own table shop.member. That is all it does.'
\echo 'Entering the segment writes to the outbox in the very same transaction, so a rollback leaves nothing:'

SELECT cdp.segment_count('churn_risk') AS members0, (SELECT count(*) FROM cdp.outbox) AS outbox0 \gset
BEGIN;
CALL shop.nightly('2017-10-01');
SELECT cdp.segment_count('churn_risk') AS members1, (SELECT count(*) FROM cdp.outbox) AS outbox1 \gset
ROLLBACK;
SELECT cdp.segment_count('churn_risk') AS members2, (SELECT count(*) FROM cdp.outbox) AS outbox2 \gset
CALL shop.nightly('2017-10-01');
SELECT cdp.segment_count('churn_risk') AS members3, (SELECT count(*) FROM cdp.outbox) AS outbox3 \gset

SELECT * FROM (VALUES
	('before the job', :members0, :outbox0),
	('inside its transaction', :members1, :outbox1),
	('after ROLLBACK', :members2, :outbox2),
	('run again, after COMMIT', :members3, :outbox3)) AS v ("when", "members of churn_risk", "rows in the outbox");

CREATE TEMP TABLE entered AS
SELECT profile_id FROM cdp.members('churn_risk') EXCEPT SELECT profile_id FROM before;

-- What each of them signed; one changes her mind before the e-mail leaves.
CREATE TEMP TABLE card AS
SELECT cdp.resolve('user_id:' || m.card) AS profile_id, m.card, m.weeks_since_visit, coalesce(f.answer = 'granted', false) AS yes
FROM shop.member m
LEFT JOIN shop.consent_form f ON f.card = m.card AND f.purpose = 'marketing';

SELECT min(c.card) AS late FROM card c JOIN entered USING (profile_id) JOIN cdp.profiles p USING (profile_id)
WHERE c.yes AND p.email IS NOT NULL AND c.card <> 'card-2208' \gset
SELECT cdp.set_consent('user_id:' || :'late', 'marketing', 'withdrawn', source => 'web') \g /dev/null

-- The mailer is a service with the purpose marketing. It takes what is due, sends it, and says so.
CREATE ROLE shop_mailer;
SELECT cdp.provision('shop_mailer', 'service'), cdp.permit('shop_mailer', 'marketing') \g /dev/null

SET ROLE shop_mailer;
CREATE TEMP TABLE handed AS SELECT * FROM cdp.claim('email', 100);
RESET ROLE;

\echo 'What the e-mail channel was handed (cdp.claim), longest away first:'

SELECT h.address, p.loyalty, p.weeks_since_visit, p.segments
FROM handed h
JOIN cdp.profiles p USING (profile_id)
ORDER BY h.profile_id <> cdp.resolve(:'who'), p.weeks_since_visit DESC, h.address
LIMIT 6;

\echo 'Who entered, and why not everybody gets a letter:'

SELECT what AS "that night", people FROM (
	SELECT 1 AS n, 'entered churn_risk that night' AS what, count(*) AS people FROM entered
	UNION ALL
	SELECT 2, '  said no to marketing', count(*) FROM entered JOIN card USING (profile_id) WHERE NOT yes
	UNION ALL
	SELECT 3, '  said yes, but withdrew before the letter left', count(*) FROM entered JOIN card USING (profile_id)
	WHERE yes AND card = :'late'
	UNION ALL
	SELECT 4, '  said yes, but we know no e-mail address', count(*) FROM entered JOIN card USING (profile_id)
	JOIN cdp.profiles p USING (profile_id) WHERE yes AND card <> :'late' AND p.email IS NULL
	UNION ALL
	SELECT 5, '  handed to the channel', count(*) FROM handed) s
ORDER BY n;

SET ROLE shop_mailer;
SELECT cdp.ack(array_agg(delivery_id)) AS acked FROM handed \gset
SELECT count(*) AS again FROM cdp.claim('email', 100) \gset
RESET ROLE;

\echo 'The mailer acknowledged' :acked 'letters; asked again, it was handed' :again'.'
\echo
\echo 'Next: read demo/*.sql in this order, it is the tutorial; docs/ has a page per word; or keep this database with'
\echo '      make demo KEEP=1   and ask it your own questions: cdp.profiles, cdp.events, cdp.members(''family & !gold'').'
