# Databases in other encodings: names and ids are hashed as UTF-8, so that a
# user has the same bucket everywhere.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use Encode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;

# from test/data/buckets.tsv
my ($name, $id, $bucket);
open my $vectors, '<:encoding(UTF-8)', "$FindBin::RealBin/../data/buckets.tsv" or die;
while (<$vectors>)
{
	chomp;
	($name, $id, undef, $bucket) = split /\t/;
	last if $name eq 'new_checkout' && $id =~ /[^\x00-\x7f]/ && $id !~ /[^\x00-\xff]/;
}
close $vectors;

my ($bucket_of_name, $variants_of_name);
for my $encoding ('LATIN1', 'WIN1252', 'UTF8')
{
	$node->safe_psql('postgres', "CREATE DATABASE \"db_$encoding\" ENCODING $encoding TEMPLATE template0 LOCALE 'C'");
	my $session = session($node, dbname => "db_$encoding");
	$session->do(q{SET client_encoding = UTF8});
	$session->do($_) for 'CREATE EXTENSION fflag', plain_variant();
	my $literal = "'" . encode('UTF-8', $id) . "'";

	is(ask($session, "SELECT fflag_bucket('new_checkout', $literal)"), $bucket, "$encoding: bucket of an id");
	is(ask($session, "SELECT octet_length($literal)"), length(encode($encoding eq 'UTF8' ? 'UTF-8' : 'latin1', $id)),
		"$encoding: stored in this encoding");
	$session->do(sprintf q{SELECT fflag_register('new_checkout', true, %s)}, ($bucket + 1) / 1000);
	is(ask($session, "SELECT fflag_enabled('new_checkout', $literal)"), 1, "$encoding: just in");
	$session->do(sprintf q{SELECT fflag_rollout('new_checkout', %s)}, $bucket / 1000);
	is(ask($session, "SELECT fflag_enabled('new_checkout', $literal)"), 0, "$encoding: just out");
	is(ask($session, "SELECT fflag_allow('new_checkout', $literal)"), 1, "$encoding: allow");
	is(ask($session, "SELECT fflag_enabled('new_checkout', $literal)"), 1, "$encoding: listed");
	is(ask($session, "SELECT fflag_disallow('new_checkout', $literal)"), 1, "$encoding: disallow");

	# a name that is not ASCII, evaluated one by one and all at once
	$session->do("SELECT fflag_register($literal, true, 50)");
	is( ask($session, "SELECT count(*) FROM generate_series(1, 1000) AS n WHERE fflag_enabled($literal, n) IS DISTINCT FROM (fflag_bucket($literal, n) < 50000)"),
		0, "$encoding: name");
	is( ask($session, "SELECT count(*) FROM generate_series(1, 100) AS n, fflag_flags(n) AS f WHERE f.enabled IS DISTINCT FROM fflag_enabled(f.name, n)"),
		0, "$encoding: all flags");
	$bucket_of_name //= ask($session, "SELECT fflag_bucket($literal, 7)");
	is(ask($session, "SELECT fflag_bucket($literal, 7)"), $bucket_of_name, "$encoding: the same bucket in all of them");
	# names of variants are hashed as UTF-8, too
	$session->do("SELECT fflag_rollout($literal, 100), fflag_variants($literal, '" . encode('UTF-8', '{"größe": 1, "Z": 1, "ü": 2}') . "')");
	my $variants = ask($session, "SELECT string_agg(fflag_variant($literal, n), ' ' ORDER BY n) FROM generate_series(1, 100) AS n");
	is($variants, $variants_of_name //= $variants, "$encoding: the same variants in all of them");
	is(ask($session, "SELECT count(*) FROM generate_series(1, 100) AS n WHERE fflag_variant($literal, n) IS DISTINCT FROM plain_variant($literal, n::text, (SELECT jsonb_object_agg(name, weight) FROM feature_flag_variant))"),
		0, "$encoding: those of the reference");
	$session->disconnect;
}

# no encoding at all: the bytes are hashed as they are
$node->safe_psql('postgres', "CREATE DATABASE ascii ENCODING SQL_ASCII TEMPLATE template0 LOCALE 'C'");
my $session = session($node, dbname => 'ascii');
$session->do('CREATE EXTENSION fflag');
is(ask($session, "SELECT fflag_bucket('new_checkout', '" . encode('UTF-8', $id) . "')"), $bucket, 'SQL_ASCII: UTF-8 bytes');
like(ask($session, q{SELECT fflag_bucket(E'\\xff', E'\\xfe')}), qr/^\d+$/, 'SQL_ASCII: any bytes');
$session->disconnect;

# invisible characters are found in every encoding that has them; where there is
# none, the last byte of a letter is not taken for one
for my $encoding ('LATIN1', 'WIN1252', 'UTF8')
{
	$session = session($node, dbname => "db_$encoding");
	$session->do('SET client_encoding = UTF8');
	like(error_of($session, 'SELECT fflag_register(' . $session->quote(encode('UTF-8', $_)) . ')'),
		qr/has white space at its.*is U\+00A0/s, "$encoding: a name that ends or begins with U+00A0 is refused") for "n\x{a0}", "\x{a0}n";
	is(error_of($session, 'SELECT fflag_register(' . $session->quote(encode('UTF-8', "n\x{a0}n\x{e0}")) . ')'), 'no error',
		"$encoding: other names are not");
	$session->do("DELETE FROM feature_flag WHERE name LIKE 'n%n%'");
	$session->disconnect;
}
$session = session($node, dbname => 'ascii');
is(error_of($session, q{SELECT fflag_register(E'voil\\xc3\\xa0')}), 'no error', 'SQL_ASCII: a name that ends with a byte A0');
like(error_of($session, "SELECT fflag_register('n ')"), qr/has white space at its end/, 'SQL_ASCII: a name that ends with a blank');
$session->disconnect;

# an encoding without a conversion to UTF-8, which PostgreSQL 19 has dropped
SKIP:
{
	skip 'there is no MULE_INTERNAL', 4
		if $node->psql('postgres', q{CREATE DATABASE mule ENCODING 'MULE_INTERNAL' TEMPLATE template0 LOCALE 'C'}) != 0;
	$session = session($node, dbname => 'mule');
	$session->do('CREATE EXTENSION fflag');
	like(error_of($session, $_), qr/does not serve databases whose encoding is MULE_INTERNAL.*HINT/s, "MULE_INTERNAL: $_")
		for q{SELECT fflag_register('f')}, q{INSERT INTO feature_flag (name) VALUES ('f')}, q{SELECT fflag_bucket('f', 1)}, q{SELECT fflag_explain('f', 'x')};
	$session->disconnect;
}

# what has no equivalent in UTF-8 cannot be hashed, and so be no flag's name
$session = session($node, dbname => 'db_WIN1252');
like(error_of($session, q{SET client_encoding = WIN1252; SELECT fflag_register(E'n\\x81')}),
	qr/0x81.*no equivalent in encoding "UTF8"/, 'WIN1252: a name that cannot be hashed is refused');
is(ask($session, 'SELECT count(*) FROM fflag_flags(1)'), 2, 'WIN1252: and all flags can be listed');
$session->disconnect;

$node->stop;
done_testing();
