# L8: a physical standby reads the same, with the same rights.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpSession;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary', streaming => 1);
my $standby = PostgreSQL::Test::Cluster->new('standby');

configure($primary, 'postgres');
$primary->safe_psql('postgres', q{
	CREATE ROLE analyst;
	SELECT cdp.permit('analyst', 'analytics');
	SELECT count(cdp.identify(ARRAY['user_id:u' || i, 'email:e' || i || '@example.com'], jsonb_build_object('city', 'Kyoto', 'age', i), '2024-01-01 00:00Z', 'm' || i)) FROM generate_series(1, 20) i;
	SELECT count(cdp.set_consent('user_id:u' || i, 'analytics', 'granted', '2024-01-01 00:00Z', message_id => 'c' || i)) FROM generate_series(1, 10) i;
	SELECT cdp.define_dimension('brand', half_life => '10 years', profile_column => 'favourite'), cdp.set_item('i1', '{"brand": "A"}');
	SELECT count(cdp.track('user_id:u' || i, 'Product Viewed', jsonb_build_object('product_id', 'i' || i % 3), '2024-01-03 00:00Z', 'view' || i)) FROM generate_series(1, 20) i;
	CALL cdp.maintain();
});
$primary->backup('copy');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
# who reads there keeps what he reads
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\nwal_receiver_status_interval = 1\njit = off\n");
$standby->start;
# written while the standby follows
$primary->safe_psql('postgres', q{
	SELECT count(cdp.track('user_id:u' || i, 'Viewed', at => '2024-02-01 00:00Z', message_id => 'late' || i)) FROM generate_series(1, 20) i;
	SELECT cdp.identify('{user_id:u1,user_id:u2}', '{}', '2024-02-01 00:00Z', 'merge');
	SELECT cdp.track('user_id:new', 'Viewed', '{}', '2013-02-01 00:00Z', 'old');
	SELECT cdp.set_item('i1', '{"brand": "Other"}'), cdp.set_item('i2', '{"brand": "B"}');
	SELECT count(cdp.track('user_id:u' || i, 'Order Completed', '{"products": [{"product_id": "i1"}, {"product_id": "i2"}]}', '2024-02-02 00:00Z', 'order' || i)) FROM generate_series(1, 20, 2) i;
	SELECT cdp.state_preference('user_id:u3', 'brand', 'B', at => '2024-02-02 00:00Z', message_id => 'says');
	CALL cdp.maintain();
});
$primary->wait_for_catchup($standby);

for my $role (qw(postgres analyst))
{
	my $here = read_views($primary, 'postgres', $role);
	my $there = read_views($standby, 'postgres', $role);

	is(join(' ', sort keys %$there), join(' ', sort keys %$here), "$role reads the same views");
	is($there->{$_}, $here->{$_}, "$role sees the same in cdp.$_") for sort keys %$here;
	cmp_ok(length($there->{profiles}), '>', 100, "$role sees people");
	cmp_ok(length($there->{$_}), '>', 300, "$role reads $_") for qw(affinities affinity_of explain_affinity);
	my $questions = "SET ROLE $role; SELECT cdp.resolve('user_id:u3'), cdp.resolve('user_id:u15'), cdp.segment_count('kyoto'), cdp.segment_count('kyoto & !frequent'),
		(SELECT array_agg(m ORDER BY m) FROM cdp.members('kyoto') m), (SELECT library FROM cdp.version())";
	is($standby->safe_psql('postgres', $questions), $primary->safe_psql('postgres', $questions), "$role gets the same answers from functions");
}
is($standby->safe_psql('postgres', q{SET ROLE analyst; SELECT cdp.segment_count('kyoto'), cdp.resolve('user_id:u15') IS NULL}), '9|t',
	'consent decides there, too');

# The membership index: steps and chunks, folds that come while somebody reads
# with a snapshot of before, and timers that are due.
$primary->safe_psql('postgres', q{
	CREATE FUNCTION fold() RETURNS int LANGUAGE c AS '$libdir/cdp', 'cdp_fold_chunks';
	SELECT cdp.define_segment('lately', predicate => 'cdp.within(last_seen, ''20 days'')'), cdp.define_segment('sunny', predicate => 'traits->>''side'' = ''sun'''),
		cdp.define_segment('both', predicate => 'cdp.in_segment(''sunny'') AND cdp.in_segment(''lately'')')});

sub questions
{
	my ($role, $day) = @_;
	my @expr = ('sunny', '!sunny & kyoto', 'lately & sunny', 'both | frequent', '!(lately | frequent)');

	return "RESET ROLE; SET cdp.clock = '2024-$day 12:00Z'; SET ROLE $role;\n"
		. join("\n", map { "SELECT '$_', cdp.segment_count('$_'), (SELECT array_agg(m ORDER BY m) FROM cdp.members('$_') m), (SELECT cdp.audience_agg(m) FROM cdp.members('$_') m);" } @expr)
		. q{
		SELECT * FROM cdp.overlap('sunny') ORDER BY 1;
		SELECT name, members, pending FROM cdp.segments ORDER BY 1;
		SELECT segment, profile_id, since FROM cdp.segment_members ORDER BY 1, 2;
		SELECT profile_id, segments FROM cdp.profiles ORDER BY 1;
		SELECT cdp.preview_sql('city IS NOT NULL'), cdp.why('user_id:u3', 'sunny');
		RESET ROLE;};
}

