# Events go while the server is killed, while others read what they saw before,
# and what they left is dumped and restored.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('retention');
my $dir = $node->basedir;

# All that is known of people, as text.
sub people
{
	my ($database) = @_;

	return $node->safe_psql($database // 'postgres', 'SELECT to_jsonb(p)::text FROM cdp.profiles p ORDER BY p.profile_id');
}

sub value
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

configure($node, 'postgres');
$node->safe_psql('postgres', q{
	SELECT cdp.define_metric('orders', 'Ordered'), cdp.define_metric('skus', 'Ordered', 'list', 'sku'), cdp.define_metric('spent', 'Ordered', 'sum', 'total');
	SELECT cdp.define_dimension('brand', profile_column => 'brands', top => 30), cdp.define_action('Ordered', 1);
	SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', CASE WHEN i % 4 = 0 THEN 'identify' ELSE 'track' END, 'event', 'Ordered', 'messageId', 'm' || i,
			'userId', 'u' || i % 97, 'timestamp', now() - interval '60 days' - i * interval '10 minutes',
			'traits', jsonb_build_object('city', 'c' || i % 7, 'age', i % 50, 'first_store', 's' || i % 5), 'properties', jsonb_build_object('sku', 'k' || i % 4001, 'total', i, 'brand', 'b' || i % 23)))
		FROM generate_series(1, 30000) i));
	SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Ordered', 'messageId', 'n' || i, 'userId', 'u' || i % 97,
			'timestamp', now() - i * interval '1 hour', 'properties', jsonb_build_object('sku', 'k' || i, 'total', 0.5, 'brand', 'b' || i % 29))) FROM generate_series(1, 500) i));
	SELECT count(cdp.track(ARRAY['user_id:u' || i, 'user_id:u' || i + 1], 'Met', '{}', now() - interval '100 days', 'met' || i)) FROM generate_series(1, 20, 2) i;
	CALL cdp.maintain();
});
my $before = people();
is(value('SELECT count(*) FROM cdp.verify()'), '0', 'nothing is different at first');
$node->safe_psql('postgres', "SELECT cdp.set_retention('30 days')");

#
# Killed in the middle
#
my $rounds = 0;
while ($rounds < 20 && value("SELECT state = 'done' FROM cdp.tasks WHERE kind = 'retention'") ne 't')
{
	my $gone = value('SELECT sum(gone) FROM cdp.retention');
	my $client = start_client($node, 'postgres', 'CALL cdp.maintain();');

	$node->poll_query_until('postgres', "SELECT sum(gone) > $gone + 1000 * $rounds OR (SELECT state = 'done' FROM cdp.tasks WHERE kind = 'retention') FROM cdp.retention");
	$node->stop('immediate');
	$node->start;
	finish_client($client);
	$rounds++;
}
cmp_ok($rounds, '>', 1, "killed $rounds times before all was done");
is(value('SELECT sum(gone) FROM cdp.retention'), '30010', 'each event went once');
is(value('SELECT count(*) FROM cdp.events'), '500', 'the others are there');
is(people(), $before, 'and people are who they were');
is(value('SELECT count(*) FROM cdp.verify()'), '0', 'as they should be');
$node->safe_psql('postgres', 'CALL cdp.maintain()');
is(value("SELECT count(*) FROM cdp_data.event_partition WHERE to_ts < now() - interval '31 days'"), '0', 'old partitions are dropped');

#
# Somebody has an older snapshot: he goes on seeing what he saw
#
my $late = q{SELECT cdp.track('user_id:u50', 'Ordered', '{"sku": "late", "total": 0.25}', now() - interval '70 days')};
my $reader = $node->background_psql('postgres', on_error_stop => 1);
my $partition = "SELECT count(*) FROM cdp_data.event_partition WHERE to_ts < now() - interval '31 days'";

$node->safe_psql('postgres', $late);
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$reader->query_safe('SELECT count(*) FROM pg_class');
$before = people();
$node->safe_psql('postgres', 'SELECT cdp.retention_due()');
$node->safe_psql('postgres', 'CALL cdp.maintain()');
is(value('SELECT sum(gone) FROM cdp.retention'), '30011', 'the event is gone');
is(value($partition), '1', 'its partition is not');
is($reader->query_safe("SELECT count(*) FROM cdp.events"), '501', 'he sees the event');
is($reader->query_safe("SELECT cdp.metric_value(cdp.resolve('user_id:u50'), 'spent')"), value("SELECT cdp.metric_value(cdp.resolve('user_id:u50'), 'spent')"), 'and both know what it did');
$reader->query_safe('COMMIT');
$node->safe_psql('postgres', 'SELECT cdp.retention_due()');

#
# Somebody just reads: nobody waits behind the lock
#
$reader->query_safe('BEGIN');
$reader->query_safe('SELECT count(*) FROM cdp.events');
$node->safe_psql('postgres', 'CALL cdp.maintain()');
is(value($partition), '1', 'the partition waits for who reads');
$reader->query_safe('COMMIT');
$node->safe_psql('postgres', 'SELECT cdp.retention_due()');
$node->safe_psql('postgres', 'CALL cdp.maintain()');
is(value($partition), '0', 'and is dropped then');
$reader->quit;
is(people(), $before, 'nothing else changed');

#
# Dumped and restored, what is gone is known
#
my $merge = value('SELECT min(merge_id) FROM cdp.merges WHERE undone_at IS NULL');
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-Fc', '-f', "$dir/retention.dump" ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
command_ok([ 'pg_restore', '-1', '-d', $node->connstr('copy'), "$dir/retention.dump" ], 'pg_restore');
is(people('copy'), $before, 'the copy has the same people');
is($node->safe_psql('copy', 'SELECT count(*) FROM cdp.verify()'), '0', 'as they should be');
for my $database (qw(postgres copy))
{
	$node->safe_psql($database, "SELECT cdp.unmerge($merge, 'for the test')");
	is($node->safe_psql($database, 'SELECT count(*) FROM cdp.verify()'), '0', "$database: who parts is as she should be");
}
is(people('copy'), people(), 'the same in both');
is($node->safe_psql('copy', q{SELECT count(*) FROM cdp.profiles WHERE events > 300}), value(q{SELECT count(*) FROM cdp.profiles WHERE events > 300}), 'with all they ever did');
$node->safe_psql('copy', "SELECT cdp.set_retention('10 days')");
$node->safe_psql('copy', 'CALL cdp.maintain()');
is($node->safe_psql('copy', 'SELECT count(*) FROM cdp.verify()'), '0', 'and the copy goes on');
is(people('copy'), people(), 'with the same people');

$node->stop;
done_testing();
