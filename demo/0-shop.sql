-- The shop before cdp: ordinary tables of an ordinary application. Nothing here knows about cdp.
-- Run from the folder demo/, after generate.pl.
\ir style.psql

-- The files as they are.
CREATE SCHEMA import;

CREATE TABLE import.product (product_id int, department text, brand text, product_category text, product_type text);
CREATE TABLE import.household (household_id int, age text, income text, home_ownership text, marital_status text,
	household_size text, household_comp text, kids_count text);
CREATE TABLE import.purchase (household_id int, store_id int, basket_id bigint, product_id int, quantity int,
	sales_value float8, retail_disc float8, transaction_timestamp timestamptz);
CREATE TABLE import.campaign (campaign_id int, campaign_type text, start_date date, end_date date);
CREATE TABLE import.mailing (campaign_id int, household_id int);
CREATE TABLE import.redemption (household_id int, coupon_upc bigint, campaign_id int, redemption_date date);

\copy import.product FROM 'data/products.csv' (FORMAT csv, HEADER)
\copy import.household FROM 'data/demographics.csv' (FORMAT csv, HEADER)
\copy import.purchase FROM 'data/transactions.csv' (FORMAT csv, HEADER)
\copy import.campaign FROM 'data/campaign_descriptions.csv' (FORMAT csv, HEADER)
\copy import.mailing FROM 'data/campaigns.csv' (FORMAT csv, HEADER)
\copy import.redemption FROM 'data/coupon_redemptions.csv' (FORMAT csv, HEADER)

-- What the shop's application works with.
CREATE SCHEMA shop;

CREATE TABLE shop.product (
	product_id int PRIMARY KEY,
	department text NOT NULL,
	brand text NOT NULL,
	category text NOT NULL,
	name text NOT NULL);

CREATE TABLE shop.member (                     -- a household with a loyalty card
	card text PRIMARY KEY,
	email text,
	phone text,
	age text,
	income text,
	household_size int,
	home_store int,
	loyalty text,                              -- these two are kept by a nightly job
	weeks_since_visit int,
	updated_at timestamptz NOT NULL);

CREATE TABLE shop.consent_form (               -- what members ticked when they got the card
	card text REFERENCES shop.member,
	purpose text,
	answer text NOT NULL,
	signed_at timestamptz NOT NULL,
	PRIMARY KEY (card, purpose));

CREATE TABLE shop.purchase (                   -- one line of a receipt
	line_id text PRIMARY KEY,
	card text NOT NULL REFERENCES shop.member,
	basket_id bigint NOT NULL,
	store_id int NOT NULL,
	product_id int NOT NULL,
	quantity int NOT NULL,
	revenue float8 NOT NULL,
	discount float8 NOT NULL,
	bought_at timestamptz NOT NULL);

CREATE TABLE shop.mailing (                    -- a campaign sent to a member
	mailing_id text PRIMARY KEY,
	card text NOT NULL REFERENCES shop.member,
	campaign_id int NOT NULL,
	campaign_type text NOT NULL,
	mailed_at timestamptz NOT NULL);

CREATE TABLE shop.redemption (                 -- a coupon handed in at the till
	redemption_id text PRIMARY KEY,
	card text NOT NULL REFERENCES shop.member,
	coupon text NOT NULL,
	campaign_id int NOT NULL,
	redeemed_at timestamptz NOT NULL);

CREATE TABLE shop.collector (                  -- messages from web, app, e-mail and contact centre, as they arrive
	n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source text NOT NULL DEFAULT 'web',
	message jsonb NOT NULL);

CREATE TABLE shop.receipt (                    -- what cdp answered to each of them
	source text,
	message_id text,
	status text,
	profile_id bigint);

INSERT INTO shop.product
SELECT product_id, department, brand, product_category, coalesce(product_type, product_category)
FROM import.product
WHERE product_category IS NOT NULL;

-- The nightly job: how long is each member's last visit ago, and what is the card's colour?
-- It is the shop's own code, written long before cdp came.
CREATE PROCEDURE shop.nightly(today date) LANGUAGE sql AS $$
	UPDATE shop.member m
	SET weeks_since_visit = s.weeks, loyalty = s.loyalty, updated_at = today + time '02:00'
	FROM (
		SELECT card,
			(today - max(bought_at)::date) / 7 AS weeks,
			CASE WHEN sum(revenue) >= 200 THEN 'gold' WHEN sum(revenue) >= 100 THEN 'silver' ELSE 'bronze' END AS loyalty
		FROM shop.purchase
		WHERE bought_at < today
		GROUP BY card) s
	WHERE s.card = m.card
		AND (m.weeks_since_visit, m.loyalty) IS DISTINCT FROM (s.weeks, s.loyalty);
$$;
