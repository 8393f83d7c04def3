# Whatever interrupts a call leaves nothing of it behind, and the session goes
# on: cancel and time-out at many points, an administrator's terminate, memory
# that runs out, files that cannot grow.  A history is played with each of these
# faults; what fails is tried again.  In the end everything known is what it is
# where nothing ever failed, also what depends on the order of arrival.
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
use Time::HiRes 'time';

my $seed = $ENV{HISTORY_SEED} || int(rand(1000000));
srand($seed);
note("seed $seed");

# Small segments of WAL: a limit on the size of files must let those grow.
my $node = new_cluster('faults', initdb => ['--wal-segsize=1'],
	conf => "synchronous_commit = off\nrestart_after_crash = off\nshared_buffers = 64MB\nmax_wal_size = 1GB\ndeadlock_timeout = '100ms'\n");
my $history = CdpHistory->new(seed => $seed, sessions => 1, operations => $ENV{HISTORY_OPERATIONS} || 60, people => 25, serial => 1);
my @plan = @{ $history->{plan}[0] };

install_history($node, 'postgres');
$node->safe_psql('template1', "CREATE DATABASE $_ TEMPLATE postgres") for qw(calm);

# How long each operation takes, where nothing fails.
my @took;
my $session = CdpSession->new($node, 'calm');
for my $op (@plan)
{
	my $began = time;
	my ($ok, $answer) = $session->run("$op->{clock}\n$op->{sql}");

	push @took, time - $began;
	die "$op->{sql}\n$answer" unless $ok;
}
$session->close;
is($history->finish_work($node, 'calm'), '', 'without faults: all background work is done');
my $calm = $history->known($node, 'calm', 1);
is(broken_invariants($node, 'calm'), '', 'without faults: what holds always holds');
is($node->safe_psql('calm', 'SELECT * FROM cdp.verify()'), '', 'without faults: everybody is as recomputed');
cmp_ok(scalar(@$calm), '>', 1000, 'there is something to know');

my %failures;

