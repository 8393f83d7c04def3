# Identity under concurrency: many sessions see, merge, track and consent over
# a small pool of identifiers.  No call deadlocks or fails, and the people are
# the components of what was acknowledged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sessions = 8;
my $calls = 500;
my $node = new_cluster('concurrency', conf => "synchronous_commit = off\ndeadlock_timeout = '100ms'\n");
my %named;

configure($node, 'postgres');

# Twenty people whom everybody meets and four hundred others.
sub somebody
{
	return spread(2, 'hot', @_) ? spread(20, @_) : 20 + spread(400, @_);
}

# Several identifiers of one person; few messages name a stranger's.
sub idents
{
	my ($n, $id) = @_;
	my $person = somebody('person', $id);
	my %set;

	for my $i (1 .. $n)
	{
		my $p = spread(60, 'stranger', $id, $i) ? $person : somebody('other', $id, $i);

		$set{ (qw(user_id:u email:e phone:+819000000 anonymous_id:a))[ spread(4, 'ns', $id, $i) ] . (100 + $p) } = 1;
	}
	return sort { spread(1000, $id, $a) <=> spread(1000, $id, $b) } keys %set;
}

sub call
{
	my ($session, $i) = @_;
	my $id = "s$session-$i";
	my $kind = spread(20, 'kind', $id);
	my $at = sprintf("20%02d-%02d-03 %02d:00Z", 15 + spread(9, 'y', $id), 1 + spread(12, 'm', $id), spread(24, 'h', $id));
	my @who = idents(1 + spread(4, 'n', $id), $id);
	my $who = "ARRAY[" . join(', ', map { "'$_'" } @who) . "]";

	if ($kind < 6)
	{
		$named{$id} = \@who;
		return "SELECT 'ack $id' FROM cdp.identify($who, '{\"city\": \"" . (qw(Kyoto Nara))[ spread(2, 'city', $id) ] . "\", \"n\": $i}', '$at', '$id');";
	}
	if ($kind < 12)
	{
		$named{$id} = \@who;
		return "SELECT 'ack $id' FROM cdp.track($who, 'Viewed', '{}', '$at', '$id');";
	}
	if ($kind < 14)
	{
		$named{$id} = \@who;
		return "SELECT 'ack $id' FROM cdp.set_consent($who, 'marketing', '" . (qw(granted granted granted withdrawn))[ spread(4, 'c', $id) ] . "', '$at', message_id => '$id');";
	}
	if ($kind < 18)
	{
		my @docs;

		for my $k (1 .. 1 + spread(12, 'size', $id))
		{
			# the messages of a batch may come from another session as well
			my $mid = spread(3, 'shared', $id, $k) ? "$id-$k" : 'shared-' . spread(200, 'which', $id, $k);
			my @those = idents(1 + spread(3, 'n', $mid), $mid);

			$named{$mid} = \@those;
			push @docs, qq({"type": "track", "event": "Ordered", "messageId": "$mid", "timestamp": "2024-01-01T00:00:00Z", "context": {"externalIds": [)
				. join(', ', map { /^(\w+):(.*)/; qq({"type": "$1", "id": "$2"}) } @those) . ']}}';
		}
		return "SELECT 'ack ' || message_id FROM cdp.ingest('[" . join(', ', @docs) . "]') WHERE status <> 'rejected';";
	}
	return "SELECT count(*) FROM cdp.claim('email', 5);" if $kind == 18;
	return "SELECT cdp.ack(ARRAY(SELECT delivery_id FROM cdp.outbox WHERE state = 'leased' ORDER BY md5(delivery_id::text || '$id') LIMIT 5));";
}

my @running = map { my $s = $_; start_client($node, 'postgres', join("\n", map { call($s, $_) } 1 .. $calls)) } 1 .. $sessions;
my %acknowledged;
for my $s (1 .. $sessions)
{
	my ($out, $err) = finish_client($running[ $s - 1 ]);

	is($err, '', "session $s had no error");
	$acknowledged{$_} = 1 for $out =~ /^ack (\S+)$/mg;
}
is(scalar(keys %acknowledged), scalar(keys %named), 'every message was acknowledged');
unlike(slurp_file($node->logfile), qr/deadlock detected|PANIC|TRAP|terminated by signal/, 'no deadlock, no crash');

# Components by union-find over what was acknowledged.
my %parent;
sub find
{
	my ($x) = @_;

	$parent{$x} //= $x;
	while ($parent{$x} ne $x)
	{
		$parent{$x} = $parent{ $parent{$x} };
		$x = $parent{$x};
	}
	return $x;
}
for my $id (keys %acknowledged)
{
	my ($first, @rest) = map { find($_) } @{ $named{$id} };

	for my $other (@rest)
	{
		my ($a, $b) = (find($first), find($other));
		$parent{$a} = $b if $a ne $b;
	}
}
my %people;
push @{ $people{ find($_) } }, $_ for keys %parent;
my @expected = sort map { join ' ', sort @$_ } values %people;
my @found = sort split /\n/, $node->safe_psql('postgres',
	q{SELECT string_agg(namespace || ':' || value, ' ' ORDER BY (namespace || ':' || value) COLLATE "C") FROM cdp.identifiers GROUP BY profile_id});
is_deeply(\@found, \@expected, 'the people are the components of the acknowledged messages');
cmp_ok(scalar(@expected), '>', 20, 'there are several people (' . scalar(@expected) . ')');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.merged_profiles'), '>', 20, 'many merges took place');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.outbox'), '>', 5, 'there were deliveries');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM cdp.events) + (SELECT count(DISTINCT message_id) FROM cdp.consent_log)'),
	scalar(keys %named), 'each message is there once');
