# Random histories for the TAP tests: what several sessions say about people
# they share, late and twice, with merges and their undoing; and what must be
# known in the end (test/history.sql).
#
# A history is made once, by its seed.  Whoever plays it may do so in any order
# of sessions, in parts, again: what is known without ids is the same.
package CdpHistory;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Time::Local 'timegm';
use CdpTest;

our @EXPORT = qw(install_history known naive differences finish_work script);

my $json = JSON::PP->new->canonical->allow_nonref;
my $start = timegm(0, 0, 0, 1, 2, 125);    # 2025-03-01, when the first message arrives
my @days = (31, 29, 27);                   # metrics are compared so many days after $start + the history's length

# Options: seed, sessions, operations (of each session), people, step (minutes from one to the next),
# serial (also what the model does not know).
sub new
{
	my ($class, %options) = @_;
	my $self = bless {
		seed => 1, sessions => 8, operations => 100, people => 60, step => 240, %options,
		message => {}, said => [], plan => [], directory => PostgreSQL::Test::Utils::tempdir() }, $class;

	for my $s (0 .. $self->{sessions} - 1)
	{
		$self->{plan}[$s] = [];
		$self->{session} = $s;
		for my $i (0 .. $self->{operations} - 1)
		{
			$self->{minute} = $i * $self->{step};
			$self->operation($s, $i);
		}
	}
	return $self;
}

sub roll
{
	my ($self, $below, @parts) = @_;

	return spread($below, $self->{seed}, @parts);
}

sub timestamp
{
	my ($minute) = @_;
	my @t = gmtime($start + int($minute * 60));

	return sprintf('%04d-%02d-%02d %02d:%02d:%02d+00', $t[5] + 1900, $t[4] + 1, @t[ 3, 2, 1, 0 ]);
}

sub quote
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

sub array
{
	return 'ARRAY[' . join(', ', map { quote($_) } @_) . ']::text[]';
}

#
# Messages
#

