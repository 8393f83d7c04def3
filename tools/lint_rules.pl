#!/usr/bin/perl
# The rules of the house that can be read off the text: prints one line a rule, "ok - rule" or "not ok - rule"
# with the offending places after it. Usage: lint_rules.pl [TOP]. Exit status 1 when a rule is broken.
#
# tools/lint_selftest.sh plants a fault for each rule and sees it found: a new rule needs its line there.

use strict;
use warnings;
use File::Find;

my $top = shift // '.';
chdir $top or die "$top: $!\n";

# A file may include its own module and lower floors (docs/architecture.md).
my %floor = (
	core => 1,
	identity => 2, condition => 2,
	affinity => 3, segment => 3, consent => 3, experiment => 3, insight => 3,
	profile => 4, activation => 4,
	ingest => 5,
	decision => 6, journey => 6,
);
# Files in src/ itself are floor 0.
my $server_header =
	qr{^(?:postgres\w*|c|fmgr|funcapi|miscadmin|varatt|pg_config\w*|pgstat|pgtime|plpgsql)\.h$
	   |^(?:access|backup|catalog|commands|common|datatype|executor|foreign|jit|lib|libpq|mb|nodes|optimizer|parser|partitioning|port|postmaster|regex|replication|rewrite|statistics|storage|tcop|tsearch|utils)/}x;

my @files;
find(
	{
		no_chdir => 1,
		wanted => sub {
			my $f = s{^\./}{}r;
			if (-d && $f =~ m{^(?:\.git|results|output_iso|tmp_check|tmp_check_iso|log|tools/unit/build|.*/(?:node_modules|__pycache__))$})
			{
				$File::Find::prune = 1;
				return;
			}
			return unless -f && !-l;
			return if $f =~ m{\.(?:o|d|so|bc|gcno|gcda)$|^sql/cdp--[^/]*\.sql(?:\.tmp)?$|^regression\.(?:diffs|out)$};
			push @files, $f;
		},
	},
	'.');
@files = sort @files;

my %text;

sub text_of
{
	my ($f) = @_;
	return $text{$f} //= do {
		open my $h, '<:raw', $f or die "$f: $!\n";
		local $/;
		<$h> // '';
	};
}

my (%found, $broken);

