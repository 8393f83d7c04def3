-- Step 1: tell cdp where the data comes from. Then 1a-store.sql and 1b-messages.sql run side by side.
\ir style.psql
\echo
\echo '=================================================================================================='
\echo ' 1. COLLECT: one place for what the shop knows'
\echo '=================================================================================================='
\echo
\echo 'A shop with 300 households. Purchases, products, demographics, campaigns and coupons are real (The Complete'
\echo 'Journey 2.0, CC0). Names, addresses, visits on web and app, opened e-mails and calls are not: they are made'
\echo 'from the household''s number by fixed rules. See demo/README.md.'
\echo
\echo 'All that cdp needs is an extension, and a call that makes its tables:'
\echo

\set ECHO queries
CREATE EXTENSION cdp;
SELECT * FROM cdp.init();
\set ECHO none

\echo 'Facts worth a typed column are declared (everything else that arrives is kept, as jsonb), and so is what data'
\echo 'may be used for. Nobody has agreed to anything yet. There are seven traits, these among them:'
\echo

\o /dev/null
\set ECHO queries
SELECT cdp.define_trait('email', index => true), cdp.define_trait('household_size', 'int');
SELECT cdp.define_purpose('analytics', 'Understand how our customers shop');
SELECT cdp.define_purpose('marketing', 'Write to our customers');
\set ECHO none
SELECT cdp.define_trait('age'),
	cdp.define_trait('income'),
	cdp.define_trait('home_store', 'int'),
	cdp.define_trait('loyalty'),
	cdp.define_trait('weeks_since_visit', 'int');

\echo
\echo 'Route 1: the shop''s own tables. From now on a write to them is also an event, in the same transaction; the'
\echo 'application does not change. So for members, purchases, coupons and mailings; here are the purchases:'
\echo

\set ECHO queries
SELECT cdp.attach('shop.purchase', source => 'store', mapping => '{
	"event": "Product Purchased",
	"identifiers": {"user_id": "card"},
	"time": "bought_at",
	"message_id": "line_id",
	"properties": {"product_id": "product_id", "store": "store_id", "basket": "basket_id",
		"quantity": "quantity", "revenue": "revenue", "discount": "discount"}}');
\set ECHO none

SELECT cdp.attach('shop.member', source => 'members', on_update => true, mapping => '{
	"type": "identify",
	"identifiers": {"user_id": "card", "email": "email", "phone": "phone"},
	"time": "updated_at",
	"traits": ["email", "age", "income", "household_size", "home_store", "loyalty", "weeks_since_visit"]}');

SELECT cdp.attach('shop.mailing', source => 'campaigns', mapping => '{
	"event": "Campaign Mailed",
	"identifiers": {"user_id": "card"},
	"time": "mailed_at",
	"message_id": "mailing_id",
	"properties": ["campaign_id", "campaign_type"]}');

SELECT cdp.attach('shop.redemption', source => 'store', mapping => '{
	"event": "Coupon Redeemed",
	"identifiers": {"user_id": "card"},
	"time": "redeemed_at",
	"message_id": "redemption_id",
	"properties": ["coupon", "campaign_id"]}');
\o

-- The members. Real households; card number, e-mail address and phone number are made from the household's
-- number, and not everybody left an address or a phone number at the till.
INSERT INTO shop.member (card, email, phone, age, income, household_size, home_store, updated_at)
SELECT 'card-' || p.household_id,
	CASE WHEN p.household_id % 10 <> 3 THEN 'hh' || p.household_id || '@example.com' END,
	CASE WHEN p.household_id % 4 <> 1 THEN '+1555010' || to_char(p.household_id, 'FM0000') END,
	h.age, h.income, left(h.household_size, 1)::int, p.home_store, '2017-01-01'
FROM (SELECT household_id, mode() WITHIN GROUP (ORDER BY store_id) AS home_store
	FROM import.purchase GROUP BY household_id) p
LEFT JOIN import.household h USING (household_id);

-- The forms they signed: about 70 % yes to analytics, 57 % yes to marketing; one in ten left the first box empty.
INSERT INTO shop.consent_form
SELECT 'card-' || h, 'analytics', CASE WHEN h * 7 % 10 < 7 THEN 'granted' ELSE 'denied' END, timestamptz '2017-01-01'
FROM (SELECT DISTINCT household_id AS h FROM import.purchase) s WHERE h * 7 % 10 < 9
UNION ALL
SELECT 'card-' || h, 'marketing', CASE WHEN h % 7 < 4 THEN 'granted' ELSE 'denied' END, '2017-01-01'
FROM (SELECT DISTINCT household_id AS h FROM import.purchase) s;

\echo
\echo 'The consent forms that members signed are read once:'
\echo

\set ECHO queries
SELECT purpose, answer,
	count(cdp.set_consent('user_id:' || card, purpose, answer, at => signed_at, source => 'till'))
FROM shop.consent_form
GROUP BY purpose, answer
ORDER BY purpose, answer DESC;
\set ECHO none

-- Messages as a web server would get them. JSON lines into a table: a quote and a delimiter that JSON never contains.
\copy shop.collector (message) FROM 'messages/web.jsonl' (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')
ALTER TABLE shop.collector ALTER source SET DEFAULT 'app';
\copy shop.collector (message) FROM 'messages/app.jsonl' (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')
ALTER TABLE shop.collector ALTER source SET DEFAULT 'email';
\copy shop.collector (message) FROM 'messages/email.jsonl' (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')
ALTER TABLE shop.collector ALTER source SET DEFAULT 'contact_centre';
\copy shop.collector (message) FROM 'messages/contact_centre.jsonl' (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')

\echo 'Route 2: messages of web, app, e-mail and contact centre, in the form of the Segment specification, like this:'
\echo

\pset tuples_only on
\pset format unaligned
SELECT jsonb_pretty(message - 'originalTimestamp' - 'receivedAt')
FROM shop.collector
WHERE message ->> 'userId' = 'card-2208' AND message ->> 'type' = 'identify'
ORDER BY n LIMIT 1;
\pset format aligned
\pset tuples_only off

\echo
\echo 'Both routes run now, at once, in two sessions:'
\echo
\echo '  store      INSERT INTO shop.purchase ...                       and mailing, redemption: month by month'
\echo '  messages   SELECT * FROM cdp.ingest(''{"batch": [...]}'', ''web'')  and app, email, contact_centre: 500 a call'
\echo
