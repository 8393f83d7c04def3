# L1 to L5, L8 and L10 at once: eight sessions say what a random history has
# them say, late and twice, in calls, batches, rows of an application and by
# COPY, while people are merged and parted, rules change and time goes by.  What
# is known in the end, also as time goes on, is what a model in SQL makes of the
# messages, and what one session alone would know.
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
my $node = new_cluster('laws', conf => "synchronous_commit = off\ndeadlock_timeout = '100ms'\n");
my $history = CdpHistory->new(seed => $seed, operations => $ENV{HISTORY_OPERATIONS} || 70);

note("seed $seed");
install_history($node, 'postgres');

# Together.
my @running = map { start_client($node, 'postgres', script($_)) } @{ $history->{plan} };
for my $s (0 .. $#running)
{
	my ($out, $err) = finish_client($running[$s]);

	is($err, '', "session $s had no error (seed $seed)");
	is(scalar(() = $out =~ /^ack /mg), scalar(@{ $history->{plan}[$s] }), "session $s did all it wanted");
}
unlike(slurp_file($node->logfile), qr/deadlock detected|PANIC|TRAP|terminated by signal/, 'no deadlock, no crash');
is($history->finish_work($node, 'postgres'), '', 'all background work is done');
$history->load($node, 'postgres');
my $known = $history->known($node, 'postgres');
is(differences($known, $history->naive($node, 'postgres')), '', "L1, L3, L5, L10: what is known follows from the messages (seed $seed)");
is(broken_invariants($node), '', 'what holds always holds');
is($node->safe_psql('postgres', 'SELECT * FROM cdp.verify()'), '', 'L2: everybody is as recomputed');

# Again.
$node->safe_psql('postgres', $history->redelivery);
is(differences($history->known($node, 'postgres'), $known), '', "L4: all of it once more changes nothing (seed $seed)");
is($node->safe_psql('postgres', 'CALL cdp.rebuild_all(); SELECT * FROM cdp.verify()'), '', 'L2: rebuilt');
is(differences($history->known($node, 'postgres'), $known), '', "L2: rebuilding changes nothing (seed $seed)");
is(broken_invariants($node), '', 'what holds still holds');

# The history is worth the name.
my %parts;
$parts{ /^((?:\S+ days: )?[^:]+): / ? $1 : '' }++ for @$known;
cmp_ok($parts{$_} // 0, '>', 3, "$_: there are some") for qw(person trait activity segment member consent rejected event);
cmp_ok($parts{"0 days: $_"} // 0, '>', 3, "$_: there are some") for 'metric', 'sequence', 'visit', 'segment then', 'member then';
cmp_ok($node->safe_psql('postgres', 'SELECT count(undone_at) FROM cdp.merges'), '>', 5, 'merges were undone');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.merges WHERE undone_at IS NULL'), '>', 20, 'others were not');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.separations'), '>', 5, 'people were parted');
$node->stop;
done_testing();
