# What the TAP tests share: clusters with cdp in them, clients that run
# beside the test, and the recomputation of specs/invariants.spec.
package CdpTest;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_cluster install_cdp configure truth_sql verdict broken_invariants read_views start_client finish_client kill_cluster kill_backend spread);

# A started cluster with cdp initialised in database postgres.
sub new_cluster
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	# UTF-8, whatever the caller's locale is
	$node->init(allows_streaming => $params{streaming} ? 1 : 0, extra => [ '--encoding=UTF8', '--locale=C.UTF-8', @{ $params{initdb} // [] } ]);
	$node->append_conf('postgresql.conf', "timezone = 'UTC'\nautovacuum = off\n" . ($params{conf} // ''));
	$node->start;
	install_cdp($node, 'postgres');
	return $node;
}

# The recomputation, as the isolation tests install it.
sub truth_sql
{
	my $spec = slurp_file(dirname(__FILE__) . '/../../specs/invariants.spec');

	$spec =~ /^-- begin: shared.*?\n(.*)^-- end: shared/ms or die "specs/invariants.spec has lost its marks";
	return $1;
}

sub install_cdp
{
	my ($node, $database) = @_;

	# The superuser is named like who runs the tests; they count on one named postgres.
	$node->safe_psql($database, q{DO $$ BEGIN IF to_regrole('postgres') IS NULL THEN CREATE ROLE postgres SUPERUSER; END IF; END $$});
	$node->safe_psql($database, "CREATE EXTENSION cdp; SELECT count(*) FROM cdp.init();\n"
		. "SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);\n" . truth_sql());
}

# Traits, purposes, segments and an activation, for the tests that want some.
sub configure
{
	my ($node, $database) = @_;

	$node->safe_psql($database, q{
		SELECT cdp.define_trait('city', 'text');
		SELECT cdp.define_trait('age', 'int', index => true);
		SELECT cdp.define_trait('first_store', 'text', 'oldest');
		SELECT cdp.define_purpose('analytics');
		SELECT cdp.define_purpose('marketing');
		SELECT cdp.define_segment('kyoto', predicate => 'city = ''Kyoto''', description => 'lives there');
		SELECT cdp.define_segment('frequent', predicate => 'events >= 5');
		SELECT cdp.define_activation('kyoto', 'email', 'marketing');
	});
}

# 'as recomputed', or what is wrong.
sub verdict
{
	my ($node, $database) = @_;

	return $node->safe_psql($database // 'postgres', 'SELECT truth.verdict()');
}

# What docs/invariants.sql finds; '' when all holds.
sub broken_invariants
{
	my ($node, $database) = @_;

	return $node->safe_psql($database // 'postgres', slurp_file(dirname(__FILE__) . '/../../docs/invariants.sql'));
}

# What people like, and why, as cdp.affinities does not say it.
my %likes = (
	affinity_of => q{SELECT p.profile_id, d.name, h, cdp.affinity_of(p.profile_id, d.name, h)
		FROM cdp.profiles p, cdp.dimensions d, unnest('{long,short,declared}'::text[]) h ORDER BY p.profile_id, d.name, h},
	explain_affinity => q{SELECT p.profile_id, d.name, e::text
		FROM cdp.profiles p, cdp.dimensions d, LATERAL cdp.explain_affinity(p.profile_id, d.name) e ORDER BY p.profile_id, d.name, e::text});

# All of a test is read as of one time, after what it writes: what fades, and who leaves, is the same then.
my $clock = time + 3600;

# Every view of cdp that the role may read, and the likes above, as ordered text: {view => rows}.
sub read_views
{
	my ($node, $database, $role) = @_;
	my $views = $node->safe_psql($database, "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace
		AND c.relkind = 'v' AND has_table_privilege('$role', c.oid, 'SELECT') ORDER BY 1");
	my %queries = (%likes, map { $_ => "SELECT v::text FROM cdp.$_ v ORDER BY 1" } split /\n/, $views);
	my %rows;

	for my $what (keys %queries)
	{
		$rows{$what} = $node->safe_psql($database, "DO \$\$ BEGIN PERFORM set_config('cdp.clock', to_timestamp($clock)::text, false); END \$\$; SET ROLE $role; $queries{$what}");
	}
	return \%rows;
}

# A psql that runs beside the test and prints what each statement returns as
# soon as the server has acknowledged it.
my $clients = 0;

sub start_client
{
	my ($node, $database, $sql) = @_;
	my $base = $node->basedir . '/client' . ++$clients;

	# files, for nobody would feed and empty pipes meanwhile
	append_to_file("$base.sql", $sql);
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($database), '-f', "$base.sql" ],
		'>', "$base.out", '2>', "$base.err");
	return { run => $run, base => $base };
}

sub finish_client
{
	my ($client) = @_;

	$client->{run}->finish;
	return (slurp_file("$client->{base}.out"), slurp_file("$client->{base}.err"));
}

# Kills the postmaster and every process of the cluster, also who came meanwhile.
sub kill_cluster
{
	my ($node) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	kill 'KILL', @pids;
	for (1 .. 1500)
	{
		# they work in its directory
		my @late = map { m{(\d+)} } grep { (readlink // '') eq $node->data_dir } glob '/proc/[0-9]*/cwd';

		last if !@late && !grep { kill 0, $_ } $postmaster, @pids;
		kill 'KILL', @late;
		select(undef, undef, undef, 0.02);
	}
	return;
}

# Kills a backend that works, if there is any.
sub kill_backend
{
	my ($node) = @_;
	my ($pid) = split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY state = 'active' DESC, random() LIMIT 1");

	kill 'KILL', $pid if $pid;
	return;
}

# A number below $below that looks random and is the same in every run.
sub spread
{
	my ($below, @parts) = @_;
	my $hash = 2166136261;

	$hash = (($hash ^ ord) * 16777619) & 0xffffffff for split //, join('/', @parts) . '#';
	$hash ^= $hash >> 15;
	$hash = ($hash * 2246822519) & 0xffffffff;
	$hash ^= $hash >> 13;
	return $hash % $below;
}

1;
