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

our @EXPORT = qw(session ask is_on is_off error_of);

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

1;
