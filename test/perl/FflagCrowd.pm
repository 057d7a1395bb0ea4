# Many clients at a time, each a process of its own, that count what they see.
package FflagCrowd;

use strict;
use warnings;

use DBI;
use Exporter 'import';
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(start gather reconnect);

my $dir = PostgreSQL::Test::Utils::tempdir;
my %children;

# Runs code->(counts) in a process of its own.  It adds to the hash, which
# gather() hands over.
sub start
{
	my ($name, $code) = @_;
	STDOUT->flush;
	my $pid = fork // die "fork: $!";
	if ($pid)
	{
		$children{$pid} = $name;
		return $pid;
	}
	%children = ();
	srand $$;
	my %counts;
	my $done = eval { $code->(\%counts); 1 };
	print "# $name: $@" unless $done;
	$counts{died} = !$done + 0;
	open my $out, '>', "$dir/$$" or die;
	print $out "$_ $counts{$_}\n" for keys %counts;
	close $out;
	STDOUT->flush;
	# leave without the servers' END, which would stop them
	POSIX::_exit(0);
}

# Waits for some of those that have been started, and adds up their counts.
my %total;

sub wait_for
{
	for my $pid (@_)
	{
		waitpid $pid, 0;
		my $name = delete $children{$pid};
		$total{$name}{processes}++;
		$total{$name}{died} += 0;
		if (open my $in, '<', "$dir/$pid")
		{
			while (<$in>)
			{
				my ($what, $count) = split;
				$total{$name}{$what} += $count;
			}
			close $in;
			unlink "$dir/$pid";
		}
		else
		{
			$total{$name}{died}++;
		}
	}
	return;
}

# Waits for all of them, and returns the counts by name.
sub gather
{
	wait_for(sort keys %children);
	return \%total;
}

# A session, opened again and again until the server is there.
sub reconnect
{
	my ($open) = @_;
	my $until = time + 60;
	while (time < $until)
	{
		my $session = eval { $open->() };
		return $session if $session;
		sleep 0.02;
	}
	die "the server does not come back: $DBI::errstr\n";
}

END
{
	my $status = $?;
	kill TERM => keys %children if %children;
	$? = $status;
}

1;
