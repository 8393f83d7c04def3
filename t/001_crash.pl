# L8: what was acknowledged survives kill -9, once.
#
# Clients send messages one after the other and keep a journal of those that
# the server acknowledged, while it is killed under them: the postmaster with
# all its children, then one backend.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 4;
my $node = new_cluster('crash', conf => "restart_after_crash = on\nfull_page_writes = on\nsynchronous_commit = on\n");
my %acknowledged;
my %sent;

configure($node, 'postgres');

# Statement $i of a client: its SQL and the ids of its messages.
sub statement
{
	my ($round, $client, $i) = @_;
	my $kind = spread(5, $round, $client, $i);
	my $person = spread(60, 'p', $round, $client, $i);
	my $id = "r$round-c$client-$i";
	my $at = sprintf("2024-01-%02d %02d:00Z", 1 + spread(28, 'd', $id), spread(24, 'h', $id));

	return ("SELECT 'ack $id' FROM cdp.track('user_id:u$person', 'Viewed', '{\"n\": $i}', '$at', '$id');", $id) if $kind < 2;
	return ("SELECT 'ack $id' FROM cdp.identify('{user_id:u$person,email:e" . spread(60, 'e', $id) . "\@example.com}', '{\"city\": \"Kyoto\"}', '$at', '$id');", $id)
		if $kind == 2;
	return ("SELECT 'ack $id' FROM cdp.set_consent('user_id:u$person', 'analytics', '" . (spread(3, 'c', $id) ? 'granted' : 'withdrawn') . "', '$at', message_id => '$id');", $id)
		if $kind == 3;
	my @ids = map { "$id-$_" } 1 .. 3;
	my @docs = map { qq({"type": "track", "event": "Ordered", "messageId": "$_", "timestamp": "2024-02-03T04:05:06Z", "anonymousId": "a) .
		spread(60, 'a', $_) . qq(", "userId": "u$person"}) } @ids;
	return ("SELECT 'ack ' || message_id FROM cdp.ingest('[" . join(', ', @docs) . "]');", @ids);
}

# Runs the clients, calls $kill when $events are there, returns after recovery.
sub round
{
	my ($round, $kill) = @_;
	my (@running, %statements);
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM cdp.events');

	for my $client (1 .. $clients)
	{
		my @list = map { [ statement($round, $client, $_) ] } 1 .. 8000;

		$statements{$client} = \@list;
		push @running, start_client($node, 'postgres', join("\n", map { $_->[0] } @list));
	}
	$node->poll_query_until('postgres', "SELECT count(*) > $before + 300 FROM cdp.events") or die 'no events arrive';
	$kill->();
	my $in_flight = 0;
	for my $client (1 .. $clients)
	{
		my ($out, $err) = finish_client($running[ $client - 1 ]);
		my %seen = map { $_ => 1 } ($out =~ /^ack (\S+)$/mg);

		die "client $client had finished before the crash" if keys %seen > 7900;
		%acknowledged = (%acknowledged, %seen);
		for my $statement (@{ $statements{$client} })
		{
			my ($sql, @ids) = @$statement;

			$sent{$_} = $sql for @ids;
			next if $seen{ $ids[0] };
			$in_flight++;
			last;
		}
		like($err, qr/server closed the connection|connection to server was lost|terminating connection|crash of another server process/, "round $round: client $client was cut off");
	}
	ok($in_flight == $clients, "round $round: every client had a statement under way");
	return;
}

sub crash
{
	kill_cluster($node);
	$node->start;
}

sub crash_backend
{
	my ($pid) = split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid");

	kill 'KILL', $pid;
	# the others are told to leave; the postmaster starts anew
	for (1 .. 300)
	{
		my ($status, $out) = $node->psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'");
		return if $status == 0 && $out == 1;
		select(undef, undef, undef, 0.1);
	}
	die 'the cluster did not come back';
}

sub check
{
	my ($what) = @_;
	my $list = join "\n", sort keys %acknowledged;

	is($node->safe_psql('postgres', "CREATE TEMP TABLE ack (id text);\nCOPY ack FROM STDIN;\n$list\n\\.\n
		SELECT count(*) FROM (SELECT a.id FROM ack a LEFT JOIN (
			SELECT message_id AS id FROM cdp.events UNION ALL SELECT DISTINCT message_id FROM cdp.consent_log) m USING (id)
			GROUP BY a.id HAVING count(m.id) <> 1) x"), '0', "$what: each acknowledged message is there exactly once");
	is($node->safe_psql('postgres', "SELECT (SELECT sum(events) FROM cdp.profiles) = (SELECT count(*) FROM cdp.events),
		(SELECT count(*) = count(DISTINCT message_id) FROM cdp.events)"), 't|t', "$what: profiles count what is there, nothing is doubled");
	is(verdict($node), 'as recomputed', "$what: consistent");
}

round(1, \&crash);
check('postmaster killed');
round(2, \&crash);
check('postmaster killed again');
round(3, \&crash_backend);
check('backend killed');
cmp_ok(scalar(keys %acknowledged), '>', 500, 'many messages were acknowledged');

# Clients that do not know send again: accepted or duplicate, never doubled.
my %again;
$again{$_}++ for values %sent;
$node->safe_psql('postgres', join("\n", sort keys %again));
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM cdp.events) + (SELECT count(DISTINCT message_id) FROM cdp.consent_log)'),
	scalar(keys %sent), 'after sending all again each message is there once');
is(verdict($node), 'as recomputed', 'sent again: consistent');
is($node->safe_psql('postgres', "SELECT count(*) FROM cdp.rejected"), '0', 'nothing was refused');
$node->stop;
done_testing();
