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

my $top = "$FindBin::RealBin/..";
my $node = new_cluster('soak');
my $soak = $node->basedir . '/soak';
chomp(my $include = `pg_config --includedir`);
chomp(my $lib = `pg_config --libdir`);
my $cc = join ' ', $ENV{CC} || 'cc', '-O2 -std=gnu99', "-I$include", '-o', $soak, glob("$top/tools/soak/*.c"), "-L$lib", '-lpq';

plan skip_all => 'libpq cannot be linked' if system("$cc > $soak.log 2>&1") != 0;

my $seed = $ENV{SOAK_SEED} || int(rand(1000000));
my $n = $ENV{SOAK_OPERATIONS} || 250;
note("seed $seed");
$node->safe_psql('postgres', 'CREATE DATABASE soak TEMPLATE template0');
my $conninfo = $node->connstr('soak');
$node->safe_psql('soak', 'CREATE EXTENSION cdp; SELECT count(*) FROM cdp.init()');
for my $rules (qw(none defaults unique newest reject mix periods newest_mix small))
{
	my $out = `$soak -d "$conninfo" -i $top/docs/invariants.sql -s $seed -n $n -f 1 -r $rules 2>&1`;

	ok($? == 0, "$rules: the people, their state and the ids are those of the evidence (seed $seed)") or diag($out);
}
done_testing();
