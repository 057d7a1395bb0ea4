# Changing flags hurts nobody, however many commands and sessions do it: the short
# form of test/long/faults/writers.pl.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use FflagWriters;
use Test::More;

my $node = writers_node();
my $own = own_tables();
write_in_opposite_order($node);
replace_variants($node);
register($node, sessions => 8, names => 1000, rounds => 2);
write_in_loops($node, $own, sessions => 4, commands => 100);
change_while_others_sleep($node, $own, changes => 3000, seconds => 0);
count_announcements($node, $own, commands => 5000, savepoints => 1);
my $attached = attached_tables($node);
write_in_loops($node, $attached, sessions => 4, commands => 100);
change_while_others_sleep($node, $attached, changes => 3000, seconds => 0);
count_announcements($node, $attached, commands => 5000);

no_crash($node);
$node->stop;
done_testing();
