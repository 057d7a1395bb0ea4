# Every SQL block of README.md, docs/reference.md and docs/operations.md works
# when it is pasted, in the page's order, into an empty database, and returns
# what the "=>" comments say; prose is wrapped.  What needs more than one server
# is marked otherwise, and run by 002_subscriber, 003_dump and 011_shared;
# docs/django.md is for the tests of Django.
use strict;
use warnings;
use Encode qw(decode_utf8);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;

# Booleans as psql prints them.
sub row
{
	my ($statement) = @_;
	my $row = $statement->fetchrow_arrayref or return;
	my $types = $statement->{pg_type};
	return join '|', map { !defined $row->[$_] ? '' : $types->[$_] eq 'bool' ? ($row->[$_] ? 't' : 'f') : $row->[$_] } 0 .. $#$row;
}

# The rows that a statement returns, or its error; undef if it returns nothing.
sub result
{
	my ($session, $text) = @_;
	my $statement = $session->prepare($text);
	if (!eval { $statement->execute; 1 })
	{
		my ($message) = $session->errstr =~ /^ERROR:  (.*)/;
		return [ 'ERROR ' . $session->state . ": $message" ];
	}
	return unless $statement->{NUM_OF_FIELDS};
	my @rows;
	while (defined(my $row = row($statement))) { push @rows, $row; }
	return \@rows;
}

my %fewest = ('README.md' => 6, 'docs/reference.md' => 35, 'docs/operations.md' => 3);
for my $page (sort keys %fewest)
{
	my ($database) = $page =~ /(\w+)\.md/;
	$node->safe_psql('postgres', "CREATE DATABASE \"$database\"");
	my $session = session($node, dbname => $database);
	my $compared = 0;
	for (map { statements($_) } code_blocks($page, 'sql'))
	{
		my ($text, @expected) = @$_;
		(my $title = $text) =~ s/^\s*(--.*\n|\s)*//;
		$title =~ s/\s+/ /g;
		$title = "$page: " . substr($title, 0, 70);
		my $result = result($session, $text);
		if (@expected)
		{
			is_deeply($result, \@expected, $title) or diag explain $result;
			$compared++;
		}
		else
		{
			unlike($result ? $result->[0] // '' : '', qr/^ERROR/, $title);
		}
	}
	cmp_ok($compared, '>=', $fewest{$page}, "$page: $compared results compared");
	$session->disconnect;
}
$node->stop;

# ---- prose is wrapped at 100 columns

for my $page (map { glob "$top/$_" } qw(*.md docs/*.md bench/*.md test/*.md test/*/*.md))
{
	my $text = decode_utf8(slurp_file($page));
	$text =~ s/^ *```.*?^ *```$//gms;
	$text =~ s/^(    |\t|\|).*//gm;			# code, tables
	my @long = grep { s/\]\([^)]*\)/]/gr =~ /.{101}/ } split /\n/, $text;
	is(join("\n", map { substr(s/[^ -~]/?/gr, 0, 60) } @long), '', substr($page, 1 + length $top) . ': prose is wrapped');
}

done_testing();
