# A long COPY into cdp.inbox as others see it: how far it is, while nothing of
# it is there yet; cancelled and sent again; with rows that cannot be taken,
# which wait until what they lacked is there and are taken then, once, however
# many sessions try.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpSession;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('inbox', conf => "synchronous_commit = off\n");
my $rows = 6000;
my $file = $node->basedir . '/events.ndjson';
my %why;

# One in 50 is no JSON, one in 60 names its person where nobody looks yet, one
# in 70 has an event that a CHECK refuses.
my @lines = map {
	my $who = $_ % 60 == 0 ? '"loyalty": {"card": "k' . $_ % 37 . '"}' : '"userId": "u' . $_ % 400 . '"';
	my $event = $_ == 4511 ? 'Halt' : $_ % 70 == 0 ? 'Cursed' : 'Seen';
	my $row = qq({"type": "track", "event": "$event", "messageId": "i$_", $who, "timestamp": "2025-01-01T00:00:00Z", "properties": {"text": "a \\"b\\" \\n c"}});

	$why{ $_ % 50 == 0 ? 'malformed_json' : $_ % 60 == 0 ? 'no_identifier' : $_ % 70 == 0 ? 'error' : 'taken' }++;
	($_ % 50 == 0 ? substr($row, 0, 30) . $_ : $row) . "\n"
} 1 .. $rows;
append_to_file($file, join('', @lines));
# a thousand rows are one batch, which deadlocks with nobody's
my @parts = map { "$file.$_" } 0 .. $rows / 1000 - 1;
append_to_file("$file." . int($_ / 1000), $lines[$_]) for 0 .. $#lines;
my ($copy, @copies) = map { "COPY cdp.inbox (payload) FROM '$_' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02');" } $file, @parts;

$node->safe_psql('postgres', q{
	CREATE FUNCTION halt() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN true; END $$;
	ALTER TABLE cdp_data.event ADD CONSTRAINT halting CHECK (name <> 'Halt' OR halt());
	ALTER TABLE cdp_data.event ADD CONSTRAINT nobody_foresaw CHECK (name <> 'Cursed')});

my $holder = CdpSession->new($node, 'postgres');
my $writer = CdpSession->new($node, 'postgres');
my $watcher = CdpSession->new($node, 'postgres');

# How far the writer is when it has come to the row that waits.
sub progress
{
	my @seen;

	for (1 .. 3000)
	{
		my (undef, $line) = $watcher->run("SELECT work, done, unit, bytes_total, bytes_done > 100000, pid = $writer->{backend}, role FROM cdp.progress;");

		chomp $line;
		$line =~ s/\n//g;
		push @seen, $line if $line ne '' && (!@seen || $line ne $seen[-1]);
		my (undef, $waits) = $watcher->run("SELECT 'waits' FROM pg_locks WHERE pid = $writer->{backend} AND locktype = 'advisory' AND NOT granted;");
		return @seen if $waits =~ /waits/;
		select(undef, undef, undef, 0.005);
	}
	die 'the COPY does not come to its row';
}

$holder->run('SELECT pg_advisory_lock(4711);');
$writer->send($copy);
my @seen = progress();
my $size = -s $file;
my $role = $node->safe_psql('postgres', 'SELECT current_user');
# four batches are through, and the thousandth row of the fifth brought it in
is($seen[-1], "inbox|4999|rows|$size|t|t|$role", 'of 6,000 rows almost five thousand are through when one in the fifth batch waits') or diag(join "\n", @seen);
cmp_ok(scalar(@seen), '>', 1, 'others saw it come along');
my @done = map { (split /\|/)[1] } @seen;
is_deeply(\@done, [ sort { $a <=> $b } @done ], 'it only grows');
is($node->safe_psql('postgres', 'SELECT count(*), (SELECT count(*) FROM cdp.rejected) FROM cdp.events'), '0|0', 'nothing of it is there yet');
is($node->safe_psql('postgres', "SELECT relid::regclass, bytes_processed > 0 FROM pg_stat_progress_copy"), 'cdp.inbox|t', 'and is seen where the server tells of COPY');

# Cancelled: nothing stays, and it can be sent again.
$watcher->run("SELECT pg_cancel_backend($writer->{backend});");
my ($ok, $answer) = $writer->receive;
is($ok, 0, 'cancelled');
like($answer, qr/canceling statement due to user request/, 'it says so');
is($node->safe_psql('postgres', 'SELECT count(*), (SELECT count(*) FROM cdp.rejected), (SELECT count(*) FROM cdp_data.identifier), (SELECT count(*) FROM cdp_data.message_seen) FROM cdp.events'),
	'0|0|0|0', 'nothing stays');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.progress'), '0', 'nobody is seen at work');
$writer->send($copy);
progress();
$holder->run('SELECT pg_advisory_unlock(4711);');
($ok, $answer) = $writer->receive;
is($ok, 1, 'sent again it is taken') or diag($answer);

sub counts
{
	return $node->safe_psql('postgres', "SELECT string_agg(reason || ' ' || n, ', ' ORDER BY reason) FROM (SELECT reason, count(*) AS n FROM cdp.rejected GROUP BY reason
		UNION ALL SELECT 'taken', count(*) FROM cdp.events) x");
}
is(counts(), join(', ', map { "$_ $why{$_}" } sort keys %why), 'each row that could not be taken is refused for its reason, the others are there');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cdp.rejected WHERE reason = 'malformed_json' AND payload #>> '{}' !~ '^\{"type": "track", "event": "(Se|Cu|Ha)\d+$'}),
	'0', 'what is no JSON is kept as text');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cdp.events WHERE properties->>'text' <> E'a "b" \n c'}), '0', 'JSON is what it was');

