-- Step 1: tell cdp where the data comes from. Then 1a-store.sql and 1b-messages.sql run side by side.
\ir style.psql
\echo
\echo '=================================================================================================='
\echo ' 1. COLLECT: one place for what the shop knows'
\echo '=================================================================================================='

-- All that cdp needs.
CREATE EXTENSION cdp;
SELECT count(*) AS steps FROM cdp.init() \gset

-- Facts worth a typed column. Everything else that arrives is kept as jsonb.
SELECT cdp.define_trait('email', 'text', index => true),
	cdp.define_trait('age', 'text'),
	cdp.define_trait('income', 'text'),
	cdp.define_trait('household_size', 'int'),
	cdp.define_trait('home_store', 'int'),
	cdp.define_trait('loyalty', 'text'),
	cdp.define_trait('weeks_since_visit', 'int') \g /dev/null

-- What data may be used for. Nobody has agreed to anything yet.
SELECT cdp.define_purpose('analytics', 'Understand how our customers shop'),
	cdp.define_purpose('marketing', 'Write to our customers') \g /dev/null

-- Route 1: the application's own tables. From now on a write to them is also an event,
-- in the same transaction; the application does not change.
SELECT cdp.attach('shop.member', '{
		"type": "identify",
		"identifiers": {"user_id": "card", "email": "email", "phone": "phone"},
		"traits": ["email", "age", "income", "household_size", "home_store", "loyalty", "weeks_since_visit"],
		"time": "updated_at"}',
	source => 'members', on_update => true),
cdp.attach('shop.purchase', '{
		"event": "Product Purchased",
		"identifiers": {"user_id": "card"},
		"properties": {"product_id": "product_id", "store": "store_id", "basket": "basket_id",
			"quantity": "quantity", "revenue": "revenue", "discount": "discount"},
		"time": "bought_at",
		"message_id": "line_id"}',
	source => 'store'),
cdp.attach('shop.mailing', '{
		"event": "Campaign Mailed",
		"identifiers": {"user_id": "card"},
		"properties": ["campaign_id", "campaign_type"],
		"time": "mailed_at",
		"message_id": "mailing_id"}',
	source => 'campaigns'),
cdp.attach('shop.redemption', '{
		"event": "Coupon Redeemed",
		"identifiers": {"user_id": "card"},
		"properties": ["coupon", "campaign_id"],
		"time": "redeemed_at",
		"message_id": "redemption_id"}',
	source => 'store') \g /dev/null

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

-- The forms they signed: 70 % yes to analytics, 57 % yes to marketing; one in ten left the first box empty.
INSERT INTO shop.consent_form
SELECT 'card-' || h, 'analytics', CASE WHEN h * 7 % 10 < 7 THEN 'granted' ELSE 'denied' END, timestamptz '2017-01-01'
FROM (SELECT DISTINCT household_id AS h FROM import.purchase) s WHERE h * 7 % 10 < 9
UNION ALL
SELECT 'card-' || h, 'marketing', CASE WHEN h % 7 < 4 THEN 'granted' ELSE 'denied' END, '2017-01-01'
FROM (SELECT DISTINCT household_id AS h FROM import.purchase) s;

SELECT count(cdp.set_consent('user_id:' || card, purpose, answer, at => signed_at, source => 'till')) AS forms
FROM shop.consent_form \gset

\echo
\echo 'Two routes run at once, in two sessions:'
\echo '  store     INSERTs into the shop''s own tables, which triggers turn into events'
\echo '  messages  web, app, e-mail and contact centre, in batches of 500 through cdp.ingest()'
\echo
