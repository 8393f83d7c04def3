# Connected components: notices of progress, and calls that are stopped at any
# point leave no temporary file and a session that works.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('components');
my $query = "SELECT count(*), count(DISTINCT component) FROM cdp.connected_components('SELECT i * 1000003, (i / 3) * 1000003 FROM generate_series(1::bigint, 200000) i')";
my ($answer, $notices);

# notices: each phase of a call on disk says how far it has come
$node->psql('postgres', "SET cdp.progress_interval = 1; SET maintenance_work_mem = '1MB'; $query", stdout => \$answer, stderr => \$notices);
is($answer, '200001|1', 'a call on disk with notices');
like($notices, qr/^\S*\s*NOTICE:  $_: \d+ edges, \d+ nodes so far$/m, "a notice while $_")
	for qw(reading numbering joining labelling returning);
my ($edges) = $notices =~ /joining: (\d+) edges/;
is($edges, 200000, 'with the edges that were read');
$node->psql('postgres', "SET cdp.progress_interval = 1; $query", stdout => \$answer, stderr => \$notices);
is($answer, '200001|1', 'a call in memory with notices');
like($notices, qr/NOTICE:  reading: /, 'a notice in memory');
unlike($notices, qr/NOTICE:  numbering: /, 'which numbers nothing on disk');
$node->psql('postgres', "SET cdp.progress_interval = 0; $query", stderr => \$notices);
is($notices, '', '0 turns them off');
$node->psql('postgres', "SET cdp.progress_interval = 1; SET client_min_messages = warning; $query", stderr => \$notices);
is($notices, '', 'and so does client_min_messages');

# stopped after 1, 2, 4 ... milliseconds: whatever the phase, nothing remains
sub files
{
	return scalar grep { -f } glob($node->data_dir . '/base/pgsql_tmp/*');
}
my ($stopped, $finished, $left) = (0, 0, 0);
for my $type ('bigint', 'text')
{
	for (my $ms = 1; $ms < 5000; $ms = int($ms * 1.4) + 1)
	{
		my $sql = $query =~ s/SELECT (i \* 1000003), (.*?) FROM/SELECT ($1)::$type, ($2)::$type FROM/r =~ s/\) i'\)/) i', NULL::$type)/r;
		my ($out, $err);

		# in one session: the statement, then what the session still can do
		$node->psql('postgres', "SET maintenance_work_mem = '1MB'; SET statement_timeout = $ms;\n$sql;\nSET statement_timeout = 0;\n$query",
			stdout => \$out, stderr => \$err, on_error_stop => 0);
		if ($err =~ /canceling statement due to statement timeout/) { $stopped++; }
		elsif ($out =~ /\A200001\|1\n200001\|1\z/) { $finished++; }
		else { fail("$type, $ms ms: $out $err"); }
		fail("$type, $ms ms: the session works") if $out !~ /^200001\|1\z/m;
		$left += files();
		last if $err eq '';
	}
}
ok($stopped > 5, 'calls were stopped');
ok($finished > 0, 'calls were finished');
is($left, 0, 'no temporary file is left');

$node->stop;
done_testing();
