# L7 and L10 with everything on: eight sessions change people whose segments
# live by seconds, and fold, sweep, redefine, disable, refresh and rebuild
# meanwhile, while the server is killed under them.  Beside them somebody reads
# with snapshots that he keeps: membership is what the rules make of the events,
# as of his time, and stays that however much is folded.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpSession;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sessions = 8;
my $steps = $ENV{SEGMENT_STEPS} || 300;
my $seed = $ENV{SEGMENT_SEED} || int(rand(1000000));
srand($seed);
note("seed $seed");

my $node = new_cluster('segments', conf => "restart_after_crash = on\nsynchronous_commit = on\nfull_page_writes = on\nmax_wal_size = 32MB\n"
	. "deadlock_timeout = '100ms'\njit = off\nautovacuum = on\nautovacuum_naptime = 1s\n");

$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../test/segments.sql"));
$node->safe_psql('postgres', q{CREATE ROLE analyst; SELECT seg.configure(); CALL cdp.maintain(); SELECT seg.define(), cdp.permit('analyst', 'analytics')});

# What a session does, in its order.
sub statements
{
	my ($s) = @_;
	my @list;

	for my $i (1 .. $steps)
	{
		push @list, "SELECT seg.step('$seed-$s', $i);";
		push @list, 'SELECT seg.fold();' if $i % 11 == $s;
		push @list, 'CALL cdp.maintain(2);' if $i % 17 == $s;
		push @list, 'SELECT pg_sleep(0.02);' if $i % 2 == 0;
		next if $s != 0;
		push @list, "SELECT cdp.define_segment('moved', predicate => 'n % 3 = " . $i / 20 % 3 . "');" if $i % 20 == 0;
		push @list, 'SELECT cdp.' . ($i % 40 == 7 ? 'disable' : 'enable') . "_segment('short');" if $i % 20 == 7;
		push @list, "SELECT cdp.refresh_segment('recent');" if $i % 20 == 13;
		push @list, 'CALL cdp.rebuild_all();' if $i % 50 == 0;
	}
	return \@list;
}

my @plan = map { statements($_) } 0 .. $sessions - 1;
my @next = (0) x $sessions;
my %seen = (looks => 0, due => 0, folded => 0);

