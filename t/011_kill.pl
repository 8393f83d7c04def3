# L8 with everything on: eight sessions play a random history while the server
# is killed under them, all of it or one backend, whatever it is doing.  They go
# on with what was not acknowledged.  What is known in the end is what a model
# in SQL makes of the messages, once more delivered or not.
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

my $node = new_cluster('kill', conf => "restart_after_crash = on\nsynchronous_commit = on\nfull_page_writes = on\nwal_level = replica\n"
	. "checkpoint_timeout = 30s\nmax_wal_size = 32MB\ndeadlock_timeout = '100ms'\n");
my $history = CdpHistory->new(seed => $seed, operations => $ENV{HISTORY_OPERATIONS} || 90);

install_history($node, 'postgres');

my ($kills, @next) = $history->play_killed($node, kills => 10, after => sub {
	my ($kill, @acknowledged) = @_;
	my $list = join "\n", @acknowledged;

	is(broken_invariants($node), '', "kill $kill: what holds always holds (seed $seed)");
	is($node->safe_psql('postgres', "CREATE TEMP TABLE ack (id text);\nCOPY ack FROM STDIN;\n$list\n\\.\n
		SELECT count(*) FROM ack WHERE id NOT IN (SELECT message_id FROM cdp.events UNION ALL SELECT message_id FROM cdp.consent_log UNION ALL
			SELECT message_id FROM cdp.rejected WHERE message_id IS NOT NULL)"), '0', "kill $kill: what was acknowledged is there");
});
cmp_ok($kills, '>', 2, "the server was killed $kills times");
is_deeply(\@next, [ map { scalar @$_ } @{ $history->{plan} } ], 'every session came to its end');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|deadlock detected|signal 11|signal 6/, 'no crash of its own, no deadlock');
is($history->finish_work($node, 'postgres'), '', 'all background work is done');
$history->load($node, 'postgres');
my $known = $history->known($node, 'postgres');
is(differences($known, $history->naive($node, 'postgres')), '', "what is known follows from the messages (seed $seed)");
is($node->safe_psql('postgres', 'SELECT * FROM cdp.verify()'), '', 'everybody is as recomputed');
$node->safe_psql('postgres', $history->redelivery);
is(differences($history->known($node, 'postgres'), $known), '', "all of it once more changes nothing (seed $seed)");
is(broken_invariants($node), '', 'what holds still holds');
$node->stop;
done_testing();