# As whoever asks, at several times.
sub same_answers
{
	my ($what) = @_;

	$primary->wait_for_catchup($standby);
	for my $role (qw(postgres analyst))
	{
		for my $day (qw(02-03 02-22 03-15))
		{
			my $here = $primary->safe_psql('postgres', questions($role, $day));

			is($standby->safe_psql('postgres', questions($role, $day)), $here, "$what: $role hears the same of segments, as of $day");
			cmp_ok(length $here, '>', 300, 'which is something');
		}
	}
	return;
}

my $flips = 0;
sub flip
{
	my ($side) = @_;

	$flips++;
	$primary->safe_psql('postgres',
		"SELECT count(cdp.identify('user_id:u' || i, '{\"side\": \"$side\"}', timestamptz '2024-02-01 00:00Z' + $flips * interval '1 hour', 'flip$flips-' || i)) FROM generate_series(1, 20, 2) i");
	return;
}

flip('sun');
same_answers('steps');
$primary->safe_psql('postgres', 'SELECT fold()');
same_answers('folded');
my $kept = CdpSession->new($standby, 'postgres');
my (undef, $first) = $kept->run('BEGIN ISOLATION LEVEL REPEATABLE READ; ' . questions('postgres', '02-22'));
for my $side (qw(shade sun shade))
{
	flip($side);
	$primary->safe_psql('postgres', 'SELECT fold()') if $side eq 'sun';
	same_answers("moved to the $side");
	my ($ok, $now) = $kept->run(questions('postgres', '02-22'));

	is($now, $first, 'who has a snapshot of before sees what was');
	$primary->safe_psql('postgres', 'SELECT fold()');
}
$primary->wait_for_catchup($standby);
my (undef, $last) = $kept->run(questions('postgres', '02-22'));
is($last, $first, 'also when all is folded');
my (undef, $afterwards) = $kept->run('COMMIT; ' . questions('postgres', '02-22'));
isnt($afterwards, $first, 'and then sees what is');
$kept->close;
same_answers('all folded');
$primary->safe_psql('postgres', q{SET cdp.clock = '2024-03-15 12:00Z'; CALL cdp.maintain(10)});
same_answers('swept');
is($primary->safe_psql('postgres', 'SELECT * FROM cdp.verify()'), '', 'and it is as it should be');
$primary->safe_psql('postgres', q{SELECT cdp.drop_segment('both'), cdp.drop_segment('lately'), cdp.drop_segment('sunny'); DROP FUNCTION fold()});
$primary->wait_for_catchup($standby);

# The write functions are refused in words, and the connection stays.
for my $write (q{cdp.track('user_id:u1', 'Viewed')}, q{cdp.track('user_id:u1', 'Viewed', at => '1999-01-01 00:00Z')}, q{cdp.identify('user_id:unknown')},
	q{cdp.set_consent('user_id:u1', 'analytics', 'withdrawn')}, q{cdp.claim('email')}, q{cdp.define_segment('x', predicate => 'age > 3')})
{
	my ($status, $out, $err) = $standby->psql('postgres', "SELECT * FROM $write;\nSELECT 'still here'", on_error_stop => 0);

	like($err, qr/ERROR:.*(read-only transaction|recovery)/, "refused: $write");
	is($out, 'still here', 'and the session goes on');
}

# A session that has read before sees a withdrawal after replay.
my $reader = $standby->background_psql('postgres');
$reader->query_safe('SET ROLE analyst');
is($reader->query_safe('SELECT count(*) FROM cdp.profiles'), '9', 'before the withdrawal');
$primary->safe_psql('postgres', q{SELECT cdp.set_consent('user_id:u5', 'analytics', 'withdrawn', '2024-03-01 00:00Z', message_id => 'no')});
$primary->wait_for_catchup($standby);
is($reader->query_safe('SELECT count(*) FROM cdp.profiles'), '8', 'a withdrawal holds after replay');
$primary->safe_psql('postgres', q{SELECT cdp.define_segment('old', predicate => 'age >= 6'); SELECT cdp.forbid('analyst', 'analytics')});
$primary->wait_for_catchup($standby);
is($reader->query_safe('SELECT count(*) FROM cdp.profiles'), '0', 'so does a purpose that was taken from the role');
$primary->safe_psql('postgres', q{SELECT cdp.permit('analyst', 'analytics')});
$primary->wait_for_catchup($standby);
is($reader->query_safe(q{SELECT cdp.segment_count('old')}), '5', 'a new segment is known there');
$reader->quit;

# The standby takes over.
$primary->stop;
$standby->promote;
is($standby->safe_psql('postgres', q{SELECT cdp.track('email:e7@example.com', 'Viewed') = cdp.resolve('user_id:u7')}), 't', 'after promotion it takes messages');
is(verdict($standby), 'as recomputed', 'and is consistent');
$standby->stop;
done_testing();
