# The extension in a folder of its own, as an image that is mounted has it: share/extension and lib.
# Only PostgreSQL 18 and later look there.  Preloaded, dumped and restored, and after pg_upgrade.
use strict;
use warnings;
use File::Copy;
use File::Path qw(make_path);
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
plan skip_all => 'PostgreSQL 18 and later look in other folders' if $node->pg_version < 18;
$node->init;
$node->start;

# where this server finds it now
sub path { return split /:/, $node->safe_psql('postgres', "SHOW $_[0]"); }
chomp(my $sharedir = $node->config_data('--sharedir'));
chomp(my $libdir = $node->config_data('--pkglibdir'));
my ($share) = grep { -f "$_/extension/fflag.control" } map { $_ eq '$system' ? $sharedir : $_ } path('extension_control_path');
my ($lib) = grep { -f "$_/fflag.so" } map { $_ eq '$libdir' ? $libdir : $_ } path('dynamic_library_path');

my $folder = PostgreSQL::Test::Utils::tempdir;
make_path("$folder/share/extension", "$folder/lib");
copy($_, "$folder/share/extension") or die "$!" for glob "$share/extension/fflag*";
copy("$lib/fflag.so", "$folder/lib") or die "$!";

sub look_there
{
	my ($server) = @_;
	$server->append_conf('postgresql.conf', "extension_control_path = '$folder/share:\$system'\n"
		  . "dynamic_library_path = '$folder/lib:\$libdir'\nshared_preload_libraries = 'fflag'");
	return;
}

look_there($node);
$node->restart;
$node->safe_psql('postgres', 'CREATE EXTENSION fflag');
$node->safe_psql('postgres', q{SELECT fflag_register('f', enabled => true, rollout_percentage => 100)});
my $enabled = q{SELECT fflag_enabled('f', 42)};
is($node->safe_psql('postgres', $enabled), 't', 'created, and evaluated');

my $dump = "$folder/dump.sql";
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $dump ], 'and restored');
is($node->safe_psql('restored', $enabled), 't', 'it answers there');

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
look_there($new);
$node->stop;
my $bin = $new->config_data('--bindir');
chomp $bin;
# it writes into the current folder
chdir PostgreSQL::Test::Utils::tempdir or die "$!";
command_ok([ 'pg_upgrade', '--no-sync', '-b', $bin, '-B', $bin, '-d', $node->data_dir, '-D', $new->data_dir,
		'-s', $new->host, '-p', $node->port, '-P', $new->port ], 'pg_upgrade');
$new->start;
is($new->safe_psql($_, $enabled), 't', "$_ answers afterwards") for qw(postgres restored);
$new->stop;
done_testing();
