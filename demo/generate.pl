#!/usr/bin/perl
# Make the messages that the households of demo/data send from web, app, e-mail and contact centre.
#
#   perl demo/generate.pl [FOLDER]      writes web.jsonl, app.jsonl, email.jsonl, contact_centre.jsonl
#                                       into FOLDER (demo/messages unless named)
#
# The purchases of the demo are real; these messages are not.  They are drawn around the real baskets,
# so that a household looks at what it then buys.  Every identifier is invented, by these rules:
#
#   user_id        card-<household>                  the loyalty card
#   email          hh<household>@example.com         often typed with capitals or blanks
#   phone          +1555010<household, 4 digits>     often typed with brackets and dashes
#   anonymous_id   w-<8 hex digits>, one a browser; m-<8 hex digits>, one an app
#   device_id      <16 hex digits>, one a phone
#
# Nothing depends on the clock or on chance: a small generator is seeded with the household number.
# The messages have the form of the Segment specification, as a collector keeps them: the client's own
# clock in originalTimestamp and sentAt, the collector's in receivedAt, the corrected time in timestamp.
use strict;
use warnings;

(my $here = $0) =~ s{[^/]*$}{};
$here ||= './';
my $out  = shift // "${here}messages";
my $STAR = 2208;    # the household whose story the demo tells: it gets every channel
my $END  = epoch('2017-10-01 00:00:00');
my $DAY  = 86400;

# --- time, chance and JSON, with nothing but the language -----------------------------------------

sub days {    # days since 1970-01-01 of a Gregorian date
	my ($y, $m, $d) = @_;
	$y-- if $m <= 2;
	my $era = int($y / 400);
	my $yoe = $y - $era * 400;
	my $doy = int((153 * ($m + ($m > 2 ? -3 : 9)) + 2) / 5) + $d - 1;
	return $era * 146097 + $yoe * 365 + int($yoe / 4) - int($yoe / 100) + $doy - 719468;
}

