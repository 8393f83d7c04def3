# Who is who after random histories: messages early and late, in batches and
# twice, merges and their undoing, against an oracle of its own (tools/soak),
# for each kind of rules.  What differs is shrunk and printed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Operations of each kind; SOAK_SEED repeats a run.
my $top = "$FindBin::RealBin/..";
my $node = new_cluster('soak');
my $soak = $node->basedir . '/soak';
chomp(my $include = `pg_config --includedir`);
chomp(my $lib = `pg_config --libdir`);
my $cc = join ' ', $ENV{CC} || 'cc', '-O2 -std=gnu99', "-I$include", '-o', $soak, glob("$top/tools/soak/*.c"), "-L$lib", '-lpq';

plan skip_all => "no libpq-fe.h in $include" unless -e "$include/libpq-fe.h";
is(system("$cc > $soak.log 2>&1"), 0, 'the oracle compiles') or BAIL_OUT(slurp_file("$soak.log"));

my $seed = $ENV{SOAK_SEED} || int(rand(1000000));
my $n = $ENV{SOAK_OPERATIONS} || 250;
note("seed $seed");
$node->safe_psql('postgres', 'CREATE DATABASE soak TEMPLATE template0');
my $direct = $node->connstr('soak');
my $statements = "$direct options='-c cdp.direct_storage=off'";

sub soak
{
	my ($rules, $options, $what, $conninfo) = @_;
	$conninfo //= $direct;
	my $out = `$soak -d "$conninfo" -i $top/docs/invariants.sql -s $seed -n $n -t 60 -r $rules $options 2>&1`;

	ok($? == 0, "$rules: $what (seed $seed)") or diag($out);
}

soak($_, '', 'the people, their state and the ids are those of the evidence')
	for qw(none defaults unique newest reject mix periods newest_mix small);
soak($_, '-b', 'also when values change hands') for qw(defaults ttl);
soak($_, '', 'also when rows are written by statements', $statements) for qw(defaults newest_mix);
soak($_, '-c', 'also when the rules change') for qw(defaults mix);
done_testing();