# The reasons go away one by one, while the file comes once more and several sessions try again.
$node->safe_psql('postgres', q{ALTER TABLE cdp_data.event DROP CONSTRAINT nobody_foresaw;
	INSERT INTO cdp_data.identifier_path (path, namespace) VALUES ('loyalty.card', 'card')});
my @running = ((map { start_client($node, 'postgres', "SET client_min_messages = warning;\nSELECT status, messages FROM cdp.retry_rejected(reason => '$_');\n" x 2) } qw(no_identifier error no_identifier)),
	start_client($node, 'postgres', join("\n", 'SET client_min_messages = warning;', @copies)));
for my $run (@running)
{
	my (undef, $err) = finish_client($run);

	is($err, '', 'retried, and sent at the same time');
}
$node->safe_psql('postgres', 'SELECT * FROM cdp.retry_rejected()');
# what is no JSON has no id, and was refused once more
is(counts(), 'malformed_json ' . 2 * $why{malformed_json} . ', taken ' . ($rows - $why{malformed_json}), 'what was refused is there, once');
is($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT message_id) FROM cdp.events'), '0', 'nothing is there twice');
is($node->safe_psql('postgres', "SELECT count(*) FROM cdp.identifiers WHERE namespace = 'card'"), '37', 'by what names them now');

# The text is mended.
$node->safe_psql('postgres', q{UPDATE cdp_data.rejected SET payload = to_jsonb(format('{"type": "track", "event": "Seen", "messageId": "i%s", "userId": "mended"}',
	substring(payload #>> '{}' FROM '\d+$')))});
is($node->safe_psql('postgres', 'SELECT status, messages FROM cdp.retry_rejected() ORDER BY status'),
	"accepted|$why{malformed_json}\nduplicate|$why{malformed_json}\nrejected|0", 'mended it is taken, once');
is(counts(), "taken $rows", 'all of it is there');

# What cannot be taken comes again and again, from several sessions, while others
# retry it: each waits for the other's refusals in one order.
my @bad = map { qq({"type": "track", "messageId": "bad$_", "userId": "u1"}) } 1 .. 200;
my $send = sub {
	my ($k) = @_;
	my @docs = sort { spread(1000, $k, $a) <=> spread(1000, $k, $b) } @bad;

	return "SELECT count(*) FROM cdp.ingest('[" . join(', ', @docs) . "]', 'again');\n";
};
$node->safe_psql('postgres', $send->(0));
@running = ((map { my $s = $_; start_client($node, 'postgres', join('', map { $send->($s * 100 + $_) } 1 .. 40)) } 1 .. 2),
	(map { start_client($node, 'postgres', "SELECT * FROM cdp.retry_rejected(source => 'again');\n" x 40) } 1 .. 2));
for my $run (@running)
{
	my (undef, $err) = finish_client($run);

	is($err, '', 'refused and retried at the same time');
}
is($node->safe_psql('postgres', "SELECT count(*), min(times) = max(times), min(times) FROM cdp.rejected WHERE source = 'again'"), '200|t|161', 'each refusal is counted');

# Rows of an application whose mapping fails: they are the application's, and are read again.
$node->safe_psql('postgres', q{CREATE TABLE shop (id int PRIMARY KEY, customer text, total int);
	SELECT cdp.attach('shop', '{"event": "Order", "identifiers": {"user_id": "customer"}, "properties": ["total"]}', source => 'shop');
	INSERT INTO shop VALUES (1, 'u1', 5);
	ALTER TABLE shop RENAME COLUMN total TO amount;
	INSERT INTO shop VALUES (2, 'u2', 6), (3, 'u3', 7)});
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM shop), (SELECT count(*) FROM cdp.events WHERE source = 'shop'), reason, count(*) FROM cdp.rejected WHERE source = 'shop' GROUP BY reason"),
	'3|1|mapping_error|2', 'the write stands, and its rows are refused as the mapping\'s error');
is($node->safe_psql('postgres', "SELECT string_agg(status || messages, ' ') FROM cdp.retry_rejected(reason => 'mapping_error')"), 'accepted0 duplicate0 rejected2', 'while the mapping fails they stay');
$node->safe_psql('postgres', q{SELECT cdp.attach('shop', '{"event": "Order", "identifiers": {"user_id": "customer"}, "properties": {"total": "amount"}}', source => 'shop', backfill => true)});
is($node->safe_psql('postgres', "SELECT string_agg(status || messages, ' ') FROM cdp.retry_rejected(source => 'shop', max => 1)"), 'accepted1 duplicate0 rejected0', 'once it is mended they are taken');
$node->safe_psql('postgres', 'CALL cdp.maintain()');
is($node->safe_psql('postgres', "SELECT string_agg(properties->>'total', ' ' ORDER BY properties->>'total') FROM cdp.events WHERE source = 'shop'"), '5 6 7', 'attached anew they are read again, each once');
is($node->safe_psql('postgres', "SELECT string_agg(status || messages, ' ') FROM cdp.retry_rejected(source => 'shop')"), 'accepted0 duplicate1 rejected0', 'what was read again is not taken twice');
is(broken_invariants($node), '', 'what holds always holds');
is($node->safe_psql('postgres', 'SELECT * FROM cdp.verify()'), '', 'everybody is as recomputed');
$_->close for $holder, $writer, $watcher;
$node->stop;
done_testing();
