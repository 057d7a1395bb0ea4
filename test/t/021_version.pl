# The library says the version of the control file, where the server can ask for it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
plan skip_all => 'PostgreSQL 18 and later ask' if $node->pg_version < 18;
$node->init;
$node->start;
my $session = session($node);
$session->do($_) for ('CREATE EXTENSION fflag', q{SELECT fflag_enabled('f', 1)});
is(ask($session, q{SELECT module_name || ' ' || version FROM pg_get_loaded_modules() WHERE file_name LIKE 'fflag.%'}),
	'fflag ' . (versions())[0], 'pg_get_loaded_modules()');
$session->disconnect;
$node->stop;
done_testing();
