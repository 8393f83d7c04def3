# Random questions about people, for t/019_hunt.pl: the same text is asked by a
# role that sees a part of them, and where only that part exists.
package CdpHunt;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(question);

# What a column may be asked, by its type; %s is the column.
my %ask = (
	id => [ '%s %% 3 = 1', '%s > 20', '%s IN (1, 3, 5, 8, 13, 21)', '%s BETWEEN 5 AND 40', 'NOT %s = 7', '1 / (%s - 12) >= 0', 'leak(%s::text)' ],
	text => [ "%s LIKE '%%a%%'", "%s > 'm'", 'length(%s) > 3', 'leak(%s)', "%s ~ '[12]'", "md5(%s) < '8'", "%s IS DISTINCT FROM 'Kyoto'", "substr(%s, 2)::int > 3",
		"%s = ANY ('{Kyoto,Ordered,user_id,lately,brand}')" ],
	number => [ '%s > 2', '%s IS NULL', '%s < 100', '1 / (%s - 1) > 0', 'leak(%s::text)', 'round(%s) = 3' ],
	time => [ "%s > '2025-03-05'", "date_trunc('day', %s) < '2025-03-04'", '%s IS NULL', 'leak(%s::text)' ],
	json => [ "%s ? 'n'", "%s ->> 'n' > '4'", "(%s ->> 'n')::numeric > 10", "%s @> '{\"gift\": true}'", "%s ->> 'brand' = 'a'", 'leak(%s::text)', "jsonb_typeof(%s) = 'object'" ],
	truth => [ '%s', 'NOT %s', '%s IS NULL' ],
	array => [ 'cardinality(%s) > 1', "%s::text LIKE '%%a%%'", 'leak(%s::text)', "'{}' = %s" ],
	other => ['%s IS NOT NULL']);

sub one
{
	return $_[ int(rand(@_)) ];
}

sub kind
{
	my ($name, $type) = @_;

	return 'id' if $type =~ /^(bigint|integer)$/;
	return 'number' if $type =~ /^(numeric|double precision|real)$/;
	return 'text' if $type eq 'text';
	return 'time' if $type =~ /^timestamp/;
	return 'json' if $type eq 'jsonb';
	return 'truth' if $type eq 'boolean';
	return 'array' if $type =~ /\[\]$/;
	return 'other';
}

# A condition on a view whose columns are [name, type].  What raises is asked of
# each row only where nothing else decides which rows are asked.
sub condition
{
	my ($alias, $columns, $depth, $alone) = @_;
	my $way = rand();

	return '(' . join(one(' AND ', ' OR '), map { condition($alias, $columns, $depth - 1) } 1 .. 2) . ')' if $depth > 0 && $way < 0.35;
	return 'NOT ' . condition($alias, $columns, $depth - 1) if $depth > 0 && $way < 0.42;
	my ($name, $type) = @{ one(@$columns) };
	my @ask = @{ $ask{ kind($name, $type) } };

	@ask = grep { !m{::int|::num|^1 /} } @ask unless $alone && $name =~ /^(profile_id|value|events|properties|traits|high|payload)$/;
	return sprintf(one(@ask), "$alias.\"$name\"");
}

sub has_person
{
	return grep { $_->[0] eq 'profile_id' } @{ $_[0] };
}

sub expression
{
	my ($names, $depth) = @_;

	return one(@$names) if $depth == 0 || rand() < 0.4;
	return '!' . expression($names, $depth - 1) if rand() < 0.25;
	return '(' . expression($names, $depth - 1) . one(' & ', ' | ', ' - ') . expression($names, $depth - 1) . ')';
}

