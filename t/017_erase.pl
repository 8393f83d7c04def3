# Somebody is erased: nothing of her is left in tables, statistics and files; she
# does not come back by who writes beside it, nor with an older backup.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpSession;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('erase', conf => "deadlock_timeout = '100ms'\nmax_prepared_transactions = 5\nlog_lock_waits = on\n");

sub value
{
	my ($sql, $database) = @_;

	return $node->safe_psql($database // 'postgres', $sql);
}

# Tables whose rows have the mark, of all that are there; and what statistics say.
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.found(pattern text) RETURNS TABLE (tbl text) LANGUAGE plpgsql AS $$
	DECLARE
		t record;
		n bigint;
	BEGIN
		FOR t IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace IN ('cdp_data'::regnamespace, 'cdp'::regnamespace) AND c.relkind = 'r' ORDER BY 1 LOOP
			-- binary columns, too
			EXECUTE format('SELECT count(*) FROM %s t WHERE t::text ~* $1 OR t::text ~* $2', t.name) INTO n USING pattern, encode(convert_to(pattern, 'UTF8'), 'hex');
			IF n > 0 THEN
				tbl := t.name;
				RETURN NEXT;
			END IF;
		END LOOP;
		FOR t IN SELECT s.starelid::regclass AS name, stavalues1, stavalues2, stavalues3, stavalues4, stavalues5 FROM pg_statistic s JOIN pg_class c ON c.oid = s.starelid AND c.relnamespace = 'cdp_data'::regnamespace LOOP
			IF t::text ~* pattern THEN
				tbl := 'statistics of ' || t.name;
				RETURN NEXT;
			END IF;
		END LOOP;
	END $$;
});

# Files of the database that have the mark.
sub files
{
	my ($mark) = @_;
	my $dir = $node->data_dir . '/base/' . value("SELECT oid FROM pg_database WHERE datname = 'postgres'");

	$node->safe_psql('postgres', 'CHECKPOINT');
	my %name = map { split /=/ } split /\n/, value('SELECT pg_relation_filenode(oid) || \'=\' || oid::regclass FROM pg_class WHERE pg_relation_filenode(oid) IS NOT NULL');
	my @found;
	for my $file (sort glob "$dir/[0-9]*")
	{
		next unless slurp_file($file) =~ /$mark/i;
		my ($number) = $file =~ m{/(\d+)[^/]*$};
		push @found, $name{$number} // $file;
	}
	return @found;
}

