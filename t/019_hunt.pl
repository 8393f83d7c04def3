# L6 by a differential hunt: a role asks random questions, and whoever sees all
# asks the same ones in a database from which everybody whom the role may not see
# was removed by hand.  What they hear must be the same, errors too, and a
# function that tells what it is shown (leak()) is shown nobody else.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpHistory;
use CdpHunt;
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{HISTORY_SEED} || int(rand(1000000));
my $questions = $ENV{HUNT_QUESTIONS} || 1200;
srand($seed);
note("seed $seed");

my $node = new_cluster('hunt', conf => "synchronous_commit = off\n");
my $history = CdpHistory->new(seed => $seed, operations => 12, sessions => 4, people => 40);
my $clock = $history->clock;
my %purposes = (nobody => [], ana => ['analytics'], mkt => ['marketing'], both => [qw(analytics marketing)]);
my @roles = sort keys %purposes;

install_history($node, 'postgres');
finish_client($_) for map { start_client($node, 'postgres', script($_)) } @{ $history->{plan} };
is($history->finish_work($node, 'postgres'), '', 'all background work is done');
$node->safe_psql('postgres', qq{
	SET cdp.clock = '$clock';
	-- which of many values a few places hold may differ with the order of adding
	SELECT cdp.drop_dimension('sku');
	-- enough people of each sort
	SELECT count(cdp.set_consent('user_id:u' || i, p, CASE (i * 7 + length(p) * 3) % 11 WHEN 3 THEN 'withdrawn' WHEN 7 THEN 'restricted' ELSE 'granted' END, '$clock', message_id => p || i))
	FROM generate_series(0, 39) i, unnest('{analytics,marketing}'::text[]) p WHERE p = 'analytics' AND i % 4 > 0 OR p = 'marketing' AND i % 3 > 0;
	CREATE FUNCTION public.leak(v text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS \$\$ BEGIN RAISE NOTICE '<<%>>', v; RETURN true; END \$\$;
	CREATE ROLE nobody; CREATE ROLE ana; CREATE ROLE mkt; CREATE ROLE "both";
	SELECT count(cdp.provision(r::regrole, 'analyst')) FROM unnest('{nobody,ana,mkt,both}'::text[]) r;
	ANALYZE;
});
for my $role (@roles)
{
	$node->safe_psql('postgres', "SELECT cdp.permit('$role', '$_')") for @{ $purposes{$role} };
}

# What of a database of everybody belongs to those whom the role sees.
sub remove_others
{
	my ($database, $role) = @_;
	my $seen = $node->safe_psql('postgres', "SET cdp.clock = '$clock'; SET ROLE \"$role\"; SELECT coalesce(array_agg(profile_id ORDER BY profile_id), '{}') FROM cdp.profiles");

	$node->safe_psql($database, qq{
		SET session_replication_role = replica;
		SET client_min_messages = warning;
		CREATE TEMP TABLE hidden AS SELECT profile_id, ord FROM cdp_data.profile WHERE profile_id <> ALL ('$seen');
		CREATE TEMP TABLE hidden_node AS SELECT n.node_id FROM cdp_data.node n JOIN hidden USING (profile_id);
		CREATE INDEX ON hidden_node (node_id);
		DO \$\$
		DECLARE
			t record;
		BEGIN
			DELETE FROM cdp_data.identity_edge WHERE a IN (SELECT node_id FROM hidden_node) OR b IN (SELECT node_id FROM hidden_node);
			UPDATE cdp_data.node_history SET nodes = ARRAY(SELECT u FROM unnest(nodes) WITH ORDINALITY x (u, i) WHERE u NOT IN (SELECT node_id FROM hidden_node) ORDER BY i);
			DELETE FROM cdp_data.node_history WHERE nodes = '{}';
			DELETE FROM cdp_data.segment_history h USING cdp_data.profile_merged m WHERE m.old_id = h.profile_id AND m.profile_id <> ALL ('$seen');
			DELETE FROM cdp_data.profile_merged m WHERE m.profile_id <> ALL ('$seen');
			FOR t IN SELECT c.relname, (array_agg(a.attname ORDER BY a.attname = 'ord', a.attname = 'profile_id'))[1] AS key
				FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('node_id', 'profile_id', 'ord')
				WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relrowsecurity AND NOT c.relispartition AND c.relname NOT IN ('profile_merged', 'node_history') GROUP BY 1 LOOP
				EXECUTE format('DELETE FROM cdp_data.%I WHERE %I IN (SELECT %2\$I FROM %I)', t.relname, t.key, CASE t.key WHEN 'node_id' THEN 'hidden_node' ELSE 'hidden' END);
			END LOOP;
		END \$\$;
		DELETE FROM cdp_data.segment_chunk;
		DELETE FROM cdp_data.segment_delta;
		RESET session_replication_role;
		SET cdp.clock = '$clock';
		CALL cdp.rebuild_all();
		ANALYZE;
	});
	return $node->safe_psql($database, 'SELECT count(*) FROM cdp.profiles');
}

# What can be asked: the views of people and what there is.
sub world
{
	my %views;
	# of the server, not of people; and who sees the map depends on how many people have a thing
	my %left_out = map { $_ => 1 } qw(progress stats tasks inbox retention data_map);

	for (split /\n/, $node->safe_psql('postgres', "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' AND has_table_privilege('ana', c.oid, 'SELECT') ORDER BY 1, a.attnum"))
	{
		my ($view, $column, $type) = split /\|/;

		push @{ $views{$view} }, [ $column, $type ] unless $left_out{$view};
	}
	return { views => \%views, people => 40, segments => [ split /\n/, $node->safe_psql('postgres', "SELECT name FROM cdp.segments ORDER BY name COLLATE \"C\"") ] };
}

# Answers by question, and what leak() was shown.
sub ask
{
	my ($database, $role, @asked) = @_;
	my $n = 0;
	my $script = "\\set VERBOSITY terse\nSET cdp.clock = '$clock';\nSET timezone = 'UTC';\nSET jit = off;\nSET extra_float_digits = -4;\n"
		. 'SET search_path = public;' . "\n" . ($role ? "SET ROLE \"$role\";\n" : '')
		. join('', map { "\\echo \@ " . $n++ . "\n$_\n\\echo :SQLSTATE\n" } @asked);
	my ($out, $err) = finish_client(start_client($node, $database, $script));
	my @answers = split /^\@ \d+\n/m, $out;

	shift @answers;
	return (\@answers, { map { $_ => 1 } $err =~ /<<(.*?)>>$/gms }, $err);
}

# Every value of every column of the views, as text.
sub values_of
{
	my ($database, $views) = @_;
	my $all = join("\nUNION ", map { my $v = $_; map { "SELECT \"$_->[0]\"::text FROM cdp.$v" } @{ $views->{$v} } } sort keys %$views);

	return { '<NULL>' => 1, map { $_ => 1 } split /\x01\n/, $node->safe_psql($database, "SET cdp.clock = '$clock'; SET timezone = 'UTC'; SET extra_float_digits = -4; SELECT coalesce(x.v, '') || E'\\x01' FROM ($all) x (v)") . "\n" };
}

# In how many ways a question may be put; the answer is the same.
sub put
{
	my ($sql, $i) = @_;
	my $way = int(rand(9));
	my $plan = one_of('enable_seqscan', 'enable_hashjoin', 'enable_nestloop', 'enable_indexscan', 'enable_material', 'cdp.enable_count_pushdown');

	return "PREPARE p$i AS $sql;\nEXECUTE p$i;" if $way == 0;
	return "BEGIN; DECLARE c$i CURSOR FOR $sql;\nFETCH ALL FROM c$i;\nROLLBACK;" if $way == 1;
	return "SET $plan = off;\n$sql;\nRESET $plan;" if $way == 2;
	return "COPY ($sql) TO STDOUT;" if $way == 3;
	return "DO \$do\$ DECLARE r record; t text := ''; BEGIN FOR r IN $sql LOOP t := t || r::text; END LOOP; PERFORM set_config('hunt.t', t, false); END \$do\$;\nSELECT current_setting('hunt.t', true);" if $way == 4;
	return "$sql;";
}

sub one_of
{
	return $_[ int(rand(@_)) ];
}

# as the others will be
$node->safe_psql('postgres', "SET cdp.clock = '$clock'; CALL cdp.rebuild_all()");
my $world = world();
my @asked = map { put(question($world), $_) } 1 .. $questions;
my %all;

for my $role (@roles)
{
	my $database = "only_$role";

	$node->safe_psql('template1', "CREATE DATABASE $database TEMPLATE postgres");
	my $people = remove_others($database, $role);
	my ($here, $shown, $err) = ask('postgres', $role, @asked);
	my ($there) = ask($database, undef, @asked);
	my $could = values_of($database, $world->{views});
	my @different = grep { ($here->[$_] // 'nothing') ne ($there->[$_] // 'nothing') } 0 .. $#asked;
	my @leaked = grep { !$could->{$_} } sort keys %$shown;

	note("$role sees $people people; " . scalar(grep { /^00000$/m } @$here) . ' questions had an answer, ' . keys(%$shown) . ' values were shown');
	is(scalar(@$here), $questions, "$role: all questions were asked (seed $seed)");
	is(scalar(@different), 0, "$role hears what is so where nobody else exists (seed $seed)");
	diag("$asked[$_]\n  here: $here->[$_]  there: $there->[$_]") for @different[ 0 .. ($#different < 4 ? $#different : 4) ];
	is(join("\n", @leaked), '', "$role: no function was shown anybody else (seed $seed)");
	$all{$role} = $people;
}
is($all{nobody}, 0, 'who has no purpose sees nobody');
cmp_ok($all{both}, '>', 3, 'two purposes show some');
cmp_ok($all{ana}, '>', $all{both}, 'one of them more');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cdp.profiles'), '>', $all{ana}, 'and there are others');
$node->stop;
done_testing();
