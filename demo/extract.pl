#!/usr/bin/perl
# Cut the small extract in demo/data out of the published "Complete Journey 2.0" tables.
#
#   perl demo/extract.pl FOLDER [OUTPUT]
#
# FOLDER holds the tables of the R package completejourney 1.1.1 written as CSV, one file each:
# transactions.csv (the package's transactions_sample), products.csv, demographics.csv, campaigns.csv,
# campaign_descriptions.csv and coupon_redemptions.csv.  OUTPUT is demo/data unless named.
#
# Nothing here is random: the same tables give the same bytes.
use strict;
use warnings;

my $in  = shift // die "usage: extract.pl FOLDER [OUTPUT]\n";
my $out = shift // do { (my $d = $0) =~ s{[^/]*$}{}; ($d || './') . 'data' };

my $END     = '2017-10-01';    # the demo's "today": only what happened before it is kept
my $ACTIVE  = '2017-09-03';    # last basket in the last four weeks
my $COOLING = '2017-08-06';    # ... in the four weeks before those; older than that: lapsed
my %TAKE    = (active => 185, cooling => 55, lapsed => 27, unknown => 33);

# The tables have no comma, quote or line break inside a field; only the header is quoted.
sub table {
	my ($name, $each) = @_;
	open my $f, '<', "$in/$name.csv" or die "$in/$name.csv: $!\n";
	my $header = <$f> // die "$name.csv is empty\n";
	$header =~ tr/"\r\n//d;
	my @columns = split /,/, $header;
	while (my $line = <$f>) {
		$line =~ s/\r?\n\z//;
		die "$name.csv:$.: a quoted field\n" if $line =~ /"/;
		my @fields = split /,/, $line, -1;
		die "$name.csv:$.: " . @fields . " fields\n" if @fields != @columns;
		my %row;
		@row{@columns} = map { $_ eq 'NA' ? '' : $_ } @fields;
		$each->(\%row);
	}
	close $f;
}

sub write_table {
	my ($name, $columns, $rows) = @_;
	open my $f, '>', "$out/$name.csv" or die "$out/$name.csv: $!\n";
	print $f join(',', @$columns), "\n";
	print $f join(',', @$_{@$columns}), "\n" for @$rows;
	close $f or die "$out/$name.csv: $!\n";
	printf "%-24s %6d rows %8d bytes\n", "$name.csv", scalar @$rows, -s "$out/$name.csv";
}

# 1. What we know about each household.
my (%known, %baskets, %last);
table('demographics', sub { $known{ $_[0]{household_id} } = 1 });
table('transactions', sub {
	my ($r) = @_;
	return if $r->{transaction_timestamp} ge $END;
	my $h = $r->{household_id};
	$baskets{$h}{ $r->{basket_id} } = 1;
	$last{$h} = $r->{transaction_timestamp}
		if !defined $last{$h} || $last{$h} lt $r->{transaction_timestamp};
});

# 2. Choose: households with demographics, most baskets first, in three slices by their last basket;
#    and a few lapsed ones of whom only the card is known.
my %slice;
for my $h (sort { keys %{ $baskets{$b} } <=> keys %{ $baskets{$a} } or $a <=> $b } keys %baskets) {
	my $when = $last{$h} ge $ACTIVE ? 'active' : $last{$h} ge $COOLING ? 'cooling' : 'lapsed';
	my $group = $known{$h} ? $when : $when eq 'lapsed' ? 'unknown' : next;
	push @{ $slice{$group} }, $h if @{ $slice{$group} // [] } < $TAKE{$group};
}
my %chosen = map { $_ => 1 } map { @$_ } values %slice;

# 3. Cut.
my (@transactions, %product, @products, @demographics, @campaigns, %campaign, @descriptions, @redeemed);
table('transactions', sub {
	my ($r) = @_;
	return unless $chosen{ $r->{household_id} } && $r->{transaction_timestamp} lt $END;
	push @transactions, $r;
	$product{ $r->{product_id} } = 1;
});
@transactions = sort {
	$a->{transaction_timestamp} cmp $b->{transaction_timestamp}
		or $a->{basket_id} <=> $b->{basket_id}
		or $a->{product_id} <=> $b->{product_id}
} @transactions;
table('products',     sub { push @products,     $_[0] if $product{ $_[0]{product_id} } });
table('demographics', sub { push @demographics, $_[0] if $chosen{ $_[0]{household_id} } });
table('campaign_descriptions', sub {
	return unless $_[0]{start_date} lt $END;
	push @descriptions, $_[0];
	$campaign{ $_[0]{campaign_id} } = 1;
});
table('campaigns', sub {
	push @campaigns, $_[0] if $chosen{ $_[0]{household_id} } && $campaign{ $_[0]{campaign_id} };
});
table('coupon_redemptions', sub {
	push @redeemed, $_[0] if $chosen{ $_[0]{household_id} } && $_[0]{redemption_date} lt $END;
});

sub by { my @k = @_; sub { my ($x, $y) = @_; for (@k) { my $c = $x->{$_} <=> $y->{$_}; return $c if $c } 0 } }
sub ordered { my ($by, @rows) = @_; [ sort { $by->($a, $b) } @rows ] }

mkdir $out unless -d $out;
write_table('transactions', [qw(household_id store_id basket_id product_id quantity sales_value
	retail_disc transaction_timestamp)], \@transactions);
write_table('products', [qw(product_id department brand product_category product_type)],
	ordered(by('product_id'), @products));
write_table('demographics', [qw(household_id age income home_ownership marital_status household_size
	household_comp kids_count)], ordered(by('household_id'), @demographics));
write_table('campaigns', [qw(campaign_id household_id)],
	ordered(by('campaign_id', 'household_id'), @campaigns));
write_table('campaign_descriptions', [qw(campaign_id campaign_type start_date end_date)],
	ordered(by('campaign_id'), @descriptions));
write_table('coupon_redemptions', [qw(household_id coupon_upc campaign_id redemption_date)],
	[ sort { $a->{redemption_date} cmp $b->{redemption_date} or $a->{household_id} <=> $b->{household_id}
		or $a->{coupon_upc} <=> $b->{coupon_upc} } @redeemed ]);
printf "%d households: %s\n", scalar keys %chosen,
	join ', ', map { scalar(@{ $slice{$_} // [] }) . " $_" } qw(active cooling lapsed unknown);
