# No room for WAL.  A write of WAL that fails is the server's PANIC, by design:
# it cannot know what is on disk.  So the writing session takes the server down
# at many points of what a call does, and once all of it stays down until there
# is room again.  What was acknowledged is there, nothing is half there, and what
# was not acknowledged can be sent again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpHistory;
use CdpSession;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no prlimit or /proc here' unless -e '/proc/self/status' && system('prlimit --pid $$ --fsize > /dev/null 2>&1') == 0;

my $seed = $ENV{HISTORY_SEED} || int(rand(1000000));
srand($seed);
note("seed $seed");

# A limit on the size of files, as any user may set for his own processes, stops
# WAL alone: its segments are larger than any table here, and buffers for it so
# small that sessions write it themselves, also in the middle of a call.
my $segment = 4 * 1024 * 1024;
my $node = new_cluster('walfull', initdb => ['--wal-segsize=4'],
	conf => "restart_after_crash = on\nsynchronous_commit = on\nwal_buffers = 32kB\nwal_writer_delay = 10s\nmax_wal_size = 64MB\nmin_wal_size = 8MB\nwal_recycle = off\ndeadlock_timeout = '100ms'\n");
my $history = CdpHistory->new(seed => $seed, sessions => 2, operations => $ENV{HISTORY_OPERATIONS} || 30);

install_history($node, 'postgres');
cmp_ok($node->safe_psql('postgres', q{SELECT max(pg_relation_size(c.oid)) FROM pg_class c WHERE c.relkind IN ('r', 'i', 't')}), '<', 0.6 * $segment, 'no table is as large as the limit');

my @sessions = map { CdpSession->new($node, 'postgres') } 1 .. 2;

sub limit
{
	my ($pid, $bytes) = @_;

	# nobody wants to look at these cores
	return system('prlimit', '--pid', $pid, "--fsize=$bytes:", '--core=0:') == 0;
}

# Brings WAL into the last third of a segment and returns where it is then.
sub advance
{
	my $offset = "(pg_walfile_name_offset(pg_current_wal_insert_lsn())).file_offset";
	my $from = int($segment * 2 / 3);

	return $node->safe_psql('postgres', qq{
		DO \$\$ BEGIN
			IF $offset >= $from + 400000 THEN PERFORM pg_switch_wal(); PERFORM pg_logical_emit_message(true, 'room', 'x'); END IF;
			WHILE $offset < $from LOOP PERFORM pg_logical_emit_message(false, 'room', repeat('x', 20000)); END LOOP;
		END \$\$;
		SELECT pg_logical_emit_message(true, 'room', 'x') IS NULL;
		SELECT $offset}) =~ s/.*\n//sr;
}

my @acknowledged;

sub check
{
	my ($what) = @_;
	my $list = join "\n", @acknowledged;

	is(broken_invariants($node), '', "$what: what holds always holds (seed $seed)");
	is($node->safe_psql('postgres', 'SELECT * FROM cdp.verify()'), '', "$what: everybody is as recomputed (seed $seed)");
	is($node->safe_psql('postgres', "CREATE TEMP TABLE ack (id text);\nCOPY ack FROM STDIN;\n$list\n\\.\n
		SELECT count(*) FROM ack WHERE id <> '' AND id NOT IN (SELECT message_id FROM cdp.events UNION ALL SELECT message_id FROM cdp.consent_log UNION ALL
			SELECT message_id FROM cdp.rejected WHERE message_id IS NOT NULL)"), '0', "$what: what was acknowledged is there");
	return;
}

# Runs an operation; undef: the server went down.
sub run_one
{
	my ($session, $op) = @_;
	my ($ok, $answer) = $session->run("$op->{clock}\n$op->{sql}");

	push @acknowledged, @{ $op->{ids} // [] } if $ok;
	fail("$answer (seed $seed)") if defined $ok && !$ok;
	return $ok;
}

sub panics
{
	my @found = slurp_file($node->logfile) =~ /PANIC: +(could not write to (?:log )?file)/g;

	return scalar @found;
}

sub postmaster
{
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	return $pid;
}

my $operations = @{ $history->{plan}[0] };
my $last = $operations - 5;

for my $i (0 .. $operations - 1)
{
	for my $s (0 .. 1)
	{
		my $op = $history->{plan}[$s][$i];

		if ($i == $last && $s == 0)
		{
			# no room for anybody: nor for recovery
			my $postmaster = postmaster();
			my $bytes = advance() + 8192;

			limit($_, $bytes) for $postmaster, split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
			for (1 .. 200)
			{
				last unless kill 0, $postmaster;
				# a client that finds nobody is no reason to fail
				system('psql', '-Xq', '-o', '/dev/null', '-d', $node->connstr('postgres'), '-c', "SELECT pg_logical_emit_message(true, 'room', repeat('x', 9000))");
				select(undef, undef, undef, 0.1);
			}
			ok(!kill(0, $postmaster), 'without room the server stays down');
			$node->kill9;
			$node->start;
			$_->reconnect for @sessions;
			check('once there is room');
		}
		elsif (rand() < 0.25)
		{
			limit($sessions[$s]{backend}, advance() + int(2**(9 + rand(9)))) or die 'prlimit failed';
			if (!defined run_one($sessions[$s], $op))
			{
				$_->reconnect for @sessions;
				check("operation $i of session $s");
			}
			else
			{
				limit($sessions[$s]{backend}, 'unlimited') or die 'prlimit failed';
				next;
			}
		}
		run_one($sessions[$s], $op);
	}
}
cmp_ok(panics(), '>', 5, 'often there was no room for WAL (' . panics() . ')');
unlike(slurp_file($node->logfile), qr/TRAP|signal 11|deadlock detected/, 'no crash of its own');
$_->close for @sessions;
is($history->finish_work($node, 'postgres'), '', 'all background work is done');
$history->load($node, 'postgres');
my $known = $history->known($node, 'postgres');
is(differences($known, $history->naive($node, 'postgres')), '', "what is known follows from the messages (seed $seed)");
$node->safe_psql('postgres', $history->redelivery);
is(differences($history->known($node, 'postgres'), $known), '', "all of it once more changes nothing (seed $seed)");
check('in the end');
$node->stop;
done_testing();
