# The audit under concurrent writers: some roll back, some in part, some prepare,
# while others seal and verify.  No false alarm, and what was acknowledged is
# there; also after a crash, and in a copy.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $writers = 5;
my $rounds = 120;
my $node = new_cluster('audit', conf => "max_prepared_transactions = 20\n");

# What is wrong, '' if nothing is.
sub tampering
{
	my ($database) = @_;

	return $node->safe_psql($database // 'postgres', "SELECT string_agg(concat_ws(' ', state, audit_id, seal, detail), '; ') FROM cdp.verify_audit() WHERE state NOT IN ('sealed', 'unsealed')");
}

# Each row carries the number of its act; what is to stay is printed when it is acknowledged.
my (%stays, @clients);
for my $w (1 .. $writers)
{
	my $sql = '';

	for my $r (1 .. $rounds)
	{
		my $act = "$w.$r";
		my $call = sub { "SELECT cdp.audit('act', $w, '{\"n\": \"$act$_[0]\"}')" };
		my $how = spread(6, 'how', $w, $r);

		if ($how == 0) { $sql .= "BEGIN; " . $call->('a') . "; SELECT pg_sleep(0.002); ROLLBACK;\n"; next; }
		elsif ($how == 1) { $sql .= "BEGIN; " . $call->('a') . "; SAVEPOINT s; " . $call->('gone') . "; ROLLBACK TO s; COMMIT;\n"; }
		elsif ($how == 2) { $sql .= "BEGIN; " . $call->('a') . "; PREPARE TRANSACTION 'p$act'; SELECT pg_sleep(0.003); ROLLBACK PREPARED 'p$act';\n"; next; }
		elsif ($how == 3) { $sql .= "BEGIN; " . $call->('a') . "; PREPARE TRANSACTION 'p$act'; SELECT pg_sleep(0.003); COMMIT PREPARED 'p$act';\n"; }
		elsif ($how == 4) { $sql .= "BEGIN ISOLATION LEVEL SERIALIZABLE; " . $call->('a') . "; SELECT pg_sleep(0.005); COMMIT;\n"; }
		else { $sql .= $call->('a') . ";\n"; }
		$stays{"${act}a"} = 1;
	}
	push @clients, start_client($node, 'postgres', $sql);
}
my @sealers = map { start_client($node, 'postgres', "CALL cdp.maintain(1);\nSELECT pg_sleep(0.01);\n" x 40) } 1 .. 2;
my @verifiers = map { start_client($node, 'postgres', "SELECT concat_ws(' ', state, audit_id, seal, detail) FROM cdp.verify_audit() WHERE state NOT IN ('sealed', 'unsealed');\n" x 60) } 1 .. 2;

# The head that a witness outside noted must be in the chain ever after.
my @heads;
for (1 .. 20)
{
	my $head = $node->safe_psql('postgres', 'SELECT head FROM cdp.audit_seals ORDER BY seal DESC LIMIT 1');

	push @heads, $head if $head ne '' && (!@heads || $heads[-1] ne $head);
	select(undef, undef, undef, 0.05);
}
for my $client (@clients, @sealers)
{
	my ($out, $err) = finish_client($client);
	is($err, '', 'nobody failed');
}
for my $client (@verifiers)
{
	my ($out, $err) = finish_client($client);
	is($out . $err, '', 'no false alarm meanwhile');
}
ok(@heads > 0, 'heads were noted: ' . scalar @heads);
my $there = $node->safe_psql('postgres', "SELECT string_agg(detail ->> 'n', ' ' ORDER BY detail ->> 'n' COLLATE \"C\") FROM cdp.audit_log WHERE action = 'act'");
is($there, join(' ', sort keys %stays), 'what was committed is there, nothing else');
is(tampering(), '', 'no false alarm');
$node->safe_psql('postgres', 'CALL cdp.maintain(5)');
is(tampering(), '', 'nor when all is sealed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp_data.audit_open'), '0', 'nothing waits');
is($node->safe_psql('postgres', "SELECT count(*) FROM cdp.verify_audit('$_') WHERE state NOT IN ('sealed', 'unsealed')"), '0', 'the chain has the head that was noted') for @heads[ 0, -1 ];

# Who seals goes on beside who has sealed and not committed: they do not wait.
my $holder = start_client($node, 'postgres', "BEGIN; SELECT cdp.audit('held'); SELECT cdp.seal_step(); SELECT pg_sleep(2); ROLLBACK;");
select(undef, undef, undef, 0.5);
$node->safe_psql('postgres', "SET statement_timeout = '1s'; SELECT cdp.audit('free'); CALL cdp.maintain(1)");
finish_client($holder);
is(tampering(), '', 'a seal that was rolled back leaves nothing');

# A crash while they write.
@clients = map { start_client($node, 'postgres', "SELECT cdp.audit('crash');\n" x 2000) } 1 .. 2;
my $sealer = start_client($node, 'postgres', "CALL cdp.maintain(1);\n" x 200);
select(undef, undef, undef, 0.7);
kill_cluster($node);
finish_client($_) for @clients, $sealer;
$node->start;
is(tampering(), '', 'nor after a crash');
ok($node->safe_psql('postgres', "SELECT count(*) FROM cdp.audit_log WHERE action = 'crash'") > 0, 'it hit them at work');
$node->safe_psql('postgres', "SELECT cdp.audit('after'); CALL cdp.maintain(5)");
is(tampering(), '', 'and it goes on');

# A copy is as good as the original, and passes the self-check.
my $head = $node->safe_psql('postgres', 'SELECT head FROM cdp.audit_seals ORDER BY seal DESC LIMIT 1');
my $dump = $node->basedir . '/audit.sql';
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
command_ok([ 'psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', $dump ], 'restored');
is($node->safe_psql('copy', "SELECT count(*) FROM cdp.verify_audit('$head') WHERE state NOT IN ('sealed', 'unsealed')"), '0', 'the copy has the chain');
is($node->safe_psql('copy', 'SELECT count(*) FROM cdp.audit_log'), $node->safe_psql('postgres', 'SELECT count(*) FROM cdp.audit_log'), 'and as many rows: restoring is no act');
is($node->safe_psql('copy', "SELECT * FROM cdp.selfcheck()"), '', 'no hole in the copy');
is($node->safe_psql('postgres', "SELECT * FROM cdp.selfcheck()"), '', 'nor in the original');
$node->safe_psql('copy', "UPDATE cdp_data.audit SET role = 'nobody' WHERE audit_id = 1");
isnt(tampering('copy'), '', 'a change is found in the copy');

# The server's log is a witness.
like(slurp_file($node->logfile), qr/cdp: \d+ rows of the audit are sealed, head \Q$head\E/, 'the head is in the log');

done_testing();