# Plays the history in a database of its own.  $attempt->($session, $op, $i, $n)
# runs the operation with a fault and returns what the session answered; when it
# failed $n times it is run in peace, in the same session.
sub play
{
	my ($what, $tries, $attempt) = @_;
	my $session = CdpSession->new($node, $what);

	for my $i (0 .. $#plan)
	{
		my $op = $plan[$i];
		my $done = 0;

		for my $n (1 .. $tries)
		{
			my ($ok, $answer) = $attempt->($session, $op, $i, $n);

			if ($ok)
			{
				$done = 1;
				last;
			}
			my ($reason) = $answer =~ /(?:ERROR|FATAL): +(.*)/;
			$reason //= defined $ok ? "unknown: $answer" : 'connection lost';
			$reason =~ s/ *(?:: |").*//;
			$failures{$what}{$reason}++;
			$session->reconnect unless defined $ok;
		}
		next if $done;
		my ($ok, $answer) = $session->run("$op->{clock}\n$op->{sql}");
		if (!$ok)
		{
			fail("$what: in peace the session goes on (seed $seed)");
			diag("$op->{sql}\n$answer");
			last;
		}
	}
	$session->close;
	note("$what: " . join(', ', map { "$failures{$what}{$_} $_" } sort keys %{ $failures{$what} }));
	check($what);
	return;
}

sub check
{
	my ($what) = @_;

	is($history->finish_work($node, $what), '', "$what: all background work is done");
	is(broken_invariants($node, $what), '', "$what: what holds always holds (seed $seed)");
	is($node->safe_psql($what, 'SELECT * FROM cdp.verify()'), '', "$what: everybody is as recomputed (seed $seed)");
	is(differences($history->known($node, $what, 1), $calm), '', "$what: all is known as without faults (seed $seed)");
	$node->safe_psql($what, $history->redelivery);
	is(differences($history->known($node, $what, 1), $calm), '', "$what: all of it once more changes nothing (seed $seed)");
	return;
}

sub database
{
	my ($name) = @_;

	$node->safe_psql('template1', "CREATE DATABASE $name TEMPLATE postgres");
	return;
}

sub total
{
	my ($what, $pattern) = @_;
	my $n = 0;

	$n += $failures{$what}{$_} for grep { /$pattern/ } keys %{ $failures{$what} // {} };
	return $n;
}

#
# Cancel, time-out, terminate
#
database('cancelled');
my $other = CdpSession->new($node, 'postgres');
play('cancelled', 8, sub {
	my ($session, $op, $i, $n) = @_;
	my $how = int(rand(12));

	if ($how < 4)
	{
		my $ms = 1 + int(1000 * $took[$i] * rand()**1.5);
		my ($ok, $answer) = $session->run("$op->{clock}\nSET statement_timeout = $ms;\n$op->{sql}\n\\set failed :ERROR\nSET statement_timeout = 0;\n\\echo failed: :failed");

		return ($ok && $answer !~ /^failed: false$/m ? 0 : $ok, $answer);
	}
	my $when = sprintf('%.6f', 1.1 * $took[$i] * rand()**1.5);
	my $act = $how < 11 ? 'pg_cancel_backend' : 'pg_terminate_backend';

	$session->run($op->{clock});
	$other->send("DO \$\$ BEGIN PERFORM pg_sleep($when); PERFORM $act($session->{backend}); END \$\$;");
	my ($ok, $answer) = $session->run($op->{sql});
	$other->receive;
	# what came too late may not hit the next one
	$session->run('SELECT pg_sleep(0.001);') if $ok;
	return ($ok, $answer);
});
$other->close;
cmp_ok(total('cancelled', qr/user request/), '>', 15, 'many operations were cancelled');
cmp_ok(total('cancelled', qr/statement timeout/), '>', 8, 'many ran out of time');
cmp_ok(total('cancelled', qr/terminating connection|connection/), '>', 0, 'some sessions were terminated');

#
# What a session may have, by the limits of its process
#
sub limit
{
	my ($session, $what, $value) = @_;

	system('prlimit', '--pid', $session->{backend}, "--$what=$value:") == 0 or die 'prlimit failed';
	return;
}

# Memory runs out in a new session, so while caches are filled and plans made,
# and in one that knows everything.  Then the same session goes on.
sub short_of_memory
{
	my ($session, $op, $i, $n) = @_;

	$session->reconnect;
	$session->run("$op->{clock}\nSELECT cdp.resolve('user_id:u1');") if $n == 2;
	my ($size) = slurp_file("/proc/$session->{backend}/status") =~ /^VmSize:\s+(\d+) kB/m;
	limit($session, 'as', 1024 * ($size + int(2**(2 + rand(11)))));
	my ($ok, $answer) = $session->run("$op->{clock}\n$op->{sql}");
	limit($session, 'as', 'unlimited') if defined $ok;
	return ($ok, $answer);
}

# Files cannot grow beyond the size that some table or index has.  They are
# made larger than a segment of WAL first.
sub grow
{
	my ($database) = @_;

	$node->safe_psql($database, q{
		SET session_replication_role = replica;
		DO $$
		DECLARE
			t record;
		BEGIN
			FOR t IN SELECT c.oid::regclass AS name, (SELECT min(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attidentity = '') AS col
				FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0
				AND c.relname ~ '^(event_20|message_seen|identifier$|node|identity_edge|profile|metric_state|consent_|segment_member|rejected|outbox)' LOOP
				WHILE pg_relation_size(t.name) < 1200000 LOOP
					EXECUTE format('UPDATE %s SET %I = %2$I', t.name, t.col);
				END LOOP;
			END LOOP;
		END $$});
	return;
}

my %full;
sub no_room
{
	my ($session, $op, $i, $n) = @_;

	return $session->run("$op->{clock}\n$op->{sql}") if $i < @plan / 3;
	grow('disk') if $n == 1 && $i < 1 + @plan / 3;
	my (undef, $list) = $other->run(q{SELECT pg_relation_size(c.oid) FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND pg_relation_size(c.oid) > 1100000;});
	my @sizes = $list =~ /(\d+)/g;
	die 'no table is large enough' unless @sizes;
	limit($session, 'fsize', $sizes[ int(rand(@sizes)) ]);
	my ($ok, $answer) = $session->run("$op->{clock}\n$op->{sql}");
	limit($session, 'fsize', 'unlimited') if defined $ok;
	$full{$1}++ if !$ok && $answer =~ m{could not extend file "base/\d+/(\d+)};
	return ($ok, $answer);
}

SKIP:
{
	skip 'no prlimit or /proc here', 13 unless -e '/proc/self/status' && system('prlimit --pid $$ --as > /dev/null 2>&1') == 0;
	database('memory');
	play('memory', 2, \&short_of_memory);
	cmp_ok(total('memory', qr/out of memory/), '>', 30, 'memory ran out often');
	database('disk');
	$other = CdpSession->new($node, 'disk');
	play('disk', 3, \&no_room);
	$other->close;
	cmp_ok(total('disk', qr/could not extend file/), '>', 10, 'files could not grow');
	cmp_ok(scalar(keys %full), '>', 3, 'at several tables and indexes (' . keys(%full) . ')');
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'the server never crashed');

$node->stop;
done_testing();
