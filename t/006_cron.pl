# CALL cdp.maintain() as a job of pg_cron brings a backfill to its end.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('cron');

plan skip_all => 'pg_cron is not installed'
	if $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'") eq '0';

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\ncron.use_background_workers = on\n");
$node->restart;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_cron;
	CREATE TABLE orders (id int PRIMARY KEY, customer text, placed timestamptz);
	INSERT INTO orders SELECT i, 'u' || i % 7, timestamptz '2024-03-01 00:00Z' + i * interval '1 hour' FROM generate_series(1, 2500) i;
	SELECT cdp.attach('orders', '{"event": "Ordered", "identifiers": {"user_id": "customer"}, "time": "placed"}', backfill => true);
	SELECT cdp.define_metric('orders', 'Ordered');
	SELECT cron.schedule('cdp', '@reboot', 'CALL cdp.maintain(20)');
});
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.events'), '0', 'nothing is there before the job runs');

# "@reboot" jobs run when the scheduler starts
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT state = 'done' AND done_rows = 2500 FROM cdp.tasks WHERE kind = 'backfill'}), 'the job finishes the backfill');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT profile_id), count(DISTINCT message_id) FROM cdp.events'), '2500|7|2500', 'all rows came in, once');
ok($node->poll_query_until('postgres', q{SELECT status = 'succeeded' FROM cron.job_run_details}), 'and the job succeeded');
is(verdict($node), 'as recomputed', 'consistent');
$node->safe_psql('postgres', 'CALL cdp.maintain(1)');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.events'), '2500', 'running again changes nothing');

# the same job carries out what is to be kept no longer
$node->safe_psql('postgres', q{SELECT cdp.set_retention('1 year'); DELETE FROM cron.job_run_details;});
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT state = 'done' FROM cdp.tasks WHERE kind = 'retention'}), 'the job carries out the retention');
is($node->safe_psql('postgres', 'SELECT gone FROM cdp.retention'), '2500', 'events are gone');
is($node->safe_psql('postgres', 'SELECT sum(events), sum(orders) FROM cdp.profiles'), '2500|2500', 'and what they did is known');
ok($node->poll_query_until('postgres', q{SELECT status = 'succeeded' FROM cron.job_run_details}), 'that job succeeded, too');
$node->safe_psql('postgres', 'CALL cdp.maintain(10)');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cdp_data.event_partition WHERE to_ts < now() - interval '1 year'}), '0', 'its partitions are dropped');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.verify()'), '0', 'as they should be');

# cdp.schedule() asks for it each minute, once
is($node->safe_psql('postgres', q{SELECT count(DISTINCT cdp.schedule()) FROM generate_series(1, 2)}), '1', 'one job');
is($node->safe_psql('postgres', q{SELECT schedule, command FROM cron.job WHERE jobname = 'cdp_maintain'}), '* * * * *|CALL cdp.maintain()', 'each minute');

# whoever else has jobs that run cdp is named
is($node->safe_psql('postgres', 'SELECT * FROM cdp.selfcheck()'), '', 'no hole');
$node->safe_psql('postgres', q{CREATE ROLE clerk; SELECT cron.schedule('clerks', '0 0 1 1 *', 'SELECT cdp.segment_count(''all'')'); UPDATE cron.job SET username = 'clerk' WHERE jobname = 'clerks'});
like($node->safe_psql('postgres', 'SELECT * FROM cdp.selfcheck()'), qr/^high\|pg_cron job \d+\|runs cdp as clerk\|SELECT cron.unschedule\(\d+\);$/, 'but a job of another');
$node->stop;
done_testing();