sub epoch {
	my ($y, $mo, $d, $h, $mi, $s) = $_[0] =~ /^(\d+)-(\d+)-(\d+)(?: (\d+):(\d+):(\d+))?$/
		or die "not a time: $_[0]\n";
	return days($y, $mo, $d) * 86400 + ($h // 0) * 3600 + ($mi // 0) * 60 + ($s // 0);
}

sub iso {
	my ($t, $ms) = @_;
	my ($s, $mi, $h, $d, $mo, $y) = gmtime $t;
	return sprintf '%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', $y + 1900, $mo + 1, $d, $h, $mi, $s, $ms;
}

my $state;
sub seed { $state = ($_[0] * 2654435 + 97) % 2147483648; chance(2) for 1 .. 5 }

sub chance {    # a whole number, 0 .. n-1
	$state = ($state * 1103515245 + 12345) % 2147483648;
	return int(($state >> 8) * $_[0] / 8388608);
}
sub percent { return chance(100) < $_[0] }
sub pick    { return $_[ chance(scalar @_) ] }

my %used;
sub hex_id {    # never the same twice
	my ($digits) = @_;
	for (;;) {
		my $id = join '', map { sprintf '%x', chance(16) } 1 .. $digits;
		return $id unless $used{$id}++;
	}
}

sub number { return \"$_[0]" }    # marks what is to be written without quotes

sub json {
	my ($v) = @_;
	return $$v if ref $v eq 'SCALAR';
	return '[' . join(',', map { json($_) } @$v) . ']' if ref $v eq 'ARRAY';
	return '{' . join(',', map { json($_) . ':' . json($v->{$_}) } sort keys %$v) . '}' if ref $v eq 'HASH';
	$v =~ s/(["\\])/\\$1/g;
	return "\"$v\"";
}

# --- the real data --------------------------------------------------------------------------------

sub table {
	my ($name, $each) = @_;
	open my $f, '<', "${here}data/$name.csv" or die "${here}data/$name.csv: $!\n";
	chomp(my $header = <$f>);
	my @columns = split /,/, $header;
	while (my $line = <$f>) {
		chomp $line;
		my %row;
		@row{@columns} = split /,/, $line, -1;
		$each->(\%row);
	}
}

my (%product, %in_category, %paid, %sold, %baskets, %campaign, %mailed);
table('products', sub { $product{ $_[0]{product_id} } = $_[0] });
table('transactions', sub {
	my ($r) = @_;
	my $p = $product{ $r->{product_id} } // return;    # a few products have no description
	my $basket = $baskets{ $r->{household_id} }{ $r->{basket_id} } //=
		{ id => $r->{basket_id}, at => epoch($r->{transaction_timestamp}), products => [] };
	return if $p->{product_category} =~ /COUPON|^$/ || $p->{department} eq 'FUEL' || $r->{quantity} < 1;
	push @{ $basket->{products} }, $p;
	$paid{ $r->{product_id} } += $r->{sales_value};
	$sold{ $r->{product_id} } += $r->{quantity};
});
push @{ $in_category{ $product{$_}{product_category} } }, $product{$_} for sort { $a <=> $b } keys %sold;
table('campaign_descriptions', sub { $campaign{ $_[0]{campaign_id} } = $_[0] });
table('campaigns', sub { push @{ $mailed{ $_[0]{household_id} } }, $_[0]{campaign_id} });

# --- writing a message ----------------------------------------------------------------------------

my %messages;    # source -> [[received, sequence, text], ...]
my $sequence = 0;

sub send_message {
	my ($source, $at, $client, $message) = @_;
	my $skew    = $client->{skew} // 0;         # this client's clock is wrong by so much
	my $ms      = chance(1000);
	my $delay   = 1 + chance(3);                # clients collect messages and send them together
	my %full    = (
		%$message,
		messageId         => "$client->{prefix}-" . hex_id(12),
		originalTimestamp => iso($at + $skew,          $ms),
		sentAt            => iso($at + $skew + $delay, $ms),
		receivedAt        => iso($at + $delay,         $ms),
		timestamp         => iso($at,                  $ms),
		context           => { %{ $client->{context} }, %{ $message->{context} // {} } });
	$full{anonymousId} = $client->{anonymous_id} if $client->{anonymous_id};
	$full{userId}      = $client->{user_id}      if $client->{user_id};
	push @{ $messages{$source} }, [ $at + $delay, $sequence++, json(\%full) ];

	# Now and then the answer is lost, and the client sends the same message again.
	if ($sequence % 211 == 0) {
		$full{sentAt}     = iso($at + $skew + $delay + 30, $ms);
		$full{receivedAt} = iso($at + $delay + 30,         $ms);
		push @{ $messages{$source} }, [ $at + $delay + 30, $sequence++, json(\%full) ];
	}
}

sub typed {    # an e-mail address as people type it
	my ($email) = @_;
	return ucfirst $email        if percent(12);
	return uc $email             if percent(6);
	return " $email "            if percent(6);
	return $email;
}

sub dialled {    # a phone number as agents type it
	my ($phone) = @_;
	return $phone if percent(60);
	$phone =~ s/^\+1(\d{3})(\d{3})(\d{4})$/+1 ($1) $2-$3/;
	return $phone;
}

sub browser {
	my ($name) = @_;
	return {
		prefix       => 'ajs',
		anonymous_id => 'w-' . hex_id(8),
		skew         => percent(8) ? pick(-7200, -300, 240, 3600) : 0,
		context      => { library => { name => 'analytics.js', version => '3.2.3' }, userAgent => $name },
	};
}

sub app {
	my $type = pick('ios', 'android');
	return {
		prefix       => 'app',
		anonymous_id => 'm-' . hex_id(8),
		context      => {
			library => { name => "analytics-$type", version => '3.6.0' },
			device  => { id => hex_id(16), type => $type },
			app     => { name => 'Shop', version => '2.1' },
		},
	};
}

sub page {
	my ($p) = @_;
	(my $slug = lc $p->{product_category}) =~ s/[^a-z0-9]+/-/g;
	return "https://shop.example.com/c/$slug";
}

sub viewed {
	my ($p) = @_;
	return {
		type       => 'track',
		event      => 'Product Viewed',
		properties => {
			product_id => $p->{product_id},
			name       => $p->{product_type},
			category   => $p->{product_category},
			brand      => $p->{brand},
			price      => number(sprintf '%.2f', $paid{ $p->{product_id} } / $sold{ $p->{product_id} }),
		},
	};
}

# One visit: the way in, then what interests the visitor.  Returns the time it ended.
sub visit {
	my ($client, $at, $identify, @interest) = @_;
	my $source = $client->{prefix} eq 'app' ? 'app' : 'web';
	if ($source eq 'app') {
		send_message('app', $at, $client, { type => 'screen', name => 'Home' });
	} else {
		my $way = pick('https://www.example.org/search', '', 'https://news.example.net/');
		send_message('web', $at, $client, { type => 'page', name => 'Home',
			properties => { url => 'https://shop.example.com/', referrer => $way } });
	}
	for my $n (0 .. $#interest) {
		my $p = $interest[$n];
		$at += 15 + chance(90);
		if ($n == 0 && $source eq 'web') {
			send_message('web', $at, $client, { type => 'page', name => 'Category',
				properties => { url => page($p), category => $p->{product_category} } });
			$at += 5 + chance(60);
		}
		send_message($source, $at, $client, viewed($p));
	}
	if ($identify) {    # logging in ties what went before to the card
		$at += 10 + chance(60);
		$client->{user_id} = $identify->{user_id};
		send_message($source, $at, $client,
			{ type => 'identify', traits => { email => typed($identify->{email}) } });
	}
	return $at;
}

# --- the households -------------------------------------------------------------------------------

my @LAPTOP = ('Firefox 54 on Linux', 'Chrome 59 on Windows', 'Safari 10 on macOS');
my @MOBILE = ('Safari 10 on iPhone', 'Chrome 59 on Android');
my @REASON = ('Points missing', 'Opening hours', 'Coupon refused', 'Product complaint', 'Change of address');

for my $h (sort { $a <=> $b } keys %baskets) {
	seed($h);
	my $star   = $h == $STAR;
	my @basket = sort { $a->{at} <=> $b->{at} or $a->{id} <=> $b->{id} }
		grep { @{ $_->{products} } } values %{ $baskets{$h} };
	my $last   = $basket[-1]{at} // next;
	my %who    = (user_id => "card-$h", email => "hh$h\@example.com");
	my $phone  = sprintf '+1555010%04d', $h;
	my $web    = $star || percent(68);
	my $second = $web && ($star || percent(45));
	my $app    = $star || percent(35);
	my ($laptop, $mobile, $phone_app) = (browser(pick(@LAPTOP)), browser(pick(@MOBILE)), app());

	# Visits happen a day or two before a real basket, and look at what is then bought.
	my $visits = $web || $app ? 2 + chance(4) : 0;
	$visits = 7 if $star;
	$visits = @basket if $visits > @basket;
	for my $v (0 .. $visits - 1) {
		my $basket = $basket[ int(($v + 0.5) * @basket / $visits) ];
		my $at     = $basket->{at} - $DAY * (1 + chance(2)) - chance(3600);
		$at += (19 - int($at % $DAY / 3600)) * 3600 if $at % $DAY < 6 * 3600;    # nobody shops at night
		my @wanted = grep { defined } @{ $basket->{products} }[ 0, 1 ];
		push @wanted, pick(@{ $in_category{ $wanted[0]{product_category} } });
		my $client = $star ? ($laptop, $laptop, $mobile, $phone_app, $mobile, $laptop, $phone_app)[$v]
			: !$web                                 ? $phone_app
			: $app && $v % 3 == 2                   ? $phone_app
			: $second && $v % 3 == 1                ? $mobile
			:                                         $laptop;
		# The first visit with each client is often anonymous; one of the next ones logs in.
		# Some second browsers never do: their visitor stays a stranger.
		my $seen    = $client->{visits}++;
		my $silent  = !$star && $client == $mobile && $h % 6 == 0;
		my $log_in  = !$client->{user_id} && !$silent
			&& ($seen > 0 || ($star ? $client != $laptop : percent(55)));
		$client->{user_id} = $who{user_id} if $client->{known};
		visit($client, $at, $log_in ? \%who : undef, @wanted);
		$client->{known} = 1 if $client->{user_id};
	}

	# E-mails of the campaigns the household really received, if an address is known (see 1-collect.sql).
	if ($h % 10 != 3 || grep { $_->{known} } $laptop, $mobile, $phone_app) {
		my $mail = { prefix => 'esp', context => {} };
		for my $c (@{ $mailed{$h} // [] }) {
			next unless $star || percent($last < $END - 42 * $DAY ? 40 : 65);
			my $at = epoch($campaign{$c}{start_date}) + $DAY * chance(3) + 3600 * (8 + chance(13)) + chance(3600);
			next if $at >= $END || $at < epoch('2017-01-01');
			send_message('email', $at, $mail, {
				type       => 'track',
				event      => 'Email Opened',
				context    => { traits => { email => typed($who{email}) } },
				properties => { campaign_id => $c, campaign_type => $campaign{$c}{campaign_type} } });
		}
	}

	# Calls to the contact centre: only a phone number is known there. The members who left none with the
	# shop (see 1-collect.sql) stay unknown callers.
	my $calls = $star ? 1 : percent($last < $END - 42 * $DAY ? 45 : 15) ? 1 + chance(2) : 0;
	for my $n (1 .. $calls) {
		my $at = $star ? $last + 2 * $DAY : $last - $DAY * chance(90) + 3600;
		$at = $last + $DAY * (1 + chance(6)) if !$star && $n == 1 && $last < $END - 42 * $DAY;
		$at = int($at / $DAY) * $DAY + 3600 * (9 + chance(9)) + chance(3600);
		next if $at >= $END || $at < epoch('2017-01-01');
		send_message('contact_centre', $at, { prefix => 'call', context => {} }, {
			type       => 'track',
			event      => 'Call Received',
			context    => { traits => { phone => dialled($phone) } },
			properties => {
				reason     => $star ? 'Coupon refused' : pick(@REASON),
				seconds    => number(60 + chance(600)),
				solved     => number($star || percent(30) ? 'false' : 'true'),
			} });
	}

	# Our household comes back once more, only to look.
	visit($laptop, epoch('2017-09-05 18:40:12'), undef, $basket[-1]{products}[0]) if $star;
}

# --- strangers: visitors who never say who they are ------------------------------------------------

my @any = map { $product{$_} } sort { $a <=> $b } keys %sold;
seed(7_777_777);
for my $n (1 .. 120) {
	my $client = browser(pick(@LAPTOP, @MOBILE));
	my $at     = epoch('2017-01-02') + chance(268) * $DAY + 8 * 3600 + chance(13 * 3600);
	my $first  = pick(@any);
	my $more   = $in_category{ $first->{product_category} };
	$at = visit($client, $at, undef, $first, percent(50) ? pick(@$more) : ()) + (1 + chance(2)) * $DAY
		for 1 .. 1 + chance(2);
}

# --- what goes wrong: broken messages, which must not vanish ---------------------------------------

my $lost = { prefix => 'ajs', context => { library => { name => 'analytics.js', version => '3.2.3' } } };
my $noon = epoch('2017-06-01 12:00:00');
send_message('web', $noon, $lost,    # nobody: no identifier at all
	{ type => 'track', event => 'Product Viewed', properties => { product_id => '1082185' } });
send_message('web', $noon + 60, { %$lost, anonymous_id => 'w-' . hex_id(8) },    # no such type
	{ type => 'tracked', event => 'Product Viewed' });
send_message('app', $noon + 120, { %$lost, prefix => 'app', anonymous_id => 'm-' . hex_id(8) },    # no event name
	{ type => 'track', properties => { product_id => '1082185' } });

# --- out --------------------------------------------------------------------------------------------

mkdir $out unless -d $out;
for my $source (sort keys %messages) {
	my @m = sort { $a->[0] <=> $b->[0] or $a->[1] <=> $b->[1] } @{ $messages{$source} };
	open my $f, '>', "$out/$source.jsonl" or die "$out/$source.jsonl: $!\n";
	print $f "$_->[2]\n" for @m;
	close $f or die "$out/$source.jsonl: $!\n";
	printf "%-16s %5d messages\n", $source, scalar @m;
}