# Identifiers of one person; few messages name a stranger's.
sub who
{
	my ($self, $id) = @_;
	my $p = $self->roll($self->{people}, 'person', $id);
	my %set;

	# two do more than all others, so that their metrics hold more than is kept apart
	if (!$self->roll(4, 'busy', $id))
	{
		$p = $self->roll(2, 'who', $id);
		return ("user_id:u$p") if $self->roll(3, 'alone', $id);
	}
	elsif (@{ $self->{sides} // [] } && !$self->roll(6, 'side', $id))
	{
		my $side = $self->{sides}[ $self->roll(scalar @{ $self->{sides} }, 'which', $id) ];

		return grep { $set{$_}++ == 0 } map { $side->[ $self->roll(scalar @$side, 'of side', $id, $_) ] } 1 .. 2;
	}
	for my $k (1 .. 1 + $self->roll(4, 'n', $id))
	{
		my $q = $self->roll(600, 'stranger', $id, $k) ? $p : $self->roll($self->{people}, 'other', $id, $k);
		my $kind = $self->roll(8, 'kind', $id, $k);
		my $ident = $kind < 2 ? "user_id:u$q" : $kind == 2 ? "email:e$q\@example.com" : $kind == 3 ? 'phone:+8190' . (10000000 + $q)
			: $kind == 4 ? "line_id:l$q" : $kind == 5 ? "device_id:d$q" : "anonymous_id:a$q." . $self->roll(4, 'a', $id, $k);

		$set{$ident} = 1;
	}
	return sort { $self->roll(1000, $id, $a) <=> $self->roll(1000, $id, $b) } keys %set;
}

sub traits
{
	my ($self, $id) = @_;
	my %all = (
		city => [ 'Kyoto', 'Nara', 'Osaka', undef ], first_store => [qw(Gion Umeda Nada)], trusted => [ 'a', 'b', '', undef ], often => [qw(x y z), undef],
		high => [ 2, 10, -3, 7, undef ], low => [ 2.5, 10, -3, 7.125 ], langs => [ 'ja', [ 'en', 'ja' ], ['fr'], [] ],
		nick => [ 'neko', 'inu', undef ], size => [ { a => 1 }, 5 ]);
	my %traits;

	for my $t (sort keys %all)
	{
		my $values = $all{$t};

		$traits{$t} = $values->[ $self->roll(scalar @$values, 'value', $t, $id) ] if $self->roll(100, 'trait', $t, $id) < 45;
	}
	return \%traits;
}

# A message of this source, made at this minute of the history.
sub message
{
	my ($self, $id, $source, $minute, %set) = @_;

	return $self->{message}{$id} if $self->{message}{$id};
	my $kind = $self->roll(100, 'message', $id);
	my $late = $self->roll(10, 'late', $id);
	my $m = { id => $id, source => $source, minute => $minute };

	$m->{ts} = $minute - ($late < 4 ? $self->roll(40 * 1440, 'ts', $id) : $late < 8 ? $self->roll(2880, 'ts', $id) : 0);
	$m->{ts} += $self->roll(1200, 'early', $id) if $late == 9 && $kind < 85;
	$m->{idents} = $set{idents} // [ $self->who($id) ];
	if (!$set{track} && ($kind < 35 || $set{identify}))
	{
		$m->{kind} = 'identify';
		$m->{traits} = $self->traits($id);
	}
	elsif ($kind < 85 || $set{track})
	{
		my $number = $self->roll(800, 'number', $id) / 8;
		my %properties = (n => $number, gift => $self->roll(2, 'gift', $id) ? JSON::PP::true : JSON::PP::false,
			brand => (qw(a b c))[ $self->roll(3, 'brand', $id) ], sku => 's' . $self->roll(300, 'sku', $id));

		$m->{kind} = 'track';
		$m->{name} = $set{track} // (qw(Ordered Ordered Viewed Viewed Refunded))[ $self->roll(5, 'name', $id) ];
		delete $properties{sku} if $self->roll(9, 'no sku', $id) == 0;
		$properties{n} = undef if $self->roll(12, 'no number', $id) == 0 && $m->{name} eq 'Viewed';
		$m->{properties} = \%properties;
		if ($m->{name} eq 'Ordered' && $self->roll(8, 'text', $id) == 0)
		{
			# the plan makes a number of it
			$m->{sent} = { %properties, n => "$number" };
		}
		if ($m->{name} eq 'Refunded' && $set{bad} && $self->roll(3, 'missing', $id) == 0)
		{
			delete $properties{n};
			$m->{refused} = 'tracking_plan';
		}
	}
	elsif ($kind < 92)
	{
		$m->{kind} = 'page';
		$m->{name} = (qw(Home Cart))[ $self->roll(2, 'page', $id) ];
		$m->{properties} = { brand => 'a' };
	}
	elsif ($set{bad})
	{
		$m->{kind} = 'track';
		$m->{refused} = $self->roll(2, 'bad', $id) ? 'missing_event' : 'unknown_type';
	}
	else
	{
		$m->{kind} = 'consent';
		$m->{purpose} = (qw(analytics marketing))[ $self->roll(2, 'purpose', $id) ];
		$m->{state} = (qw(granted granted granted granted denied withdrawn objected))[ $self->roll(7, 'state', $id) ];
		$m->{valid_until} = '2100-01-0' . (1 + $self->roll(5, 'until', $id)) . ' 00:00:00+00' if $self->roll(3, 'until', $id) == 0;
	}
	return $self->{message}{$id} = $m;
}

sub document
{
	my ($self, $m) = @_;
	my %doc = (type => $m->{kind}, messageId => $m->{id}, timestamp => timestamp($m->{ts}),
		context => { externalIds => [ map { /^(\w+):(.*)/; { type => $1, id => $2 } } @{ $m->{idents} } ] });

	$doc{ $m->{kind} eq 'track' ? 'event' : 'name' } = $m->{name} if $m->{name};
	$doc{properties} = $m->{sent} // $m->{properties} if $m->{properties};
	$doc{traits} = $m->{traits} if $m->{traits};
	$doc{type} = 'guess' if ($m->{refused} // '') eq 'unknown_type';
	return $json->encode(\%doc);
}

# By the function of its kind.
sub call
{
	my ($self, $m) = @_;
	my $who = array(@{ $m->{idents} });
	my $at = quote(timestamp($m->{ts}));
	my ($id, $source) = (quote($m->{id}), quote($m->{source}));

	return "SELECT cdp.set_consent($who, '$m->{purpose}', '$m->{state}', $at, " . quote($m->{valid_until}) . ", $source, $id);" if $m->{kind} eq 'consent';
	return "SELECT cdp.identify($who, " . quote($json->encode($m->{traits})) . ", $at, $id, $source);" if $m->{kind} eq 'identify';
	return "SELECT cdp.track($who, '$m->{name}', " . quote($json->encode($m->{sent} // $m->{properties})) . ", $at, $id, $source);"
		if $m->{kind} eq 'track' && !$m->{refused};
	return 'SELECT count(*) FROM cdp.ingest(' . quote($self->document($m)) . ", $source);";
}

# Messages of one source, none of them a consent, in some form.
sub batch
{
	my ($self, $form, @messages) = @_;
	my $source = $messages[0]{source};
	my @docs = map { $self->document($_) } @messages;

	return 'SELECT count(*) FROM cdp.ingest(' . quote('[' . join(', ', @docs) . ']') . ", '$source');" if $form eq 'ingest';
	# a row may have several
	my $first = '[' . join(', ', splice(@docs, 0, 3)) . ']';
	return 'INSERT INTO cdp.inbox (payload, source) VALUES ' . join(', ', map { '(' . quote($_) . ", '$source')" } $first, @docs) . ';' if $form eq 'inbox';
	# from a file: what follows a COPY FROM STDIN that fails would be statements
	my $file = $self->{directory} . '/' . ++$self->{files} . '.ndjson';
	append_to_file($file, join('', map { "$_\x02$source\n" } $first, @docs));
	return "\\copy cdp.inbox (payload, source) FROM '$file' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')";
}

# The same as a row of an application; for messages of its own shape.
sub rows
{
	my ($self, @messages) = @_;

	return 'INSERT INTO hist.orders VALUES ' . join(', ', map {
		my $m = $_;
		my %who = map { /^(\w+):(.*)/ } @{ $m->{idents} };

		'(' . join(', ', quote($m->{id}), quote(timestamp($m->{ts})), quote($who{user_id}), quote($who{anonymous_id}), $m->{properties}{n}, $m->{properties}{gift} ? 'true' : 'false') . ')'
	} @messages) . ' ON CONFLICT DO NOTHING;';
}

#
# Operations
#

sub add
{
	my ($self, $sql, @messages) = @_;
	my $clock = "SET cdp.clock = '" . timestamp($self->{minute}) . "';";

	push @{ $self->{plan}[ $self->{session} ] }, { sql => $sql, clock => $clock, ids => [ map { $_->{id} } @messages ] };
	return;
}

sub operation
{
	my ($self, $s, $i) = @_;
	my $op = "s$s-$i";
	my $kind = $self->roll(100, 'operation', $op);
	my $source = (qw(crm shop web))[ $self->roll(3, 'source', $op) ];

	$self->pair($s, $i) if $i % 14 == 7;
	$self->decide($op) if $self->{serial} && $i % 9 == 5;
	$self->administer($s, $i);
	if ($kind < 40)
	{
		my $m = $self->message($op, $source, $self->{minute});

		return $self->add($self->call($m), $m);
	}
	if ($kind < 80)
	{
		my @messages = map {
			# some come from other sessions as well
			$self->roll(4, 'shared', $op, $_)
				? $self->message("$op-$_", $source, $self->{minute}, bad => 1)
				: $self->message("$source-" . $self->roll(60, 'which', $op, $_), $source, 0, bad => 1)
		} 1 .. 2 + $self->roll($kind < 45 ? 150 : 25, 'size', $op);

		return $self->add($self->batch($kind < 55 ? 'ingest' : $kind < 65 ? 'inbox' : 'copy', @messages), @messages);
	}
	if ($kind < 88)
	{
		my @messages = map {
			my $p = $self->roll($self->{people}, 'person', $op, $_);
			my $m = $self->message("$op-$_", 'shop', $self->{minute}, track => 'Ordered',
				idents => [ "user_id:u$p", "anonymous_id:a$p." . $self->roll(4, 'a', $op, $_) ]);

			delete @{ $m->{properties} }{qw(brand sku)};
			delete $m->{sent};
			$m;
		} 1 .. 1 + $self->roll(9, 'size', $op);

		return $self->add($self->rows(@messages), @messages);
	}
	if ($kind < 95)
	{
		# what was said before, by anybody, in another form
		my @old = grep { $_->{minute} <= $self->{minute} && $_->{source} eq $source && $_->{kind} ne 'consent' && ($_->{joins} // $s) == $s } map { $self->{message}{$_} } sort keys %{ $self->{message} };
		my @messages = grep { defined } map { $old[ $self->roll(1 + @old, 'old', $op, $_) ] } 1 .. 12;

		return $self->add($self->batch((qw(ingest inbox copy))[ $kind % 3 ], @messages), @messages) if @messages;
	}
	return $self->add('CALL cdp.maintain(5);') if $kind < 97;
	return $self->add('SELECT * FROM cdp.retry_rejected();') if $kind == 97;
	return $self->decide($op) if $self->{serial};
	return $self->add("SELECT cdp.rebuild(cdp.resolve('user_id:u" . $self->roll($self->{people}, 'rebuilt', $op) . "'));");
}

# What the model does not know; for histories that are compared with themselves.
sub decide
{
	my ($self, $op) = @_;
	my $p = $self->roll($self->{people}, 'decided', $op);
	my $way = $self->roll(4, 'decision', $op);

	return $self->add('CALL cdp.rebuild_all();') if $way == 0;
	return $self->add("SELECT hist.remove('r$op', 'anonymous_id:a$p.1');") if $way == 1;
	return $self->add('SELECT cdp.apply_rules();') if $way == 2;
	return $self->add("SELECT pairs FROM cdp.ingest_edges(\$q\$SELECT 'anonymous_id:a$p.' || i, 'member:g$p', timestamptz '2025-02-01' + i * interval '1 day' FROM generate_series(0, 30) i\$q\$);");
}

# Two people who become one, by a message or somebody's word; mostly that was wrong.
sub pair
{
	my ($self, $s, $i) = @_;
	my $p = "$s-$i";
	my @x = ("user_id:x$p", "anonymous_id:x$p");
	my @y = ("email:y$p\@example.com", "anonymous_id:y$p");
	my $way = $self->roll(5, 'way', $p);
	my $n = 0;
	my $say = sub {
		my $m = $self->message("p$p-" . ++$n, 'crm', $self->{minute}, @_);

		$self->add($self->call($m), $m);
		return $m;
	};

	$say->(idents => \@x, identify => 1);
	$say->(idents => \@y, identify => 1);
	push @{ $self->{sides} }, \@x, \@y;
	if ($way == 4)
	{
		my $device = "device_id:x$p";

		$say->(idents => [ $device, $x[0] ], track => 'Viewed');
		$self->add("SELECT hist.unlink('u$p', '$x[0]', '$device');");
		push @{ $self->{said} }, [ $x[0], $device, 'f' ];
		$say->(idents => [ $x[0], $device ], track => 'Viewed');
		$say->(idents => [$device], identify => 1);
		return;
	}
	my @both = ($x[ $self->roll(2, 'x', $p) ], $y[ $self->roll(2, 'y', $p) ]);
	my $cause;

	if ($way < 2)
	{
		my $m = $say->(idents => \@both, track => 'Viewed');

		# a session that is ahead would make them one person to begin with, and there were no merge to undo
		$m->{joins} = $s;
		$cause = $m->{id};
	}
	else
	{
		$cause = "m$p";
		$self->add("SELECT hist.merge('$cause', '$both[0]', '$both[1]');");
		push @{ $self->{said} }, [ @both, $way == 3 ? 't' : undef, timestamp($self->{minute}) ];
	}
	$say->(idents => \@x);
	$say->(idents => [ $y[1] ], identify => 1);
	return if $way == 3;
	return if $way == 0 && $self->roll(2, 'stays', $p);
	$self->add("SELECT hist.unmerge('u$p', '$cause');");
	push @{ $self->{said} }, [ @both, 'f' ] if $way < 2;
	$say->(idents => \@y);
	return;
}

sub administer
{
	my ($self, $s, $i) = @_;
	my $third = int($self->{operations} / 3);

	return if $s != 0 || $i == 0 || $i % $third != 0 || $self->{calm};
	if ($i == $third)
	{
		$self->add("SELECT cdp.define_sequence('unpaid', 'Ordered', 'Refunded', same => 'sku', period => '1 day', did_filter => '{\"gift\": true}', result => 'count') "
			. "WHERE NOT EXISTS (SELECT FROM cdp.sequences WHERE name = 'unpaid');");
		$self->add("SELECT cdp.define_segment('owing', predicate => 'unpaid >= 2') WHERE NOT EXISTS (SELECT FROM cdp.segments WHERE name = 'owing');");
		return $self->add("SELECT cdp.define_metric('mean_month', 'Ordered', 'avg', 'n', period => '1 month') WHERE NOT EXISTS (SELECT FROM cdp.metrics WHERE name = 'mean_month');");
	}
	$self->add("SELECT cdp.set_session('4 hours');");
	$self->add("SELECT cdp.redefine_trait('often', 'max') WHERE EXISTS (SELECT FROM cdp.traits WHERE name = 'often' AND survivorship <> 'max');");
	return $self->add('SELECT cdp.apply_rules();');
}

#
# Playing
#

# As input of psql, which says "ack <number>" after each operation that went well.
sub script
{
	my ($operations, $from) = @_;
	my $text = "SET client_min_messages = warning;\n";

	for my $n (($from // 0) .. $#$operations)
	{
		$text .= "$operations->[$n]{clock}\n$operations->[$n]{sql}\n\\if :ERROR\n\\else\n\\echo ack $n\n\\endif\n";
	}
	return $text;
}

# All sessions at once while the server is killed, all of it or one backend, up
# to so many times; they go on with what was not acknowledged.  beside: SQL of
# one more session, which is ended with the others; after: called when the
# server is back, with the number of the kill and the ids of the messages that
# were acknowledged.  Returns how often it was killed, and how many operations
# of each session were done.
sub play_killed
{
	my ($self, $node, %options) = @_;
	my $plan = $self->{plan};
	my @next = (0) x @$plan;
	my $kills = 0;

	for my $round (0 .. $options{kills})
	{
		my @running = map { start_client($node, 'postgres', script($plan->[$_], $next[$_])) } 0 .. $#next;
		my $beside = $options{beside} && start_client($node, 'postgres', "SET application_name = 'beside';\n$options{beside}");
		my $all = rand() < 0.5;

		# a slow machine gets on, too
		my $work = $kills < $options{kills} && grep { $next[$_] < @{ $plan->[$_] } } 0 .. $#next;

		if ($work)
		{
			select(undef, undef, undef, 0.1 + rand(0.3) + $round / 20);
			($all ? \&kill_cluster : \&kill_backend)->($node);
		}
		for my $s (0 .. $#next)
		{
			my ($out, $err) = finish_client($running[$s]);

			# in their order, and the first that is missing is the next
			$next[$s] = $1 + 1 while $out =~ /^ack (\d+)$/mg;
			die "round $round, session $s: $err" if $err =~ /ERROR/;
		}
		if ($beside)
		{
			$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'beside'") unless $work;
			my ($out, $err) = finish_client($beside);

			die "round $round: $err" if $err =~ /ERROR/;
		}
		last if !$work;
		$kills++;
		$all ? $node->start : $node->poll_query_until('postgres', 'SELECT true') || die 'the cluster did not come back';
		$options{after}->($kills, map { my $s = $_; map { @{ $_->{ids} } } @{ $plan->[$s] }[ 0 .. $next[$s] - 1 ] } 0 .. $#next);
	}
	return ($kills, @next);
}

# Every message that was to be taken again, in another order and other batches.
sub redelivery
{
	my ($self) = @_;
	my $text = "SET client_min_messages = warning;\nSET cdp.clock = '" . timestamp($self->{minute} + 10) . "';\n";
	my %by_source;

	for my $m (sort { $self->roll(100000, 'again', $a->{id}) <=> $self->roll(100000, 'again', $b->{id}) || $a->{id} cmp $b->{id} } values %{ $self->{message} })
	{
		if ($m->{kind} eq 'consent')
		{
			$text .= $self->call($m) . "\n";
		}
		else
		{
			push @{ $by_source{ $m->{source} } }, $m;
		}
	}
	for my $source (sort keys %by_source)
	{
		while (my @part = splice(@{ $by_source{$source} }, 0, 400))
		{
			$text .= $self->batch((qw(ingest copy))[ @part % 2 ], @part) . "\n";
		}
	}
	return $text;
}

# Tables, functions and configuration of histories.
sub install_history
{
	my ($node, $database) = @_;

	$node->safe_psql($database, slurp_file(dirname(__FILE__) . '/../history.sql'));
	$node->safe_psql($database, q{SET cdp.clock = '2025-03-01'; SELECT hist.configure(); CALL cdp.maintain();
		SELECT cdp.attach('hist.orders', '{"event": "Ordered", "message_id": "id", "time": "at", "identifiers": {"user_id": "user_id", "anonymous_id": "anonymous_id"},
			"properties": ["n", "gift"]}', source => 'shop')});
}

# The messages and acts of a history, for hist.naive().
sub load
{
	my ($self, $node, $database) = @_;
	my $rows = '';
	my $field = sub {
		my ($v) = @_;

		return '' unless defined $v;
		$v =~ s/"/""/g;
		return qq("$v");
	};

	for my $m (map { $self->{message}{$_} } sort keys %{ $self->{message} })
	{
		$rows .= join(',', map { $field->($_) } $m->{id}, $m->{source}, $m->{kind}, timestamp($m->{ts}), '{' . join(',', map { qq("$_") } @{ $m->{idents} }) . '}', $m->{name},
			$m->{properties} ? $json->encode($m->{properties}) : undef, $m->{traits} ? $json->encode($m->{traits}) : undef,
			@$m{qw(purpose state valid_until refused)}) . "\n";
	}
	my $said = join('', map { join("\t", map { $_ // '\N' } @$_[ 0 .. 3 ]) . "\n" } @{ $self->{said} });
	$node->safe_psql($database, "COPY hist.message FROM STDIN WITH (FORMAT csv);\n$rows\\.\nCOPY hist.said FROM STDIN;\n$said\\.\nSELECT hist.prepare();");
	return;
}

# The time when all is said.
sub clock
{
	my ($self) = @_;

	return timestamp($self->{minute} + 5);
}

# Background work to its end.
sub finish_work
{
	my ($self, $node, $database) = @_;

	$node->safe_psql($database, "SET cdp.clock = '" . $self->clock . "'; CALL cdp.maintain(60);");
	return $node->safe_psql($database, "SELECT kind, target, state, error FROM cdp.tasks WHERE state NOT IN ('done')");
}

# Lines of what is known, sorted; metrics at several times.
sub facts
{
	my ($self, $node, $database, $sql, $metrics) = @_;
	my @lines = split /\n/, $node->safe_psql($database, "SET jit = off; $sql");

	for my $days (0, 3.3, 11.7)
	{
		my $clock = timestamp($self->{minute} + 1440 + int($days * 1440));

		push @lines, map { "$days days: $_" } split /\n/, $node->safe_psql($database, "SET jit = off; SET cdp.clock = '$clock'; SELECT part || ': ' || item FROM $metrics");
	}
	return [ sort @lines ];
}

sub known
{
	my ($self, $node, $database, $serial) = @_;

	return $self->facts($node, $database, 'SELECT part || \': \' || item FROM hist.known(' . ($serial ? 'true' : 'false') . ')', 'hist.metrics()');
}

sub naive
{
	my ($self, $node, $database) = @_;

	return $self->facts($node, $database, q{SELECT part || ': ' || item FROM hist.naive()}, 'hist.naive_metrics()');
}

# The first lines that only one side has; '' when both have the same.
sub differences
{
	my ($got, $expected) = @_;
	my %count;

	$count{$_}++ for @$got;
	$count{$_}-- for @$expected;
	my @lines = map { ($count{$_} > 0 ? '+ ' : '- ') . $_ } grep { $count{$_} } sort keys %count;
	return join("\n", @lines > 20 ? (@lines[ 0 .. 19 ], scalar(@lines) . ' differences') : @lines);
}

1;