is(verdict($node), 'as recomputed', 'consistent');
is(broken_invariants($node), '', 'what holds always holds');

# Eight sessions write one hub, out of order: everybody is overtaken by others
# again and again.  First without limits, then with the limit of the defaults,
# where the component is resolved again, then with one that the newest takes.
my $n = 400;
my @storms = (
	[ 'no limit', "SELECT cdp.define_namespace('*', max_per_profile => 0)", q{ARRAY['email:hub@example.com', 'cookie:c%d']}, $n + 1 . '|1' ],
	[ 'a limit', "SELECT cdp.define_namespace('*', max_per_profile => 20)", q{ARRAY['email:hub@example.com', 'cookie:c%d']}, '21|' . ($n - 19) ],
	[ 'newest wins', "SELECT cdp.define_namespace('user_id', max_per_profile => 1, on_conflict => 'newest_wins')",
		q{ARRAY['user_id:u%d', 'device_id:shared']}, "2|$n" ]);

for (@storms)
{
	my ($storm, $rules, $who, $people) = @$_;

	$node->safe_psql('postgres', "CALL truth.reset(); $rules");
	@running = ();
	for my $s (0 .. $sessions - 1)
	{
		my $sql = '';

		for (my $i = $s; $i < $n; $i += $sessions)
		{
			$sql .= sprintf("SELECT 'ack $i' FROM cdp.track($who, 'Seen', at => timestamptz '2024-01-01 00:00Z' + %d * interval '1 minute', message_id => 'h%d');\n",
				$i, $i * 7919 % $n, $i);
		}
		push @running, start_client($node, 'postgres', $sql);
	}
	my $failed = '';
	my $calls_back = 0;
	for my $run (@running)
	{
		my ($out, $err) = finish_client($run);

		$failed .= $err;
		$calls_back += () = $out =~ /^ack /mg;
	}
	is($failed, '', "$storm: no call to the hub failed");
	is($calls_back, $n, "$storm: every call came back");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.events'), $n, "$storm: each message is there once");
	is($node->safe_psql('postgres', 'SELECT max(c), count(*) FROM (SELECT count(*) AS c FROM cdp_data.node GROUP BY profile_id) x'),
		$people, "$storm: the hub is whose it should be");
	is(broken_invariants($node), '', "$storm: what holds always holds");
	is($node->safe_psql('postgres', 'SELECT * FROM cdp.verify() LIMIT 5'), '', "$storm: everybody is as recomputed");
}
$node->stop;
done_testing();
