# A publication FOR ALL TABLES carries feature_flag_attachment, too: the answers
# on the subscriber are right, or an error says what to do, and replication goes on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', 'max_logical_replication_workers = 8');
$subscriber->start;

my $tables = q{
	CREATE TABLE flag (id int PRIMARY KEY, name text NOT NULL UNIQUE, enabled boolean NOT NULL, staff_only boolean NOT NULL, rollout_percentage int NOT NULL);
	CREATE TABLE flag_user (featureflag_id int NOT NULL, user_id int NOT NULL, PRIMARY KEY (featureflag_id, user_id));
};
my $attach = q{SELECT fflag_attach('flag', 'flag_user')};

sub set_up
{
	my ($db, $on_publisher, $on_subscriber) = @_;
	$_->safe_psql('postgres', "CREATE DATABASE $db") for ($publisher, $subscriber);
	# here in this order, there in the other, so that the OIDs are others
	$publisher->safe_psql($db, "CREATE EXTENSION fflag; $tables; $on_publisher; CREATE PUBLICATION $db FOR ALL TABLES");
	$subscriber->safe_psql($db, "$tables; CREATE EXTENSION fflag; $on_subscriber");
	$subscriber->safe_psql($db, sprintf q{CREATE SUBSCRIPTION %1$s CONNECTION '%2$s dbname=%1$s' PUBLICATION %1$s}, $db, $publisher->connstr);
	$subscriber->wait_for_subscription_sync($publisher, $db, $db);
	return (session($publisher, dbname => $db), session($subscriber, dbname => $db));
}

# Runs a change on the publisher and waits until it is here.
sub change
{
	my ($writer, $db, $command) = @_;
	$writer->do($command);
	$publisher->wait_for_catchup($db);
	return;
}

# ---- nothing is attached -----------------------------------------------------

my ($writer, $reader) = set_up('own', q{SELECT fflag_register('f', true, 0), fflag_allow('f', 1)}, '');
is_on($reader, 'own tables: on');
change($writer, 'own', q{SELECT fflag_disallow('f', 1)});
is_off($reader, 'own tables: a change arrives');
change($writer, 'own', q{SELECT fflag_group('testers', 1), fflag_include('f', 'testers')});
is_on($reader, 'own tables: so does a relation');
change($writer, 'own', q{SELECT fflag_unrelate('f', 'testers'), fflag_rollout('f', 100), fflag_exclude('f', 'testers')});
is_off($reader, 'own tables: and one of another kind');
$_->disconnect for ($writer, $reader);

# ---- the publisher has attached tables ----------------------------------------

($writer, $reader) = set_up('there', qq{INSERT INTO flag VALUES (1, 'f', true, false, 0); INSERT INTO flag_user VALUES (1, 1); $attach}, '');
my $error = error_of($reader, q{SELECT fflag_enabled('f', 1)});
like($error, qr/table public\.flag, from which flags are to be read, lacks the trigger/, 'attached there: no triggers here, an error');
like($error, qr/owner of the attached tables call fflag_attach\(\) here/, 'attached there: which says what to do');
change($writer, 'there', q{UPDATE flag SET enabled = false});
change($writer, 'there', q{UPDATE flag SET enabled = true});
is(ask($reader, 'SELECT enabled FROM flag'), 1, 'attached there: replication goes on');
$reader->do($attach);
is_on($reader, 'attached here, too: on');
is(ask($reader, 'SELECT caching FROM fflag_cache()'), 1, 'attached here, too: cached');
change($writer, 'there', q{DELETE FROM flag_user});
is_off($reader, 'attached here, too: a change arrives');
$reader->do('ALTER TABLE flag RENAME TO flag_here');
change($writer, 'there', q{INSERT INTO flag_user VALUES (1, 1)});
is_on($reader, 'attached here, too: renamed here, and followed');
$reader->do('ALTER TABLE flag_here RENAME TO flag');
change($writer, 'there', q{SELECT fflag_detach()});
change($writer, 'there', q{SELECT fflag_register('f', true)});
is_on($reader, 'detached there: own tables');
change($writer, 'there', q{SELECT fflag_disable('f')});
is_off($reader, 'detached there: off');
change($writer, 'there', $attach);
is_on($reader, 'attached there again');
change($writer, 'there', q{UPDATE flag SET enabled = false});
is_off($reader, 'attached there again: a change arrives');
$_->disconnect for ($writer, $reader);

# ---- the subscriber was first --------------------------------------------------

($writer, $reader) = set_up('here', qq{INSERT INTO flag VALUES (1, 'f', true, false, 100); $attach}, $attach);
is_on($reader, 'attached on both sides before: on');
change($writer, 'here', q{UPDATE flag SET enabled = false});
is_off($reader, 'attached on both sides before: a change arrives');
is(ask($reader, q{SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'}), 0, 'attached on both sides before: every table is in step');
$_->disconnect for ($writer, $reader);

# ---- and has attached others ----------------------------------------------------

($writer, $reader) = set_up('others', q{INSERT INTO flag VALUES (1, 'f', true, false, 0)},
	q{CREATE TABLE other_flag (LIKE flag INCLUDING ALL); INSERT INTO other_flag VALUES (1, 'f', true, false, 100);
	CREATE TABLE other_user (LIKE flag_user INCLUDING ALL); SELECT fflag_attach('other_flag', 'other_user')});
is_on($reader, 'others are attached: on');
my $log = -s $subscriber->logfile;
change($writer, 'others', $attach);
change($writer, 'others', q{UPDATE flag SET rollout_percentage = 50});
is(ask($reader, 'SELECT rollout_percentage FROM flag'), 50, 'others are attached: replication goes on');
is_on($reader, 'others are attached: still read');
like(slurp_file($subscriber->logfile, $log), qr/WARNING: .*flags remain to be read from tables public\.other_flag and public\.other_user, not public\.flag/,
	'others are attached: the log says so');
$_->disconnect for ($writer, $reader);

$subscriber->safe_psql($_, "DROP SUBSCRIPTION $_") for ('own', 'there', 'here', 'others');
$subscriber->stop;
$publisher->stop;
done_testing();