# Looks again and again at one snapshot; as a superuser, or as one who sees some.
sub look
{
	my ($reader, $role) = @_;
	my $as = $role ? "SET LOCAL ROLE $role;" : '';
	my ($ok, $answer) = $reader->run("SELECT 'different: ' || v FROM cdp.verify() v; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT set_config('cdp.clock', clock_timestamp()::text, true) IS NULL; SELECT seg.prepare("
			. ($role ? "'$role'" : 'NULL') . ");\n$as SELECT 'different: ' || what FROM seg.differences(true); SELECT 'due ' || cdp.pending_timers(); SELECT 'picture ' || seg.picture();");
	my ($again, $later);

	if ($ok)
	{
		select(undef, undef, undef, 0.3 + rand(0.7));
		($again, $later) = $reader->run("SELECT 'different: ' || what FROM seg.differences(true); SELECT 'picture ' || seg.picture(); RESET ROLE;\n"
				. 'SELECT \'steps \' || sum(CASE WHEN c.relname = \'segment_delta\' THEN pg_stat_get_tuples_deleted(c.oid) END) FROM pg_class c WHERE c.relname = \'segment_delta\'; COMMIT;');
	}
	if (!defined $ok || ($ok && !defined $again))
	{
		# the server was killed
		# the server was killed
		$reader->reconnect;
		return;
	}
	fail("reader: $answer " . ($later // '') . "(seed $seed)") if !$ok || !$again;
	$later //= '';
	is(join("\n", "$answer\n$later" =~ /^different: .*/mg), '', 'membership follows from the events (' . ($role // 'superuser') . ", seed $seed)");
	my ($before) = $answer =~ /^picture (\w+)/m;
	my ($after) = $later =~ /^picture (\w+)/m;
	is($after, $before, 'and is the same as long as the snapshot lasts');
	$seen{looks}++;
	$seen{due}++ if $answer =~ /^due [1-9]/m;
	$seen{folded}++ if $later =~ /^steps [1-9]/m;
	return;
}

my $kills = 0;
my $reader = CdpSession->new($node, 'postgres');
for my $round (1 .. 6)
{
	my @running = map { my $s = $_; start_client($node, 'postgres', join("\n", map { "$plan[$s][$_]\n\\if :ERROR\n\\else\n\\echo ack $_\n\\endif" } $next[$s] .. $#{ $plan[$s] })) } 0 .. $#plan;
	my $all = $round % 2;
	my $last = $round == 6;

	select(undef, undef, undef, 0.2);
	for my $n (1 .. ($last ? 8 : 2))
	{
		look($reader, $n % 2 ? undef : 'analyst');
	}
	if (!$last)
	{
		select(undef, undef, undef, rand(0.3));
		($all ? \&kill_cluster : \&kill_backend)->($node);
		$kills++;
	}
	for my $s (0 .. $#plan)
	{
		my ($out, $err) = finish_client($running[$s]);

		$next[$s] = $1 + 1 while $out =~ /^ack (\d+)$/mg;
		$err =~ s/^psql:\S+ (?:WARNING|NOTICE|DETAIL|HINT|FATAL|PANIC).*\n|^(?:DETAIL|HINT|FATAL|CONTEXT):.*\n//mg;
		fail("round $round, session $s: $err (seed $seed)") if $err =~ /ERROR/;
	}
	next if $last;
	$all ? $node->start : $node->poll_query_until('postgres', 'SELECT true') || die 'the cluster did not come back';
	$reader->reconnect;
	is($node->safe_psql('postgres', 'SELECT * FROM cdp.verify() LIMIT 5'), '', "kill $kills: verify() finds nothing (seed $seed)");
	is(broken_invariants($node), '', "kill $kills: what holds always holds");
}
is_deeply(\@next, [ map { scalar @$_ } @plan ], 'every session came to its end');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|deadlock detected|signal 11|signal 6/, 'no crash of its own, no deadlock');
cmp_ok($seen{looks}, '>=', 8, "$seen{looks} snapshots were looked at");
cmp_ok($seen{due}, '>=', 4, "in $seen{due} of them timers were due");

# With nobody about: now, and as time goes on, swept and folded and not.
my $compare = sub {
	my ($what, $ago, $role) = @_;
	my $as = $role ? "SET LOCAL ROLE $role;" : '';

	return is($node->safe_psql('postgres', "BEGIN; SET LOCAL cdp.clock = '$ago'; SELECT seg.prepare(" . ($role ? "'$role'" : 'NULL') . "); $as SELECT * FROM seg.differences(false)"), '', "$what (seed $seed)");
};
my @at = split /\n/, $node->safe_psql('postgres', "SELECT clock_timestamp() + x FROM unnest('{0,0.8s,1.9s,3.2s,6s}'::interval[]) x");
$compare->("nobody about, $_", $at[$_]) for 0 .. $#at;
for my $i (0 .. $#at)
{
	$node->safe_psql('postgres', "SET cdp.clock = '$at[$i]'; CALL cdp.maintain(10); " . ($i % 2 ? 'SELECT seg.fold()' : ''));
	$compare->("swept, $i", $at[$i]);
	$compare->("swept, $i, analyst", $at[$i], 'analyst');
	is($node->safe_psql('postgres', "SET cdp.clock = '$at[$i]'; SELECT * FROM cdp.verify() LIMIT 5"), '', "swept, $i: verify() finds nothing");
}
is(broken_invariants($node), '', 'what holds always holds');
is($node->safe_psql('postgres', 'SELECT seg.fold() >= 0; SELECT count(*) FROM cdp_data.segment_delta'), "t\n0", 'everything is folded');
my $many = $node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE cause = 'time') > 100 AND count(*) FILTER (WHERE cause = 'event') > 100 AND count(*) FILTER (WHERE cause = 'definition') > 0,
	(SELECT count(*) FROM cdp.merges WHERE undone_at IS NOT NULL) > 5 FROM cdp.segment_history});
is($many, 't|t', 'people entered and left by time, by events and by definitions, and came apart again');
$node->stop;
done_testing();
