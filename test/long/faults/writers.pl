# Many sessions that change flags in many commands each, at the same time, while
# others sleep or hold cursors: no crash, no lost connection, no deadlock, and a
# handful of messages a transaction.  test/perl/FflagWriters.pm says what is done;
# test/t/016_writers.pl is the short form.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use FflagWriters;
use Test::More;

my $node = writers_node();
my $own = own_tables();
write_in_opposite_order($node);
register($node, sessions => 8, names => 3000, rounds => 20);
register($node, sessions => 12, names => 3000, rounds => 20, existing => 1);
write_in_loops($node, $own, sessions => 8, commands => 3000);
change_while_others_sleep($node, $own, changes => 3000, seconds => 0);
change_while_others_sleep($node, $own, changes => 20000, seconds => 30);
count_announcements($node, $own, commands => 10000, savepoints => 1);
my $attached = attached_tables($node);
write_in_loops($node, $attached, sessions => 8, commands => 3000);
change_while_others_sleep($node, $attached, changes => 3000, seconds => 0);
change_while_others_sleep($node, $attached, changes => 20000, seconds => 30);
count_announcements($node, $attached, commands => 10000, savepoints => 1);

no_crash($node);
$node->stop;
done_testing();
