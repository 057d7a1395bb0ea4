# Sessions for the TAP tests.  Most of what there is to prove concerns sessions
# that stay open while something happens elsewhere, so these are DBI handles
# and not one psql run each.
package FflagTest;

use strict;
use warnings;

use DBI;
use DBD::Pg;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(session ask is_on is_off error_of watch_for);

# Opens a session.  Statements are sent as they are: prepared ones are spelled
# out where a test is about them.
sub session
{
	my ($node, %options) = @_;
	my $dsn = sprintf 'dbi:Pg:host=%s;port=%d;dbname=%s', $node->host, $node->port,
	  $options{dbname} // 'postgres';
	my $session = DBI->connect($dsn, $options{user} // '', '',
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 0 });
	$session->{pg_server_prepare} = 0;
	$session->{pg_expand_array} = 0;
	$session->do('SET client_min_messages = error');
	return $session;
}

# The first value that a query returns.
sub ask
{
	my ($session, $query) = @_;
	return ($session->selectrow_array($query))[0];
}

# Is flag "f" on, or off, for user 1 in this session?
sub is_on
{
	my ($session, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(ask($session, q{SELECT fflag_enabled('f', 1)}), 1, $what);
}

sub is_off
{
	my ($session, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(ask($session, q{SELECT fflag_enabled('f', 1)}), 0, $what);
}

# The error of a command that must fail; the transaction is left as it is.
sub error_of
{
	my ($session, $command) = @_;
	return eval { $session->do($command); 1 } ? 'no error' : $session->errstr;
}

# Asks for flag "f" and reads its row in the same statement, again and again,
# until the row is as wanted: the first statement whose snapshot includes a
# change is one of these.  Returns how many statements that took, and how many
# of them had an answer that was not the row's.
sub watch_for
{
	my ($session, $wanted) = @_;
	my ($asked, $wrong, $row) = (0, 0, '');
	my $until = time + 60;
	while ($row ne $wanted)
	{
		die "flag \"f\" does not become $wanted\n" if time > $until;
		(my $answer, $row) = $session->selectrow_array(
			q{SELECT fflag_enabled('f', 1), coalesce((SELECT enabled FROM feature_flag WHERE name = 'f'), false)});
		$asked++;
		$wrong += $answer ne $row;
	}
	return ($asked, $wrong);
}

1;
