-- Step 1, route 1: the tills write to the shop's tables, month by month, and so do the campaigns.
\ir style.psql

SELECT format($sql$
	INSERT INTO shop.mailing
	SELECT format('mail-%%s-%%s', m.campaign_id, m.household_id), 'card-' || m.household_id,
		c.campaign_id, c.campaign_type, greatest(c.start_date, date '2017-01-01') + time '06:00'
	FROM import.mailing m JOIN import.campaign c USING (campaign_id)
	WHERE greatest(c.start_date, date '2017-01-01') >= %1$L AND greatest(c.start_date, date '2017-01-01') < %2$L;

	INSERT INTO shop.purchase
	SELECT basket_id || '-' || row_number() OVER (PARTITION BY basket_id ORDER BY product_id), 'card-' || household_id,
		basket_id, store_id, product_id, quantity, sales_value, retail_disc, transaction_timestamp
	FROM import.purchase
	WHERE transaction_timestamp >= %1$L AND transaction_timestamp < %2$L;

	INSERT INTO shop.redemption
	SELECT format('coupon-%%s-%%s', redemption_date, row_number() OVER (PARTITION BY redemption_date ORDER BY household_id, coupon_upc)),
		'card-' || household_id, coupon_upc, campaign_id, redemption_date + time '12:00'
	FROM import.redemption
	WHERE redemption_date >= %1$L AND redemption_date < %2$L;
$sql$, month, month + interval '1 month')
FROM generate_series(timestamp '2017-01-01', '2017-09-01', '1 month') AS month \gexec
