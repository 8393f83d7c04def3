-- Step 4: the segment acts. Whoever enters it is handed to a channel, if she may be written to.
\ir style.psql
\set who 'user_id:card-2208'
\echo '=================================================================================================='
\echo ' 4. ACT: the moment somebody is about to leave'
\echo '=================================================================================================='
\echo
\echo 'From now on, whoever enters churn_risk shall get an e-mail, if she allows marketing:'
\echo

\o /dev/null
\set ECHO queries
SELECT cdp.define_activation('churn_risk', 'email', 'marketing');
\set ECHO none
\o
CREATE TEMP TABLE before AS SELECT profile_id FROM cdp.members('churn_risk');

\echo
\echo 'The shop''s nightly job runs again, on 1 October. It is one UPDATE of shop.member and knows nothing of cdp.'
\echo 'Who enters the segment is in the outbox within the very same transaction; a rollback leaves nothing:'
\echo

\set look 'SELECT cdp.segment_count(''churn_risk'') AS members, (SELECT count(*) FROM cdp.outbox) AS outbox'
:look \gset before_
BEGIN;
CALL shop.nightly('2017-10-01');
:look \gset inside_
ROLLBACK;
:look \gset rolled_
CALL shop.nightly('2017-10-01');
:look \gset after_

CREATE TEMP TABLE after AS SELECT profile_id FROM cdp.members('churn_risk');
CREATE TEMP TABLE entered AS TABLE after EXCEPT TABLE before;
SELECT (SELECT count(*) FROM entered) AS entered, count(*) AS left FROM (TABLE before EXCEPT TABLE after) s \gset

SELECT * FROM (VALUES
	('before', :before_members, :before_outbox),
	('BEGIN; CALL shop.nightly(''2017-10-01'');', :inside_members, :inside_outbox),
	('ROLLBACK;', :rolled_members, :rolled_outbox),
	('CALL shop.nightly(''2017-10-01'');', :after_members, :after_outbox)) AS v ("the shop", "in churn_risk", "in the outbox");

\echo :entered 'members entered,' :left 'had come back and left:' :before_members '+' :entered '-' :left '=' :after_members'.'

-- What each of them signed; one changes her mind before the e-mail leaves.
CREATE TEMP TABLE card AS
SELECT cdp.resolve('user_id:' || m.card) AS profile_id, 'user_id:' || m.card AS who, m.email, coalesce(f.answer = 'granted', false) AS yes
FROM shop.member m
LEFT JOIN shop.consent_form f ON f.card = m.card AND f.purpose = 'marketing';

SELECT min(c.who) AS late FROM card c JOIN entered USING (profile_id) JOIN cdp.profiles p USING (profile_id)
WHERE c.yes AND p.identifiers ? 'email' AND c.who <> :'who' \gset

\echo
\echo 'One of them changes her mind before the mailer comes:'
\echo

\o /dev/null
\set ECHO queries
SELECT cdp.set_consent(:'late', 'marketing', 'withdrawn', source => 'web');
\set ECHO none

-- The mailer is a service with the purpose marketing. It takes what is due, sends it, and says so.
CREATE ROLE shop_mailer;
SELECT cdp.provision('shop_mailer', 'service'), cdp.permit('shop_mailer', 'marketing');
\o

\echo
\echo 'The mailer is a role of its own, permitted for marketing. It claims what waits; nobody else gets it meanwhile:'
\echo

SET ROLE shop_mailer;
\set ECHO queries
CREATE TEMP TABLE letter AS SELECT * FROM cdp.claim('email', 100);
\set ECHO none
\echo
\echo 'What it was handed: her first, then who is away longest:'
\echo

SELECT l.address, p.loyalty, p.weeks_since_visit, p.segments
FROM letter l
JOIN cdp.profiles p USING (profile_id)
ORDER BY l.profile_id <> cdp.resolve(:'who'), p.weeks_since_visit DESC, l.address
LIMIT 6;

\echo 'It sends the letters and says so. Asked again, there is nothing left:'
\echo

\set ECHO queries
SELECT cdp.ack(array_agg(delivery_id)) AS acknowledged FROM letter;
SELECT count(*) AS handed_again FROM cdp.claim('email', 100);
\set ECHO none
RESET ROLE;

\echo 'Why not everybody who entered got a letter, as the outbox tells it:'
\echo

\set ECHO queries
SELECT state, reason, count(*) AS people FROM cdp.outbox GROUP BY state, reason ORDER BY people DESC;
\set ECHO none

SELECT count(*) FILTER (WHERE NOT yes) AS no, count(*) FILTER (WHERE who = :'late') AS changed,
	count(*) FILTER (WHERE yes AND who <> :'late' AND NOT p.identifiers ? 'email') AS addressless,
	count(*) FILTER (WHERE yes AND who <> :'late' AND p.identifiers ? 'email') AS reachable,
	(SELECT count(*) FROM letter JOIN card USING (profile_id) WHERE card.email IS NULL) AS learnt
FROM entered JOIN card USING (profile_id) JOIN cdp.profiles p USING (profile_id) \gset
SELECT :changed = 1 AND :no + :changed + :addressless + :reachable = :entered AND count(*) = :reachable AS agree FROM letter \gset
\if :agree
\else
	DO $$ BEGIN RAISE EXCEPTION 'the demo is broken: outbox and forms disagree'; END $$;
\endif

\echo 'The shop''s own papers agree: of' :entered 'who entered,' :no 'had said no,' :changed 'changed her mind, of' :addressless 'no address is known;'
\echo :reachable 'remain. Of these,' :learnt 'left no address at the till; it is known because they logged in on web or app.'
\echo
\echo 'Next: read demo/*.sql in this order, they are the tutorial; docs/ has a page per word; or keep this database'
\echo 'with  make demo KEEP=1  and ask it yourself: cdp.profiles, cdp.events, cdp.members(''family & !gold'').'
