-- Step 1, route 2: messages in the form of the Segment specification, in batches of 500, one transaction each.
\ir style.psql
SELECT clock_timestamp() AS began \gset

-- One statement a batch. (A web server would send each batch as it comes: SELECT * FROM cdp.ingest($1, 'web').)
SELECT format($sql$
	INSERT INTO shop.receipt
	SELECT %1$L, r.*
	FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(message ORDER BY n))
		FROM shop.collector WHERE source = %1$L AND n BETWEEN %2$s AND %3$s), %1$L) AS r
$sql$, source, min(n), max(n))
FROM (SELECT source, n, (row_number() OVER (PARTITION BY source ORDER BY n) - 1) / 500 AS batch FROM shop.collector) m
GROUP BY source, batch
ORDER BY batch, source \gexec

SELECT to_char((SELECT count(*) FROM shop.receipt), '99,999') AS rows,
	to_char(extract(epoch FROM clock_timestamp() - :'began'::timestamptz), 'FM990.0') AS seconds \gset
\echo '  messages  ' :rows 'messages in' :seconds 'seconds'