# place(RULE, FILE, OFFSET or undef, MESSAGE)
sub place
{
	my ($rule, $file, $offset, $message) = @_;
	my $where = $file;
	$where .= ':' . (1 + (substr(text_of($file), 0, $offset) =~ tr/\n//)) if defined $offset;
	push @{ $found{$rule} }, "$where: $message";
}

# report(RULE, NUMBER OF THINGS LOOKED AT)
sub report
{
	my ($rule, $n) = @_;
	if ($found{$rule})
	{
		print "not ok - $rule\n";
		my @places = @{ $found{$rule} };
		print "#   $_\n" for splice @places, 0, 20;
		print '#   and ', scalar(@places), " more\n" if @places;
		$broken = 1;
	}
	elsif (!$n)
	{
		print "not ok - $rule\n#   nothing to look at\n";
		$broken = 1;
	}
	else
	{
		print "ok - $rule\n";
	}
}

# blank(TEXT): the same text, every character but newlines a space
sub blank
{
	my ($t) = @_;
	$t =~ s/[^\n]/ /g;
	return $t;
}

# ---- C ----

my @c = grep { m{^(?:src|tools)/.*\.[ch]$} } @files;
my @src = grep { m{^src/} } @c;

for my $f (@c)
{
	my $t = text_of($f);

	# Code without comments and strings; // found on the way.
	my $code = '';
	while ($t =~ m{\G(?: (/\*.*?(?:\*/|\z)) | (//[^\n]*) | ("(?:[^"\\\n]|\\.)*") | ('(?:[^'\\\n]|\\.)*') | (.) )}gsx)
	{
		if (defined $2) { place('C comments are /* */', $f, $-[2], 'a // comment'); }
		$code .= defined $5 ? $5 : defined $3 ? '"' . blank(substr $3, 1) : blank($1 // $2 // $4);
	}
	while ($code =~ /^(?:\t*)( {4,})(?=\S)/mg) { place('C is indented with tabs', $f, $-[1], 'four spaces or more'); }

	my $offset = 0;
	for my $line (split /\n/, $t, -1)
	{
		my $wide = $line;
		1 while $wide =~ s/^([^\t]*)\t/$1 . ' ' x (4 - length($1) % 4)/e;
		utf8::decode($wide);
		place('C lines have 100 columns at most', $f, $offset, length($wide) . ' columns') if length $wide > 100;
		$offset += 1 + length $line;
	}
	$text{"$f code"} = $code;
}

for my $f (@src)
{
	my ($t, $code) = (text_of($f), $text{"$f code"});
	my ($module) = $f =~ m{^src/([^/]+)/};

	if (defined $module && !exists $floor{$module})
	{
		place('includes keep to the floors', $f, 0, "src/$module/ is on no floor");
		next;
	}
	my $mine = defined $module ? $floor{$module} : 0;

	while ($t =~ /^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]/mg)
	{
		my ($quote, $name, $at) = ($1, $2, $-[0]);
		my ($dir) = $name =~ m{^([^/]+)/};

		# Within a comment?
		next if substr($code, $at, $+[0] - $at) !~ /#/;

		if (defined $dir && exists $floor{$dir} && (-e "src/$name" || $name !~ $server_header))
		{
			next if defined $module && $dir eq $module;
			place('includes keep to the floors', $f, $at,
				"floor $mine" . (defined $module ? " ($module)" : '') . " includes floor $floor{$dir} ($name)")
				if $floor{$dir} >= $mine;
		}
		elsif ($name =~ m{\.\.?/})
		{
			place('includes keep to the floors', $f, $at, "relative path $name");
		}
		elsif (!defined $dir && !-e "src/$name" && $quote eq '"' && defined $module && -e "src/$module/$name")
		{
			place('includes keep to the floors', $f, $at, "write \"$module/$name\"");
		}
		elsif (defined $module && $module eq 'core'
			&& ($name =~ $server_header || ($quote eq '"' && $name ne 'cdp.h')))
		{
			place('core knows no server', $f, $at, "includes $name");
		}
		if ($f =~ /\.h$/ && $name eq 'postgres.h')
		{
			place('includes keep to the floors', $f, $at, 'a header includes postgres.h');
		}
	}

	if ($f ne 'src/compat.h')
	{
		while ($code =~ /\b(PG_VERSION_NUM|PG_MAJORVERSION\w*|PG_VERSION|CATALOG_VERSION_NO)\b/g)
		{
			place('only src/compat.h knows versions', $f, $-[1], $1);
		}
	}
}

# ---- SQL ----

my @install = grep { m{^sql/(?:install|upgrade)/.*\.sql$} } @files;
my (%created, %commented);
my $kinds = 'FUNCTION|PROCEDURE|AGGREGATE|TYPE|DOMAIN|VIEW|TABLE|SEQUENCE|OPERATOR\s+CLASS|OPERATOR\s+FAMILY|OPERATOR|COLLATION';
my $support = qr{(?:_in|_out|_recv|_send|_cmp|_hash|_hash_extended|_trans|_combine|_final|_serial|_deserial|_sortsupport|_support)$|^gin_};

for my $f (@install)
{
	my $t = text_of($f);
	my ($code, $full) = ('', '');    # both as long as $t, so that offsets agree
	my @notes;                       # offsets and text of comments

	while ($t =~ m{\G(?: (--[^\n]*) | (/\*.*?(?:\*/|\z)) | (E?'(?:[^']|'')*') | (\$(\w*)\$.*?\$\5\$) | ("(?:[^"]|"")*") | (^\\[^\n]*) | (.) )}gsmx)
	{
		if (defined $1) { push @notes, [ $-[1], $1 ]; }
		if (defined $8) { $code .= $8; $full .= $8; }
		elsif (defined $6) { $code .= $6; $full .= $6; }
		elsif (defined $3) { $code .= blank($3); $full .= $3; }
		else { my $b = blank($1 // $2 // $4 // $7); $code .= $b; $full .= $b; }
	}

	# Statements end at a semicolon outside of BEGIN ATOMIC … END.
	my ($start, $depth) = (0, 0);
	my @statements;
	while ($code =~ /(;)|\b(BEGIN\s+ATOMIC)\b|\b(CASE)\b|\b(END)\b/gi)
	{
		if (defined $2) { $depth = 1; }
		elsif (defined $3) { $depth++ if $depth; }
		elsif (defined $4) { $depth-- if $depth; }
		elsif (!$depth)
		{
			push @statements, [ $start, $-[0] ];
			$start = $+[0];
		}
	}
	push @statements, [ $start, length $code ];

	for (@statements)
	{
		my ($from, $to) = @$_;
		my $s = substr $code, $from, $to - $from;
		my $raw = substr $full, $from, $to - $from;
		next unless $s =~ /\S/;
		my $at = $from + $-[0];
		my $notes = join "\n", map { $_->[1] } grep { $_->[0] >= $from && $_->[0] < $to } @notes;
		$s =~ s/^\s+//;

		if ($s =~ /^CREATE\s+OR\s+REPLACE\b|^(?:CREATE|ALTER)\b.*?\bIF\s+NOT\s+EXISTS\b/is)
		{
			place('SQL scripts create, they adopt nothing', $f, $at, 'OR REPLACE or IF NOT EXISTS');
		}
		if ($s =~ /^(?:CREATE|ALTER|DROP)\s+(ROLE|USER|GROUP|POLICY|EVENT\s+TRIGGER|TEMP(?:ORARY)?|EXTENSION|DATABASE|TABLESPACE)\b/i
			|| $s =~ /^(SECURITY\s+LABEL)\b/i)
		{
			place('SQL scripts leave roles and policies alone', $f, $at, uc $1);
		}
		if ($s =~ /^(GRANT|REVOKE|ALTER\s+DEFAULT\s+PRIVILEGES)\b/i && $f !~ m{_privileges\.sql$|^sql/upgrade/})
		{
			place('grants stand in 90_privileges.sql', $f, $at, uc $1);
		}
		if ($s =~ /^CREATE\s+SCHEMA\s+(\S+)/i && $1 ne 'cdp')
		{
			place('SQL scripts name schema cdp', $f, $at, "schema $1");
		}
		if ($s =~ /\bSECURITY\s+DEFINER\b/i)
		{
			place('no SECURITY DEFINER', $f, $at, substr $s, 0, 60);
		}
		if ($raw =~ /\$libdir/)
		{
			place('C functions live in MODULE_PATHNAME', $f, $at, 'a path of its own');
		}

		if ($s =~ /^CREATE\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+|MATERIALIZED\s+|RECURSIVE\s+)*($kinds)\s+(?:IF\s+NOT\s+EXISTS\s+)?([^\s(;]+)/is)
		{
			my ($kind, $name) = (uc $1, $2);
			$kind =~ s/\s+/ /g;
			if ($name !~ /^cdp\./)
			{
				place('SQL scripts name schema cdp', $f, $at, "$kind $name");
			}
			$created{$kind}{$name}{n}++;
			$created{$kind}{$name}{at} //= [ $f, $at ];

			if ($kind eq 'FUNCTION' || $kind eq 'PROCEDURE')
			{
				my ($language) = $raw =~ /\bLANGUAGE\s+'?(\w+)'?/i;
				$language = lc($language // 'none');
				if ($language eq 'c')
				{
					place('C functions live in MODULE_PATHNAME', $f, $at, $name)
						unless $raw =~ /\bAS\s+'MODULE_PATHNAME'/i;
				}
				elsif ($language =~ /^(?:sql|plpgsql|none)$/
					&& $s !~ /\bSET\s+search_path\s*(?:=|\bTO\b)\s*pg_catalog\s*,\s*pg_temp\b/i
					&& $s !~ /\bBEGIN\s+ATOMIC\b/i
					&& !($language eq 'sql' && $notes =~ /--\s*inlined:\s*\S/)
					&& !($kind eq 'PROCEDURE' && $notes =~ /--\s*no SET:\s*commits/))
				{
					place('SQL and PL/pgSQL functions pin search_path', $f, $at, $name);
				}
			}
		}
		elsif ($s =~ /^COMMENT\s+ON\s+($kinds)\s+([^\s(;]+)/is)
		{
			my ($kind, $name) = (uc $1, $2);
			$kind =~ s/\s+/ /g;
			$commented{$kind}{$name}++ if $raw =~ /\bIS\s+E?'[^']*\w/i;
		}
	}
}

for my $kind (qw(FUNCTION PROCEDURE AGGREGATE TYPE DOMAIN VIEW TABLE))
{
	for my $name (sort keys %{ $created{$kind} // {} })
	{
		my $c = $created{$kind}{$name};
		my $want = $kind eq 'TYPE' ? 1 : $c->{n};    # a shell type, then the type
		(my $bare = $name) =~ s/^cdp\.//;
		next if $kind eq 'FUNCTION' && $bare =~ $support;
		place('SQL objects have a COMMENT', @{ $c->{at} }, "$kind $name") if ($commented{$kind}{$name} // 0) < $want;
	}
}

# The first fragment guards against psql -f and pins the path.
if (my ($head) = grep { m{^sql/install/00_} } @install)
{
	my $t = text_of($head);
	place('SQL scripts start guarded', $head, 0, 'no \echo … \quit line') unless $t =~ /^\\echo [^\n]*\\quit$/m;
	place('SQL scripts start guarded', $head, 0, 'no SET LOCAL search_path TO pg_catalog, pg_temp')
		unless $t =~ /^SET LOCAL search_path TO pg_catalog, pg_temp;$/m;
}
else
{
	place('SQL scripts start guarded', 'sql/install', undef, 'no fragment 00');
}

# They run in databases of any encoding.
for my $f (@install)
{
	my $n = 0;
	for my $l (split /\n/, text_of($f))
	{
		$n++;
		place('SQL scripts are ASCII', $f, $n, 'a byte outside ASCII') if $l =~ /[^\x00-\x7f]/;
	}
}

# ---- lists of the Makefile against the files ----

my $makefile = -e 'Makefile' ? text_of('Makefile') : '';

sub listed
{
	my ($name) = @_;
	my ($value) = $makefile =~ /^\Q$name\E[ \t]*:?=[ \t]*((?:[^\n]*\\\n)*[^\n]*)/m;
	return split ' ', ($value // '') =~ s/\\\n/ /gr;
}

sub compare
{
	my ($what, $list, $there) = @_;
	my %list = map { $_ => 1 } @$list;
	my %there = map { $_ => 1 } @$there;
	place('lists and files agree', 'Makefile', undef, "$what names $_, which is not there") for grep { !$there{$_} } sort keys %list;
	place('lists and files agree', $_, undef, "not in $what") for grep { !$list{$_} } sort keys %there;
}

my @tests = map { m{^sql/([^/]+)\.sql$} ? $1 : () } @files;
my @specs = map { m{^specs/([^/]+)\.spec$} ? $1 : () } @files;
compare('OBJS', [ map { s/\.o$/.c/r } listed('OBJS') ], [ grep { m{^src/.*\.c$} } @files ]);
compare('INSTALL_SQL', [ listed('INSTALL_SQL') ], [ grep { m{^sql/install/} } @files ]);
compare('REGRESS', [ listed('REGRESS') ], \@tests);
compare('ISOLATION', [ listed('ISOLATION') ], \@specs);
my %out = map { m{^expected/([^/]+)\.out$} ? ($1 => 1) : () } @files;
place('lists and files agree', "expected/$_.out", undef, 'missing') for grep { !$out{$_} } @tests, @specs;
my %stem = map { $_ => 1 } @tests, @specs;
for my $o (sort keys %out)
{
	place('lists and files agree', "expected/$o.out", undef, 'belongs to no test') unless $stem{$o} || $stem{ $o =~ s/_\d$//r };
}

# ---- all text ----

my @all = grep { -T $_ || -z $_ } @files;
my $notes = join '|', map { s/_//r } qw(TO_DO FIX_ME XX_X);
my $places = join '|', map { s/_//r } qw(/wo_rk/ /ho_me/\w+/ /Use_rs/\w+/ /ro_ot/\w \.libr_ary\b);
my $hosts = join '|', qw{(?:deb|ftp|snapshot|security)\.debian\.org (?:registry\.)?npmjs\.(?:org|com) pypi\.org
	files\.pythonhosted\.org proxy\.golang\.org crates\.io rubygems\.org}, 'apt\.postgresql\.org';
for my $f (@all)
{
	my $t = text_of($f);
	next if $f =~ m{/data/.*\.(?:csv|json|jsonl|ndjson)$};
	unless ($f =~ m{^expected/|\.(?:csv|tsv|patch|diff)$})
	{
		while ($t =~ /([ \t]+)$/mg) { place('no trailing white space', $f, $-[1], 'white space at the end of the line'); }
		place('no trailing white space', $f, length($t) - 1, 'empty line or no newline at the end') if length $t && $t !~ /[^\n]\n\z/;
	}
	while ($t =~ /\b($notes)\b/g) { place('no notes to self', $f, $-[1], $1); }
	while ($t =~ /(?<![\w.])($places)/g) { place('no names of one machine', $f, $-[1], $1); }
	while ($t =~ /\b($hosts)\b/g) { place('no names of one machine', $f, $-[1], $1); }
}

report('C comments are /* */', scalar @c);
report('C is indented with tabs', scalar @c);
report('C lines have 100 columns at most', scalar @c);
report('includes keep to the floors', scalar @src);
report('core knows no server', scalar grep { m{^src/core/} } @src);
report('only src/compat.h knows versions', scalar @src);
report('SQL scripts start guarded', scalar @install);
report('SQL scripts are ASCII', scalar @install);
report('SQL scripts create, they adopt nothing', scalar @install);
report('SQL scripts name schema cdp', scalar @install);
report('SQL scripts leave roles and policies alone', scalar @install);
report('grants stand in 90_privileges.sql', scalar @install);
report('SQL and PL/pgSQL functions pin search_path', scalar @install);
report('no SECURITY DEFINER', scalar @install);
report('C functions live in MODULE_PATHNAME', scalar @install);
report('SQL objects have a COMMENT', scalar @install);
report('lists and files agree', scalar @files);
report('no trailing white space', scalar @all);
report('no notes to self', scalar @all);
report('no names of one machine', scalar @all);

exit($broken ? 1 : 0);