# One question, as SQL.  $world: views => {name => [[column, type], …]}, segments, dimensions, people.
sub question
{
	my ($world) = @_;
	my $views = $world->{views};
	my @personal = grep { has_person($views->{$_}) } sort keys %$views;
	my $v = rand() < 0.4 ? 'profiles' : one(sort keys %$views);
	my $where = condition('v', $views->{$v}, 2);
	my $way = int(rand(20));
	my $who = "user_id:u" . int(rand($world->{people}));
	my $expr = expression($world->{segments}, 2);
	my $w = one(@personal);
	my $also = condition('w', $views->{$w}, 1);
	my ($name, $type) = @{ one(@{ $views->{$v} }) };
	$where = condition('v', $views->{$v}, 0, 1) if $way <= 2 && rand() < 0.3;
	my $sorted = "\"$name\"::text COLLATE \"C\"";

	return "SELECT count(*) FROM cdp.$v v WHERE $where" if $way == 0;
	return "SELECT md5(string_agg(v::text, ',' ORDER BY v::text COLLATE \"C\")), count(*) FROM cdp.$v v WHERE $where" if $way <= 2;
	return "SELECT v.$sorted, count(*) FROM cdp.$v v WHERE $where GROUP BY 1 ORDER BY 1, 2 LIMIT 20" if $way == 3;
	return "SELECT min(v.$sorted), max(v.$sorted), count(DISTINCT v.$sorted) FROM cdp.$v v" if $way == 4;
	return "SELECT v.$sorted FROM cdp.$v v WHERE $where ORDER BY 1 DESC NULLS LAST LIMIT " . int(rand(6)) . ' OFFSET ' . int(rand(4)) if $way == 5;
	if ($way <= 8 && has_person($views->{$v}))
	{
		return "SELECT count(*), count(DISTINCT v.profile_id) FROM cdp.$v v JOIN cdp.$w w USING (profile_id) WHERE $where AND $also" if $way == 6;
		return "SELECT count(*) FROM cdp.$v v LEFT JOIN cdp.$w w ON w.profile_id = v.profile_id AND $also WHERE w.profile_id IS NULL AND $where" if $way == 7;
		return "SELECT count(*) FROM cdp.$v v WHERE " . one('', 'NOT ') . "EXISTS (SELECT FROM cdp.$w w WHERE w.profile_id = v.profile_id AND $also) AND $where";
	}
	return "SELECT count(*) FROM (SELECT profile_id FROM cdp.$w w WHERE $also " . one('EXCEPT', 'INTERSECT', 'UNION') . ' SELECT profile_id FROM cdp.' . one(@personal) . ') x' if $way <= 9;
	return "SELECT cdp.segment_count('$expr'), (SELECT count(*) FROM cdp.members('$expr')), (SELECT count(*) FROM cdp.profiles WHERE segment_set OPERATOR(cdp.@@) '$expr')" if $way == 10;
	return "SELECT count(*) FROM cdp.profiles v WHERE v.segment_set OPERATOR(cdp.@@) '$expr' AND " . condition('v', $views->{profiles}, 1) if $way == 11;
	return "SELECT * FROM cdp.overlap('" . one(@{ $world->{segments} }) . "') ORDER BY 1" if $way == 12;
	return "SELECT cdp.resolve('$who'), cdp.canonical(" . (1 + int(rand($world->{people}))) . '), cdp.explain_identity(\'' . $who . '\')::text' if $way == 13;
	return 'SELECT cdp.why(\'' . $who . "', '" . one(@{ $world->{segments} }) . "')" if $way == 14;
	return 'SELECT cdp.affinity_of(' . (1 + int(rand($world->{people}))) . ", 'brand') IS NULL, (SELECT count(*) FROM cdp.explain_affinity(" . (1 + int(rand($world->{people}))) . ", 'brand'))" if $way == 15;
	return "SELECT cdp.card('$who')::text" if $way == 16;
	return 'SELECT cdp.preview_sql(' . one(map { "\$q\$$_\$q\$" } 'high > 2', "city = 'Kyoto'", '1 / (high - 2) > 0', "nick LIKE 'n%' OR events > 5") . ')' if $way == 17;
	return 'SELECT (cdp.preview_rule(\'' . one('{"city": "Kyoto"}', '{"high": {"$gt": 1}}', '{}', '{"nick": {"$exists": false}}') . '\'))::text' if $way == 18;
	return "SELECT avg(n), max(n), min(n) FROM (SELECT profile_id, count(*) AS n, row_number() OVER (ORDER BY count(*) DESC, profile_id) FROM cdp.$w w WHERE $also GROUP BY 1) x";
}

1;