#
# A mark wherever somebody can leave one
#
my $mark = 'qzjxwvk';
$node->safe_psql('postgres', qq{
	SELECT cdp.define_namespace('user_id', max_per_profile => 2);
	SELECT cdp.define_trait('city'), cdp.define_trait('store', survivorship => 'most_frequent'), cdp.define_trait('tags', survivorship => 'union');
	SELECT cdp.define_purpose('marketing');
	SELECT cdp.set_session('30 minutes');
	SELECT cdp.define_metric('skus', 'Order', 'list', 'sku'), cdp.define_metric('top', 'Order', 'most_frequent', 'sku'), cdp.define_metric('last_sku', 'Order', 'last', 'sku');
	SELECT cdp.define_action('Order', 1), cdp.define_dimension('brand');
	SELECT cdp.define_sequence('unpaid', 'Order', 'Paid', same => 'sku', period => '5 days', result => 'list');
	SELECT cdp.define_segment('kyoto', predicate => 'city like ''Kyoto%'''), cdp.define_segment('failing', predicate => '(traits->>''number'')::int > 3');
	SELECT cdp.define_activation('kyoto', 'email', 'marketing');
	SELECT cdp.define_event('Strict', '{"properties": {"n": {"type": "number"}}}', 'flag');
	CREATE TABLE public.shop (id text PRIMARY KEY, email text, note text, at text);
	SELECT cdp.attach('public.shop', '{"type": "track", "event": "Bought", "identifiers": {"email": "email"}, "properties": ["note"], "time": "at"}');
	CREATE TABLE public.later (id text PRIMARY KEY, email text, note text);
	SELECT cdp.attach('public.later', '{"type": "track", "event": "Later", "identifiers": {"email": "email"}, "properties": ["note"]}', deferred => true);
});
my $mail = "$mark\@example.com";
sub life
{
	my ($database) = @_;

	$node->safe_psql($database, qq{
		SET client_min_messages = error;
		SELECT cdp.identify('{email:$mail,user_id:$mark-u}', '{"city": "Kyoto $mark", "store": "$mark store", "tags": ["$mark tag"], "nick": {"deep": ["$mark"]}, "$mark key": 1, "number": "$mark number"}', now() - interval '50 days', '$mark-1');
		SELECT count(cdp.identify('user_id:$mark-u', jsonb_build_object('store', '$mark ' || i), now() - interval '20 days' + i * interval '1 minute', '$mark-s' || i)) FROM generate_series(1, 300) i;
		SELECT count(cdp.track('user_id:$mark-u', 'Order', jsonb_build_object('sku', '$mark-' || i, 'brand', '$mark brand', 'note', repeat('$mark ', 300)), now() - i * interval '1 day', '$mark-o' || i)) FROM generate_series(1, 60) i;
		SELECT count(*) FROM cdp.ingest('{"type": "page", "name": "$mark page", "userId": "$mark-u", "anonymousId": "$mark-anon", "messageId": "$mark-p", "context": {"page": {"path": "/$mark"}, "campaign": {"name": "$mark"}, "ip": "$mark"}, "odd": "$mark"}');
		SELECT count(*) FROM cdp.ingest(jsonb_build_object('type', 'page', 'userId', '$mark-u', 'messageId', '$mark-pp', 'timestamp', now() - interval '45 days', 'context', '{"page": {"path": "/$mark"}}'::jsonb));
		SELECT cdp.track('user_id:$mark-u', 'Strict', '{"n": "$mark"}', message_id => '$mark-strict');
		SELECT cdp.set_consent('email:$mail', 'marketing', 'granted', message_id => '$mark-c');
		SELECT cdp.identify('user_id:$mark-v', '{"city": "Kyoto"}'), cdp.merge('{user_id:$mark-v,email:$mail}', '$mark reason', override => true);
		SELECT cdp.track('{email:$mail,cookie:shared}', 'Seen'), cdp.unlink('email:$mail', 'cookie:shared', '$mark said no');
		SELECT count(*) FROM cdp.ingest('[{"type": "trick", "userId": "$mark-u", "messageId": "$mark-bad", "traits": {"a": "$mark"}}, {"type": "identify", "userId": "$mark-u", "messageId": "$mark-misfit", "traits": {"city": ["$mark"]}}]');
		INSERT INTO public.shop VALUES ('$mark-1', '$mail', '$mark', now()::text), ('$mark-2', '$mail', '$mark', 'no time');
		INSERT INTO public.later VALUES ('$mark-3', '$mail', '$mark');
		SELECT cdp.import_audience('panel', \$\$SELECT 'email:$mail' UNION ALL SELECT 'email:else\@example.com'\$\$, 'partner');
		SELECT cdp.identify('{email:else\@example.com,user_id:else,user_id:else2}', '{"city": "Kyoto", "number": "4"}');
		SELECT cdp.track('{user_id:else,email:$mail}', 'Lent');
		SELECT count(*) FROM cdp.claim('email');
	});
}
life('postgres');
$node->safe_psql('postgres', q{
	SELECT count(cdp.track('user_id:o' || i % 20, 'Order', jsonb_build_object('sku', 's' || i, 'brand', 'b' || i % 3))) FROM generate_series(1, 100) i;
	SELECT cdp.set_retention('30 days');
	CALL cdp.maintain();
	UPDATE cdp_data.task SET updated_at = NULL WHERE kind = 'dimension_base';
	CALL cdp.maintain();
});
$node->safe_psql('postgres', "INSERT INTO public.later VALUES ('$mark-4', '$mail', '$mark'); ANALYZE;");
my @before = split /\n/, value("SELECT * FROM public.found('$mark')");
cmp_ok(scalar @before, '>', 25, 'the mark is everywhere: ' . join ' ', @before);
ok(scalar(grep { /^statistics/ } @before), 'in statistics, too');
# each table of the catalogue whose rows she may have, or the test would say nothing of it
my %met = map { s/^cdp_data\.//r => 1 } @before;
is_deeply([ grep { !$met{$_} } qw(identifier identity_edge identity_merge identity_separation profile trait_tally session_part sequence_mark metric_state node_base node_base_trait
	node_base_session node_base_mark consent_log rejected captured tracking_violation list_identifier dimension_base data_map) ], [], 'wherever a text of hers can be');
my $else = value("SELECT to_jsonb(p) - 'last_seen' FROM cdp.profiles p WHERE identifiers->'user_id' ? 'else'");
command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/older', $node->connstr('postgres') ], 'a backup of before');

#
# Erased
#
my $receipt = value("SELECT cdp.erase_subject('email:$mail', false)");
note($receipt);
$node->safe_psql('postgres', 'CALL cdp.maintain(); CALL cdp.maintain();');
is(value("SELECT * FROM public.found('$mark')"), '', 'nothing is found in tables and statistics');
is(broken_invariants($node), '', 'what holds always holds');
is(value('SELECT * FROM cdp.verify()'), '', 'everybody is as recomputed');
is(value("SELECT to_jsonb(p) - 'last_seen' FROM cdp.profiles p WHERE identifiers->'user_id' ? 'else'"), $else, 'who was named with her is as before');
is(value("SELECT count(*) FROM cdp.segment_members WHERE segment = 'panel'"), '1', 'and on the list');

# under her own words
my ($code, $out, $err) = $node->psql('postgres', "INSERT INTO public.shop VALUES ('$mark-9', '$mail', '$mark', now()::text); INSERT INTO public.later VALUES ('$mark-9', '$mail', '$mark'); CALL cdp.maintain()");
life_again();
is(value("SELECT * FROM public.found('$mark')"), '', 'nor after all of it was delivered again');
cmp_ok(value('SELECT sum(times) FROM cdp.refused_returns'), '>', 0, 'which was counted');

sub life_again
{
	# statement by statement: those about her alone fail
	for my $sql ("SELECT cdp.identify('{email:$mail,user_id:$mark-u}', '{\"city\": \"$mark\"}')", "SELECT cdp.track('anonymous_id:$mark-anon', 'x')", "SELECT cdp.set_consent('user_id:$mark-v', 'marketing', 'granted')",
		"SELECT count(*) FROM cdp.ingest('[{\"type\": \"track\", \"event\": \"$mark\", \"userId\": \"$mark-u\"}, {\"type\": \"trick\", \"userId\": \"$mark-u\"}, {\"type\": \"track\", \"userId\": \"$mark-v\"}]')",
		"SELECT cdp.import_audience('panel', \$\$SELECT 'email:$mail' UNION ALL SELECT 'email:else\@example.com'\$\$, 'partner')",
		"SELECT * FROM cdp.ingest_edges(\$\$SELECT 'email:$mail', 'user_id:else'\$\$, 'edges')")
	{
		$node->psql('postgres', $sql);
	}
	return;
}

#
# The files
#
$node->safe_psql('postgres', 'VACUUM');
my @old = files($mark);
note("files before scrub: @old");
# who sees what was is waited for
my $reader = CdpSession->new($node, 'postgres');
$node->safe_psql('postgres', "DROP TABLE public.shop, public.later");
$reader->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM cdp.profiles;');
value("SELECT cdp.identify('user_id:tmp$mark', '{}')");
value("SELECT cdp.erase_subject('user_id:tmp$mark', false)");
($code, $out, $err) = $node->psql('postgres', 'CALL cdp.scrub()');
like($err, qr/is not rewritten/, 'tables that somebody still reads as they were are not rewritten');
cmp_ok(value('SELECT count(*) FROM cdp_data.scrub_due'), '>', 0, 'and stay to be done');
$reader->run('COMMIT;');
$node->safe_psql('postgres', 'CALL cdp.scrub()');
is(value('SELECT count(*) FROM cdp_data.scrub_due'), '0', 'all is rewritten');
is(join(' ', files($mark)), '', 'no file has the mark');
is(value('SELECT * FROM cdp.verify()'), '', 'everybody is as recomputed');

#
# An older backup
#
my $list = value('SELECT cdp.erasure_list()');
$node->safe_psql('postgres', 'CREATE DATABASE older TEMPLATE template0');
command_ok([ 'pg_restore', '-d', $node->connstr('older'), $node->basedir . '/older' ], 'restored');
$node->safe_psql('older', 'DROP TABLE public.shop, public.later');
isnt(value("SELECT * FROM public.found('$mark')", 'older'), '', 'she is there again');
like(value("SELECT outcome FROM cdp.reapply_erasures('$list')", 'older'), qr/erased/, 'and erased again');
$node->safe_psql('older', 'CALL cdp.maintain(); CALL cdp.maintain();');
is(value("SELECT * FROM public.found('$mark')", 'older'), '', 'nothing of her is left');
is(value("SELECT status FROM cdp.ingest('{\"type\": \"track\", \"event\": \"x\", \"userId\": \"$mark-u\"}')", 'older'), 'rejected', 'she is refused there, too');
is(broken_invariants($node, 'older'), '', 'what holds always holds');

#
# Beside others
#
my $a = CdpSession->new($node, 'postgres');
my $b = CdpSession->new($node, 'postgres');
sub waits
{
	return $node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = $_[0]{backend} AND wait_event_type = 'Lock'");
}

value("SELECT cdp.identify('{email:eve\@example.com,user_id:eve}', '{}')");
$a->run("BEGIN; SELECT cdp.erase_subject('user_id:eve', false);");
$b->send("SELECT cdp.track('{email:eve\@example.com,cookie:evenew}', 'Late');");
ok(waits($b), 'who names her waits');
$a->run('COMMIT;');
my ($ok, $answer) = $b->receive;
like($answer, qr/erased/, 'and is refused');
is(value("SELECT * FROM public.found('eve@|evenew')"), '', 'nothing of it is there');

value("SELECT cdp.identify('{email:fay\@example.com,user_id:fay}', '{}')");
$b->run("BEGIN; SELECT cdp.identify('{email:fay\@example.com,cookie:fayscookie}', '{\"nick\": \"fayola\"}');");
$a->send("SELECT cdp.erase_subject('user_id:fay', false)->'deleted'->'event';");
ok(waits($a), 'an erasure waits for who writes her');
$b->run('COMMIT;');
($ok, $answer) = $a->receive;
like($answer, qr/^2$/m, 'and takes what was written');
is(value("SELECT * FROM public.found('fay')"), '', 'nothing is left');

value("SELECT cdp.identify('{email:gil\@example.com,user_id:gil}', '{}'), cdp.identify('{email:hal\@example.com,user_id:hal}', '{}')");
value("SELECT cdp.define_namespace('user_id', max_per_profile => 0)");
$b->run("BEGIN; SELECT cdp.merge('{email:gil\@example.com,email:hal\@example.com}', 'one');");
$a->send("SELECT cdp.erase_subject('user_id:gil', false)->'deleted'->'identifier';");
waits($a);
$b->run('COMMIT;');
($ok, $answer) = $a->receive;
like($answer, qr/^4$/m, 'whom she was merged with meanwhile is she');
$_->close for $a, $b, $reader;

# At random: three write and link, one erases.
my $people = 12;
my @clients = map {
	my $n = $_;
	start_client($node, 'postgres', "SET client_min_messages = error;\n" . join '', map {
		my ($x, $y, $what) = (spread($people, $n, $_, 'x'), spread($people, $n, $_, 'y'), spread(5, $n, $_, 'what'));
		$what == 0 ? "SELECT cdp.merge('{user_id:r$x,user_id:r$y}', 'so', override => true);\n"
			: $what == 1 ? "SELECT cdp.unmerge(m.merge_id) FROM cdp.merges m WHERE m.undone_at IS NULL ORDER BY m.merge_id DESC LIMIT 1;\n"
			: $what == 2 ? "SELECT cdp.set_consent('user_id:r$x', 'marketing', 'granted');\n"
			: "SELECT cdp.track('{user_id:r$x,cookie:k$x.$n}', 'Order', '{\"sku\": \"s$n\"}');\n"
	} 1 .. 200)
} 1 .. 3;
my $eraser = start_client($node, 'postgres', "SET client_min_messages = error;\n" . join '', map { "SELECT cdp.erase_subject('user_id:r" . spread($people, 'erase', $_) . "', false)->'erasure_id';\n" . ($_ % 2 ? "DELETE FROM cdp_data.suppression;\n" : '') . "SELECT pg_sleep(0.02);\n" } 1 .. 60);
my $said = '';
for my $client (@clients, $eraser)
{
	my ($out, $err) = finish_client($client);
	$said .= $err;
}
cmp_ok(value('SELECT count(*) FROM cdp.erasures'), '>', 10, 'some were erased');
unlike($said, qr/deadlock|not locked|could not (?!merge)|XX000|is gone/, 'nobody met anybody in a circle');
is(broken_invariants($node), '', 'what holds always holds');
is(value('SELECT * FROM cdp.verify()'), '', 'everybody is as recomputed');

done_testing();
