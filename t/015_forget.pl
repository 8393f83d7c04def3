# Events go while eight sessions play a random history and the server is killed
# under all of them.  What is known in the end, but for the events themselves, is
# what a model in SQL makes of the messages, of which another database, where
# nothing ever went, has the keys.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpHistory;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{HISTORY_SEED} || int(rand(1000000));
srand($seed);
note("seed $seed");

my $node = new_cluster('forget', conf => "restart_after_crash = on\nsynchronous_commit = on\nmax_wal_size = 64MB\ndeadlock_timeout = '100ms'\n");
my $history = CdpHistory->new(seed => $seed, operations => $ENV{HISTORY_OPERATIONS} || 60);
my $clock = $history->clock;

install_history($node, 'postgres');
$node->safe_psql('template1', 'CREATE DATABASE whole TEMPLATE postgres');

# Where nothing goes.
finish_client($_) for map { start_client($node, 'whole', script($_)) } @{ $history->{plan} };
is($history->finish_work($node, 'whole'), '', 'where all is kept: all background work is done');
$history->load($node, 'whole');
my $must = $history->naive($node, 'whole');
is(differences($history->known($node, 'whole'), $must), '', "where all is kept: what is known follows from the messages (seed $seed)");

# Where events go as soon as nothing needs them; what is defined on the way is
# defined before that.
my $forget = "SET client_min_messages = warning; SET cdp.clock = '$clock';\n"
	. "SELECT cdp.set_retention('31 days') WHERE EXISTS (SELECT FROM cdp.sequences WHERE name = 'unpaid');\nSELECT cdp.retention_due();\nCALL cdp.maintain(2);\n";
my $gone = 'SELECT coalesce(sum(gone), 0) FROM cdp.retention';
my $early = 0;
my ($kills, @next) = $history->play_killed($node, kills => 8, beside => $forget x 300, after => sub {
	my ($kill) = @_;

	$early++ if $node->safe_psql('postgres', $gone) > 0;
	is(broken_invariants($node), '', "kill $kill: what holds always holds (seed $seed)");
	is($node->safe_psql('postgres', "SET cdp.clock = '$clock'; SELECT * FROM cdp.verify()"), '', "kill $kill: everybody is as recomputed (seed $seed)");
});
cmp_ok($kills, '>', 2, "the server was killed $kills times");
# a slow machine may get there only when nobody is killed any more
note("$early times when events had gone");
cmp_ok($node->safe_psql('postgres', $gone), '>', 0, 'events went while sessions played');
is_deeply(\@next, [ map { scalar @$_ } @{ $history->{plan} } ], 'every session came to its end');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|deadlock detected|signal 11|signal 6/, 'no crash of its own, no deadlock');

# Lines without those of events; and how many those are.
sub lasting
{
	return [ grep { !/^event: / } @{ $_[0] } ];
}

sub events
{
	return scalar grep { /^event: / } @{ $_[0] };
}

sub check
{
	my ($what) = @_;

	$node->safe_psql('postgres', $forget);
	is($history->finish_work($node, 'postgres'), '', "$what: all background work is done");
	my $known = $history->known($node, 'postgres');
	is(differences(lasting($known), lasting($must)), '', "$what: what is known follows from the messages (seed $seed)");
	is(events($known) + $node->safe_psql('postgres', $gone), events($must), "$what: each event is there or went, once");
	is($node->safe_psql('postgres', "SET cdp.clock = '$clock'; SELECT * FROM cdp.verify()"), '', "$what: everybody is as recomputed");
	is(broken_invariants($node), '', "$what: what holds always holds");
	return;
}

check('in the end');
cmp_ok($node->safe_psql('postgres', $gone), '>', 300, 'many went');
$node->safe_psql('postgres', $history->redelivery);
check('all of it once more');
$node->safe_psql('postgres', "SET cdp.clock = '$clock'; CALL cdp.rebuild_all()");
check('rebuilt');
$node->stop;
done_testing();
