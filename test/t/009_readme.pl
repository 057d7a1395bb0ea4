# Every SQL block of README.md works when it is pasted, in this order, into an
# empty database, and returns what the "=>" comments say.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
my $session = session($node);
my $compared = 0;

# Booleans as psql prints them.
sub row
{
	my ($statement) = @_;
	my $row = $statement->fetchrow_arrayref or return;
	my $types = $statement->{pg_type};
	return join '|', map { !defined $row->[$_] ? '' : $types->[$_] eq 'bool' ? ($row->[$_] ? 't' : 'f') : $row->[$_] } 0 .. $#$row;
}

while ($readme =~ /^```sql\n(.*?)^```$/gms)
{
	# a statement ends with a line that ends with a semicolon; comments follow
	my $block = $1;
	while ($block =~ /\G(.*?;)[^\n;]*\n((?:-- => [^\n]*\n)*)/gs)
	{
		my ($text, $comments) = ($1, $2);
		my @expected = map { s/^-- => //r } split /\n/, $comments;
		(my $title = $text) =~ s/^\s*(--.*\n|\s)*//;
		$title =~ s/\s+/ /g;
		my $statement = $session->prepare($text);
		my $done = eval { $statement->execute; 1 };
		ok($done, substr($title, 0, 70)) or diag $session->errstr;
		next unless $done && @expected;
		my @rows;
		while (defined(my $row = row($statement))) { push @rows, $row; }
		is_deeply(\@rows, \@expected, '  returns what it says');
		$compared++;
	}
}
cmp_ok($compared, '>', 15, "$compared results compared");

$session->disconnect;
$node->stop;
done_testing();
