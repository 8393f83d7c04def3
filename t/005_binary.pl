# Binary input: what COPY BINARY wrote is read back the same, and bytes that
# nobody wrote are refused, or are a usable value; never a crash.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('binary');
my $dir = $node->basedir;

$node->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = public, cdp');
$node->safe_psql('postgres', q{
	CREATE TABLE good (id int, i cdp.identifier, s cdp.identity_set);
	INSERT INTO good VALUES
		(1, 'email:Ada@Example.COM', '{email:ada@example.com,cookie:c1}'),
		(2, 'x:a"b,{c}\d', '{"x:a\"b,{c}\\\\d","y:z,"}'),
		(3, NULL, NULL), (4, U&'user_id:\00e9\65e5\672c', '{}'),
		(5, ('user_id:' || repeat('x', 512))::cdp.identifier, (SELECT cdp.identity_merge(('user_id:' || n)::cdp.identifier) FROM generate_series(1, 3000) n));
	CREATE TABLE copy (LIKE good);
	CREATE TABLE one_identifier (v cdp.identifier);
	CREATE TABLE one_identity_set (v cdp.identity_set);
});
$node->safe_psql('postgres', "COPY good TO '$dir/good' (FORMAT binary); COPY copy FROM '$dir/good' (FORMAT binary)");
is($node->safe_psql('postgres', 'SELECT count(*) FROM (TABLE good EXCEPT ALL TABLE copy) x'), '0', 'COPY BINARY gives back what it took');
is($node->safe_psql('postgres', 'SELECT count(*) FROM copy c JOIN good g ON g.i = c.i AND g.s = c.s'), '4', 'equal by the operators as well');

# COPY BINARY of one value per row.
sub copy_file
{
	my ($name, @values) = @_;
	my $bytes = "PGCOPY\n\xff\r\n\0" . pack('N N', 0, 0);

	$bytes .= pack('n N/a', 1, $_) for @values;
	open my $file, '>:raw', "$dir/$name" or die;
	print $file $bytes, pack('n', 0xffff);
	close $file;
	return "$dir/$name";
}

sub load
{
	my ($type, $bytes) = @_;
	my $path = copy_file('one', $bytes);

	return $node->psql('postgres', "TRUNCATE one_$type; COPY one_$type FROM '$path' (FORMAT binary); "
		. "SELECT count(*) FROM one_$type WHERE v::text::cdp.$type = v", on_error_stop => 1);
}

my @refused = (
	[ identifier => '', 'nothing' ],
	[ identifier => 'no colon', 'no namespace' ],
	[ identifier => ':value', 'an empty namespace' ],
	[ identifier => 'email:', 'an empty value' ],
	[ identifier => "email:a\0b\@example.com", 'a zero byte' ],
	[ identifier => "user_id:\xff\xfe", 'bytes that are no UTF-8' ],
	[ identifier => 'user_id:' . 'x' x 513, 'a value that is too long' ],
	[ identifier => 'x' x 100000, 'a long string' ],
	[ identity_set => '', 'nothing' ],
	[ identity_set => pack('N', 1), 'a count without elements' ],
	[ identity_set => pack('N', 0xffffffff), 'a negative count' ],
	[ identity_set => pack('N', 0x7fffffff) . 'abc', 'a count beyond the message' ],
	[ identity_set => pack('N N', 1, 0x7fffffff) . 'a:b', 'a length beyond the message' ],
	[ identity_set => pack('N N', 1, 0xfffffff0) . 'a:b', 'a negative length' ],
	[ identity_set => pack('N N a*', 1, 3, 'a:bc'), 'bytes behind the last element' ],
	[ identity_set => pack('N N a*', 1, 3, 'abc'), 'an element without namespace' ],
	[ identity_set => pack('N N a*', 1, 4, "a:\xff\xfe"), 'an element that is no UTF-8' ],
	[ identity_set => pack('N N a* N', 2, 3, 'a:b', 0), 'an empty element' ]);
for (@refused)
{
	my ($type, $bytes, $what) = @$_;
	my ($status, $out, $err) = load($type, $bytes);

	isnt($status, 0, "$type refuses $what");
	like($err, qr/ERROR:.*(invalid|insufficient data|incorrect binary data|too long|zero byte|null byte)/i, 'and says so');
}
my ($status, $out) = load('identity_set', pack('N N/a N/a N/a', 3, 'b:2', 'a:1', 'b:2'));
is("$status $out", '0 1', 'unsorted elements that occur twice are a set');
is($node->safe_psql('postgres', 'SELECT v FROM one_identity_set'), '{a:1,b:2}', 'in canonical form');

# Bytes changed at random: refused, or a value that its own text gives again.
my %seed = (
	identifier => [ 'email:ada@example.com', "phone:+81 90-1234-5678", "user_id:\xe6\x97\xa5\xe6\x9c\xac" ],
	identity_set => [ pack('N N/a N/a N/a', 3, 'a:1', 'email:ada@example.com', 'user_id:x,y'), pack('N', 0), pack('N N/a', 1, 'a:1') ]);
for my $type (sort keys %seed)
{
	my @mutants;

	for my $n (1 .. 300)
	{
		my $bytes = $seed{$type}[ spread(3, $type, $n) ];

		for my $k (1 .. 1 + spread(4, 'times', $type, $n))
		{
			my $where = spread(length($bytes) + 1, 'where', $type, $n, $k);
			my $how = spread(6, 'how', $type, $n, $k);

			substr($bytes, $where, $how && $where < length $bytes ? 1 : 0) =
				$how == 1 ? '' : chr(spread(256, 'byte', $type, $n, $k));
		}
		push @mutants, $bytes;
	}
	# one session, one COPY each
	my $sql = '';
	for my $n (0 .. $#mutants)
	{
		my $path = copy_file("mutant$n", $mutants[$n]);
		$sql .= "COPY one_$type FROM '$path' (FORMAT binary);\n";
	}
	my ($code, $text, $errors) = $node->psql('postgres', "TRUNCATE one_$type;\n$sql SELECT count(*), count(*) FILTER (WHERE v::text::cdp.$type = v AND (v || v)::text IS NOT NULL) FROM one_$type",
		on_error_stop => 0);
	my ($taken, $usable) = split /\|/, $text;

	cmp_ok($taken, '>', 5, "$type: some mutants are values");
	is($usable, $taken, "$type: all of these are usable");
	my $refusals = () = $errors =~ /ERROR:/g;
	is($taken + $refusals, scalar(@mutants), "$type: the others were refused");
	unlike($errors, qr/server closed|connection|cannot happen|XX000/, "$type: nothing worse happened");
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no crash');
$node->stop;
done_testing();
