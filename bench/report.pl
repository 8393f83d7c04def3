#!/usr/bin/perl
# The table of run.sh: reads "key<TAB>value" samples, prints medians, ratios and ranges.
use strict;
use warnings;

my %of;
while (<>)
{
	chomp;
	my ($key, $value) = split /\t/;
	push @{ $of{$key} }, $value;
}

sub median
{
	my @v = sort { $a <=> $b } @_;
	return @v % 2 ? $v[$#v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
}

sub number
{
	my $n = sprintf '%.0f', shift;
	1 while $n =~ s/^(\d+)(\d{3})/$1,$2/;
	return $n;
}

# Small numbers keep a digit.
sub shown
{
	return $_[0] < 100 && $_[0] > 0 ? sprintf('%.1f', $_[0]) : number($_[0]);
}

sub range
{
	my @v = sort { $a <=> $b } @_;
	return shown($v[0]) . '..' . shown($v[-1]);
}

# line WHAT, UNIT, OUR KEY, PEER'S KEY. The range of ratios is that of the pairs of neighbouring runs.
sub line
{
	my ($what, $unit, $ours, $peers) = @_;
	my @a = @{ $of{$ours} || [] };
	my @b = @{ $of{$peers} || [] };
	return unless @a && @b;
	my ($ratio, $ratios) = ('-', '-');	# a peer that writes nothing has no WAL
	if (median(@b) >= 1)
	{
		$ratio = sprintf '%.3f', median(@a) / median(@b);
		my @r = sort { $a <=> $b } map { $b[$_] ? $a[$_] / $b[$_] : 0 } 0 .. ($#a < $#b ? $#a : $#b);
		$ratios = sprintf '%.3f..%.3f', $r[0], $r[-1];
	}
	printf "%-46s %-7s %9s %9s %6s %16s %16s %13s\n", $what, $unit, shown(median(@a)), shown(median(@b)), $ratio,
		range(@a), range(@b), $ratios;
}

printf "%-46s %-7s %9s %9s %6s %16s %16s %13s\n", 'what', 'unit', 'cdp', 'peer', 'ratio', 'range cdp', 'range peer', 'range ratio';
print '-' x 129, "\n";
for my $sync ('on', 'off')
{
	for my $clients (1, 8)
	{
		my $c = $clients == 1 ? '1 client' : "$clients clients";
		line("track | INSERT, $c, sync $sync", 'tx/s', "track $clients $sync rate", "insert $clients $sync rate");
		line("  CPU of the server", 'us/tx', "track $clients $sync cpu", "insert $clients $sync cpu");
		line("  WAL", 'byte/tx', "track $clients $sync wal", "insert $clients $sync wal");
	}
}
for my $kind ('known', 'new')
{
	for my $sync ('on', 'off')
	{
		for my $clients (1, 2, 8)
		{
			line("identify | same in plpgsql, $kind, $clients c., $sync", 'tx/s', "identify_$kind $clients $sync rate", "same_identify_$kind $clients $sync rate");
			line("  CPU of the server", 'us/tx', "identify_$kind $clients $sync cpu", "same_identify_$kind $clients $sync cpu");
			line("identify | its rows alone, $kind, $clients c., $sync", 'tx/s', "identify_$kind $clients $sync rate", "rows_identify_$kind $clients $sync rate");
			line("its rows alone | INSERT, $kind, $clients c., $sync", 'tx/s', "rows_identify_$kind $clients $sync rate", "insert_beside_$kind $clients $sync rate");
			line("identify | INSERT, $kind pair, $clients c., $sync", 'tx/s', "identify_$kind $clients $sync rate", "insert_beside_$kind $clients $sync rate");
		}
		line("identify | plpgsql, $kind pair, 8 c., sync $sync", 'tx/s', "identify_$kind 8 $sync rate", "peer_identify_$kind 8 $sync rate");
		line("  CPU of the server", 'us/tx', "identify_$kind 8 $sync cpu", "peer_identify_$kind 8 $sync cpu");
		line("  WAL", 'byte/tx', "identify_$kind 8 $sync wal", "peer_identify_$kind 8 $sync wal");
	}
}
for my $sync ('on', 'off')
{
	line("ingest | COPY, known people, sync $sync", 'row/s', "ingest_known $sync rate", "copy $sync rate");
	line("  CPU of the server", 'us/row', "ingest_known $sync cpu", "copy $sync cpu");
	line("ingest | COPY, new people, sync $sync", 'row/s', "ingest_new $sync rate", "copy $sync rate");
	line("  CPU of the server", 'us/row', "ingest_new $sync cpu", "copy $sync cpu");
}
print "\n";
print 'Preload, one call of cdp.ingest() after the other: ', number($_), " identify messages/s.\n" for @{ $of{'preload rate'} || [] };
print "\nNoise, (max - min) / median of the same run repeated:\n";
for my $key (sort keys %of)
{
	next unless $key =~ /^(insert \d+ \w+ (?:rate|cpu)|copy \w+ (?:rate|cpu))$/;
	my @v = sort { $a <=> $b } @{ $of{$key} };
	printf "  %-18s %6.1f %% of %s\n", $1, 100 * ($v[-1] - $v[0]) / median(@v), scalar(@v);
}
