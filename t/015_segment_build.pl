# Segments built in the background while six sessions write, and the server is
# killed: what is in force answers until the new is complete, and what comes
# then is what the rule says of everybody, whoever was changed meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{HISTORY_SEED} || int(rand(1000000));
my $node = new_cluster('segment_build', conf => "synchronous_commit = on\nrestart_after_crash = on\ndeadlock_timeout = '100ms'\n");
my $people = 8000;

note("seed $seed");
$node->safe_psql('postgres', qq{
	SELECT cdp.define_trait('score', 'bigint'), cdp.define_trait('town'), cdp.define_trait('seen_at', 'timestamptz');
	SELECT count(*) FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'm' || i, 'userId', 'u' || i,
		'traits', jsonb_build_object('score', i % 100, 'town', (ARRAY['Kyoto', 'Nara'])[1 + i % 2], 'seen_at', clock_timestamp() - i % 20 * interval '1 second'))))
		FROM generate_series(1, $people) i));
	SELECT cdp.define_segment('high', predicate => 'score >= 50');
	SELECT cdp.define_segment('high in nara', predicate => 'town = ''Nara'' AND cdp.in_segment(''high'')');
	CREATE FUNCTION life(seed float8, n int) RETURNS void LANGUAGE plpgsql AS \$\$
	DECLARE
		a text;
		b text;
	BEGIN
		a := 'user_id:u' || 1 + floor(random() * ($people + 500))::int;
		b := 'user_id:u' || 1 + floor(random() * ($people + 500))::int;
		CASE floor(random() * 5)
		WHEN 0 THEN PERFORM cdp.identify(a, jsonb_build_object('score', floor(random() * 100)));
		WHEN 1 THEN PERFORM cdp.identify(a, jsonb_build_object('town', (ARRAY['Kyoto', 'Nara'])[1 + floor(random() * 2)::int]));
		WHEN 2 THEN PERFORM cdp.identify(a, jsonb_build_object('seen_at', clock_timestamp() - random() * interval '4 seconds'));
		WHEN 3 THEN PERFORM cdp.identify(ARRAY[a, b], jsonb_build_object('score', floor(random() * 100)));
		ELSE PERFORM cdp.unmerge(m.merge_id) FROM (SELECT merge_id FROM cdp.merges WHERE undone_at IS NULL ORDER BY random() LIMIT 1) m;
		END CASE;
	EXCEPTION WHEN object_not_in_prerequisite_state OR undefined_object THEN NULL; -- somebody else has undone it
	END \$\$;
	CREATE FUNCTION wrong(r text, VARIADIC names text[]) RETURNS bigint LANGUAGE plpgsql AS \$\$
	DECLARE
		n bigint := 0;
		more bigint;
	BEGIN
		FOR i IN 1..cardinality(names) / 2 LOOP
			EXECUTE format('SELECT count(*) FROM (SELECT p.profile_id, (%2\$s) IS TRUE AS truth, %1\$L = ANY (p.segments) AS listed,
				p.profile_id IN (SELECT m.profile_id FROM cdp.segment_members m WHERE m.segment = %1\$L) AS member,
				p.profile_id IN (SELECT m.profile_id FROM cdp.members(quote_ident(%1\$L)) m) AS found FROM cdp.profiles p) x
				WHERE x.truth <> x.listed OR x.truth <> x.member OR x.truth <> x.found', names[2 * i - 1], names[2 * i]) INTO more;
			n := n + more;
		END LOOP;
		RETURN n;
	END \$\$});

# Rounds of sessions that write until the build is through.
sub writers
{
	my ($n) = @_;

	return map { start_client($node, 'postgres', "SELECT setseed(" . ($_ + $seed % 100) / 1000 . ");\n" . "SELECT life(0, 1);\n" x $n) } 1 .. 5;
}

sub finish
{
	my $errors = '';

	for my $client (@_)
	{
		my (undef, $err) = finish_client($client);

		$errors .= $err;
	}
	return $errors;
}

sub is_building
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM cdp_data.segment_build') > 0;
}

my @old = ('high', 'score >= 50', 'high in nara', "town = 'Nara' AND score >= 50");
my @new = ('high', 'score BETWEEN 20 AND 70', 'high in nara', "town = 'Nara' AND score BETWEEN 20 AND 70", 'fresh', "cdp.within(seen_at, '3 seconds')", 'fresh high',
	"cdp.within(seen_at, '3 seconds') AND score BETWEEN 20 AND 70");
