-- Step 1, route 1: the tills write to the shop's tables, month by month, and so do the campaigns.
-- \gexec runs each of the three statements in a transaction of its own. Single statements take their locks in one
-- order, so the two routes never wait for each other in a circle, whomever they are about. A transaction of several
-- statements may, as everywhere in PostgreSQL; then it gets a deadlock error and has to be run again.
\ir style.psql
SELECT clock_timestamp() AS began \gset

SELECT format($sql$
	INSERT INTO shop.mailing
	SELECT format('mail-%%s-%%s', m.campaign_id, m.household_id), 'card-' || m.household_id,
		c.campaign_id, c.campaign_type, greatest(c.start_date, date '2017-01-01') + time '06:00'
	FROM import.mailing m JOIN import.campaign c USING (campaign_id)
	WHERE greatest(c.start_date, date '2017-01-01') >= %1$L AND greatest(c.start_date, date '2017-01-01') < %2$L
$sql$, month, month + interval '1 month'),
format($sql$
	INSERT INTO shop.purchase
	SELECT basket_id || '-' || row_number() OVER (PARTITION BY basket_id ORDER BY product_id), 'card-' || household_id,
		basket_id, store_id, product_id, quantity, sales_value, retail_disc, transaction_timestamp
	FROM import.purchase
	WHERE transaction_timestamp >= %1$L AND transaction_timestamp < %2$L
$sql$, month, month + interval '1 month'),
format($sql$
	INSERT INTO shop.redemption
	SELECT format('coupon-%%s-%%s', redemption_date, row_number() OVER (PARTITION BY redemption_date ORDER BY household_id, coupon_upc)),
		'card-' || household_id, coupon_upc, campaign_id, redemption_date + time '12:00'
	FROM import.redemption
	WHERE redemption_date >= %1$L AND redemption_date < %2$L
$sql$, month, month + interval '1 month')
FROM generate_series(timestamp '2017-01-01', '2017-09-01', '1 month') AS month \gexec

SELECT to_char((SELECT count(*) FROM shop.mailing) + (SELECT count(*) FROM shop.purchase) + (SELECT count(*) FROM shop.redemption),
		'99,999') AS rows,
	to_char(extract(epoch FROM clock_timestamp() - :'began'::timestamptz), 'FM990.0') AS seconds \gset
\echo '  store     ' :rows 'rows in' :seconds 'seconds'
