# One session that the test talks to, statement by statement: a psql on pipes.
# Unlike a client with a file it can be disturbed in between, and a lost
# connection is an answer and not the end.
package CdpSession;

use strict;
use warnings;
use IO::Handle;
use IPC::Open3;

sub new
{
	my ($class, $node, $database, $setup) = @_;
	my $self = bless { conninfo => $node->connstr($database), setup => $setup // '', lost => 0 }, $class;

	$self->connect;
	return $self;
}

sub connect
{
	my ($self) = @_;

	for (1 .. 600)
	{
		$self->{pid} = open3(my $in, my $out, undef, 'psql', '-XAtq', '-d', $self->{conninfo});
		$in->autoflush(1);
		@$self{qw(in out n)} = ($in, $out, 0);
		my ($ok, $answer) = $self->run("SET client_min_messages = warning; $self->{setup}\nSELECT 'backend ' || pg_backend_pid();");

		return $self->{backend} = $1 if $ok && $answer =~ /^backend (\d+)$/m;
		$self->close;
		# the server is coming back
		select(undef, undef, undef, 0.1);
	}
	die 'cannot connect';
}

# Sends what is to be run, without waiting.
sub send
{
	my ($self, $sql) = @_;

	$self->{n}++;
	local $SIG{PIPE} = 'IGNORE';
	print { $self->{in} } "$sql\n\\echo\n\\echo :ERROR end $self->{n}\n";
	return;
}

# (1 or 0: did all go well, what was printed); (undef, ...): the connection is lost.  \copy does not set :ERROR.
sub receive
{
	my ($self) = @_;
	my $answer = '';

	while (defined(my $line = readline $self->{out}))
	{
		return ($1 eq 'false' && $answer !~ /^(?:psql:.*|\\copy: )?(?:ERROR|FATAL):/m ? 1 : 0, $answer) if $line =~ /^(true|false) end \Q$self->{n}\E$/;
		$answer .= $line;
	}
	return (undef, $answer);
}

sub run
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->receive;
}

sub close
{
	my ($self) = @_;

	return unless $self->{pid};
	close $self->{in};
	1 while defined readline $self->{out};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub reconnect
{
	my ($self) = @_;

	$self->close;
	$self->{lost}++;
	return $self->connect;
}

1;