my $names = sub { return join ', ', map { my $x = $_; $x =~ s/'/''/g; "'$x'" } @_ };

# Defined while they write; their transactions are under way.
my @clients = writers(120);
$node->safe_psql('postgres', q{SELECT cdp.define_segment('high', predicate => 'score BETWEEN 20 AND 70', background => true)});
$node->safe_psql('postgres', q{SELECT cdp.define_segment('fresh', predicate => 'cdp.within(seen_at, ''3 seconds'')', background => true)});
$node->safe_psql('postgres', q{SELECT cdp.define_segment('fresh high', rule => '{"$and": [{"profile_id": {"$inGroup": "high"}}, {"profile_id": {"$inGroup": "fresh"}}]}', background => true)});
my $steps = 0;
my $wrong = 0;
while (is_building() && $steps < 200)
{
	$node->safe_psql('postgres', 'CALL cdp.maintain(0)');
	my ($n, $building) = split /\|/, $node->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT wrong('', " . $names->(@old) . "), (SELECT count(*) FROM cdp_data.segment_build); COMMIT");

	$wrong += $n if $building > 0;
	$steps++;
	last if $steps == 4;
}
ok(is_building(), 'people are still looked at');
is($wrong, 0, 'meanwhile the old rules answer, to everybody');
is(finish(@clients), '', 'no writer had an error');

# Killed in the middle of a step, with writers under way.
@clients = writers(60);
my @maintain = map { start_client($node, 'postgres', "CALL cdp.maintain(20);\n") } 1 .. 2;
select(undef, undef, undef, 0.15);
my $done = $node->safe_psql('postgres', "SELECT coalesce(nullif(position, '\"through\"')::bigint, 0) FROM cdp_data.task WHERE kind = 'segment' ORDER BY task_id LIMIT 1");
$node->stop('immediate');
finish(@clients, @maintain);
$node->start;
cmp_ok($node->safe_psql('postgres', "SELECT CASE WHEN position = '\"through\"' THEN 1000000000 ELSE position::bigint END FROM cdp_data.task WHERE kind = 'segment' ORDER BY task_id LIMIT 1"),
	'>=', $done, 'the crash took back nothing that was done');
is($node->safe_psql('postgres', "SELECT count(*) FROM cdp.verify()"), 0, 'what is stored is right after the crash');

# To the end, with two who maintain and five who write.
@clients = writers(100);
for (1 .. 100)
{
	my @two = map { start_client($node, 'postgres', "CALL cdp.maintain(1);\n") } 1 .. 2;

	is(finish(@two), '', 'maintained') if $_ == 1;
	finish(@two) if $_ > 1;
	last if !is_building();
}
is(finish(@clients), '', 'no writer had an error');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp_data.segment_build'), 0, 'all are built');
is($node->safe_psql('postgres', "SELECT wrong('', " . $names->(@new) . ")"), 0, 'everybody is in what the new rules say');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.verify()'), 0, 'and what is kept of it is right');
is(broken_invariants($node), '', 'what holds always holds');
is($node->safe_psql('postgres', "SELECT count(*) FROM cdp.segment_history WHERE left_at < entered_at"), 0, 'nobody left before she came');

# Again at once: the same.
my $members = "SELECT segment, count(*), sum(profile_id) FROM cdp.segment_members WHERE segment !~ 'fresh' GROUP BY 1 ORDER BY 1";
my $built = $node->safe_psql('postgres', $members);
$node->safe_psql('postgres', 'CALL cdp.maintain(60)');
$node->safe_psql('postgres', "SELECT cdp.refresh_segment(name, background => false) FROM cdp.segments");
is($node->safe_psql('postgres', $members), $built, 'found at once they are the same');
is($node->safe_psql('postgres', "SELECT count(*) FROM cdp_data.segment_member m WHERE NOT EXISTS (SELECT FROM cdp_data.segment g WHERE g.set_id = m.segment_id)"), 0,
	'nothing is left of what was in force');
unlike(slurp_file($node->logfile), qr/deadlock detected|PANIC|TRAP|terminated by signal/, 'no deadlock, no crash');
$node->stop;
done_testing();
