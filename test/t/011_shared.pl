# One publisher as the control plane of two subscribers: "shop" gets some of
# the flags by a row filter, "mail" what evaluation needs by a column list.
# What works, what does not, and that what does not is reported.  The commands
# that docs/operations.md recommends come out of the page.
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
my ($shop, $mail) = map {
	my $node = PostgreSQL::Test::Cluster->new($_);
	$node->init;
	$node->append_conf('postgresql.conf', 'wal_retrieve_retry_interval = 100ms');
	$node->start;
	$node;
} qw(shop mail);
$_->safe_psql('postgres', 'CREATE EXTENSION fflag') for ($publisher, $shop, $mail);

my ($identity, $filter, $numbers) = map { code_blocks('docs/operations.md', "sql $_") } qw(identity filter numbers);

my $control = session($publisher);
my %reader = map { $_->name => session($_) } ($shop, $mail);

sub apply { $publisher->wait_for_catchup($_) for (qw(shop mail)); return; }

sub answers
{
	my ($name, $flag) = @_;
	return ask($reader{$name}, qq{SELECT (fflag_explain('$flag', 1)).rule});
}

# Waits until a subscriber's row of a flag says so.
sub wait_for
{
	my ($node, $condition) = @_;
	ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM feature_flag WHERE $condition)"),
		$node->name . " gets $condition");
	return;
}

$control->do(q{SELECT fflag_register('shop.cart', true), fflag_register('mail.html', true, description => 'for people')});
$control->do(q{SELECT fflag_register('shop.beta', true, 0), fflag_allow('shop.beta', 1), fflag_register('mail.beta', true, 0), fflag_allow('mail.beta', 1)});

# ---- what is refused where it is asked for

$control->do($filter);
like(error_of($control, q{UPDATE feature_flag SET enabled = false}), qr/cannot update table "feature_flag"/,
	'a row filter on name alone: flags cannot be updated, which is said');
$control->do(q{ALTER TABLE feature_flag REPLICA IDENTITY FULL});
is(error_of($control, q{UPDATE feature_flag SET enabled = enabled}), 'no error', 'with REPLICA IDENTITY FULL they can');

my $columns = 'id, name, enabled, staff_only, rollout_percentage';
$control->do("CREATE PUBLICATION mail FOR TABLE feature_flag ($columns), feature_flag_user (flag_id, user_id), feature_flag_denied_user, feature_flag_variant, feature_flag_relation");
like(error_of($control, q{UPDATE feature_flag SET enabled = enabled}), qr/cannot update table "feature_flag"/,
	'a column list does not go with REPLICA IDENTITY FULL');
$control->do($identity);
is(error_of($control, q{UPDATE feature_flag SET enabled = enabled}), 'no error', 'both go with the name as replica identity');

# ---- initial synchronization

$_->safe_psql('postgres', $identity) for ($shop, $mail);
for my $node ($shop, $mail)
{
	my $name = $node->name;
	is(answers($name, 'shop.cart'), 'unknown_flag', "$name: no flags yet");
	$node->safe_psql('postgres', sprintf q{CREATE SUBSCRIPTION %s CONNECTION '%s dbname=postgres' PUBLICATION %s},
		$name, $publisher->connstr, $name);
}
$_->wait_for_subscription_sync($publisher, $_->name) for ($shop, $mail);
is(answers('shop', 'shop.cart'), 'full_rollout', 'shop: its flag');
is(answers('shop', 'shop.beta'), 'allowlist', 'shop: its allowlist');
is(answers('shop', 'mail.html'), 'unknown_flag', 'shop: filtered out');
is(answers('mail', 'mail.html'), 'full_rollout', 'mail: a flag');
is(answers('mail', 'mail.beta'), 'allowlist', 'mail: an allowlist');
is(ask($reader{mail}, q{SELECT description FROM feature_flag WHERE name = 'mail.html'}), '', 'mail: no column that is not in the list');

# ---- changes, in sessions that are open

$_->do('BEGIN') for values %reader;
is(answers($_, 'shop.cart'), 'full_rollout', "$_, in a transaction: on") for qw(shop mail);
$control->do(q{UPDATE feature_flag SET enabled = false WHERE name = 'shop.cart'});
apply();
is(answers($_, 'shop.cart'), 'disabled', "$_, in a transaction: the next statement sees the change") for qw(shop mail);
$_->do('COMMIT') for values %reader;
$control->do(q{SELECT fflag_disallow('shop.beta', 1)});
apply();
is(answers($_, 'shop.beta'), 'no_rollout', "$_: taken off the allowlist") for qw(shop mail);
$control->do(q{UPDATE feature_flag SET description = 'changed', enabled = true WHERE name = 'shop.cart'});
apply();
is(answers($_, 'shop.cart'), 'full_rollout', "$_: a change of a column in and one not in the list") for qw(shop mail);

# renamed into and out of the row filter
$control->do(q{UPDATE feature_flag SET name = 'old.cart' WHERE name = 'shop.cart'});
apply();
is(answers('shop', 'shop.cart'), 'unknown_flag', 'shop: renamed out of the filter');
is(answers('mail', 'old.cart'), 'full_rollout', 'mail: renamed');
$control->do(q{UPDATE feature_flag SET name = 'shop.cart' WHERE name = 'old.cart'});
apply();
is(answers($_, 'shop.cart'), 'full_rollout', "$_: and back") for qw(shop mail);

# a flag and its allowlist go together
$control->do(q{SELECT fflag_allow('mail.beta', 1, 2, 3)});
$control->do(q{DELETE FROM feature_flag WHERE name = 'mail.beta'});
apply();
is(answers('mail', 'mail.beta'), 'unknown_flag', 'mail: deleted');
is(ask($reader{mail}, q{SELECT count(*) FROM feature_flag_user}), 0, 'with its allowlist');

# ---- a subscriber that restarts gets what it has missed

$reader{shop}->disconnect;
$shop->stop;
$control->do(q{UPDATE feature_flag SET enabled = false});
$control->do(q{SELECT fflag_allow('shop.beta', 1), fflag_enable('shop.beta')});
$publisher->wait_for_catchup('mail');
is(answers('mail', 'shop.beta'), 'allowlist', 'mail: goes on');
$shop->start;
$reader{shop} = session($shop);
apply();
is(answers('shop', 'shop.cart'), 'disabled', 'shop, restarted: what it has missed');
is(answers('shop', 'shop.beta'), 'allowlist', 'shop, restarted: of the allowlist too');
$control->do(q{UPDATE feature_flag SET enabled = true});
apply();
is(answers('shop', 'shop.cart'), 'full_rollout', 'shop, restarted: and what comes next');

# ---- flags that depend on others, some of which the filter keeps out

$control->do(q{SELECT fflag_register('mail.switch', true), fflag_register('shop.switch', true), fflag_group('mail.staff', 1)});
for (
	[ q{SELECT fflag_require('shop.cart', 'shop.switch')}, 'full_rollout', 'full_rollout', 'requires one that is there' ],
	[ q{SELECT fflag_disable('shop.switch')}, 'prerequisite', 'prerequisite', 'which is switched off' ],
	[ q{SELECT fflag_unrelate('shop.cart', 'shop.switch')}, 'full_rollout', 'full_rollout', 'and no longer needed' ],
	[ q{SELECT fflag_require('shop.cart', 'mail.switch')}, 'prerequisite', 'full_rollout', 'requires one that is filtered out' ],
	[ q{SELECT fflag_unrelate('shop.cart', 'mail.switch'), fflag_exclude('shop.cart', 'mail.switch')}, 'excluded', 'excluded', 'excludes one that is filtered out' ],
	[ q{SELECT fflag_disable('mail.switch')}, 'excluded', 'full_rollout', 'which is off where it is' ],
	[ q{SELECT fflag_unrelate('shop.cart', 'mail.switch'), fflag_rollout('shop.cart', 0), fflag_include('shop.cart', 'mail.staff')}, 'no_rollout', 'included', 'includes one that is filtered out' ],
	[ q{SELECT fflag_unrelate('shop.cart', 'mail.staff'), fflag_rollout('shop.cart', 100)}, 'full_rollout', 'full_rollout', 'is on its own again' ])
{
	my ($change, $shops, $mails, $what) = @$_;
	$control->do($change);
	apply();
	is(answers('shop', 'shop.cart'), $shops, "shop: a flag $what");
	is(answers('mail', 'shop.cart'), $mails, "mail: a flag $what");
}
$control->do(q{DELETE FROM feature_flag WHERE name IN ('mail.switch', 'shop.switch', 'mail.staff')});

# ---- TRUNCATE, which no row filter holds up

$control->do('TRUNCATE feature_flag_user');
apply();
is(answers($_, 'shop.beta'), 'no_rollout', "$_: TRUNCATE of the allowlists") for qw(shop mail);
$control->do('TRUNCATE feature_flag CASCADE');
apply();
is(answers($_, 'shop.cart'), 'unknown_flag', "$_: TRUNCATE of the flags") for qw(shop mail);

# ---- conflicts are reported, and hold replication up until they are resolved

sub errors { return ask($reader{shop}, 'SELECT apply_error_count FROM pg_stat_subscription_stats'); }

$reader{shop}->do(q{INSERT INTO feature_flag (id, name) VALUES (1000000, 'shop.new')});
is(errors(), 0, 'no errors so far');
my $log = -s $shop->logfile;
$control->do(q{SELECT fflag_register('shop.new', true), fflag_register('shop.next', true)});
# from 18 on it is called a conflict
$shop->wait_for_log(qr/(violates unique constraint|already exists in unique index) "feature_flag_name_key"/, $log);
pass('same name: reported in the log');
ok($shop->poll_query_until('postgres', 'SELECT apply_error_count > 0 FROM pg_stat_subscription_stats'),
	'same name: counted in pg_stat_subscription_stats');
is(answers('shop', 'shop.new'), 'disabled', 'until it is resolved, the subscriber answers what its tables say');
is(answers('shop', 'shop.next'), 'unknown_flag', 'and gets nothing else');
$publisher->wait_for_catchup('mail');
is(answers('mail', 'shop.next'), 'full_rollout', 'the other subscriber is not concerned');
$reader{shop}->do(q{DELETE FROM feature_flag WHERE name = 'shop.new'});
apply();
is(answers('shop', $_), 'full_rollout', "resolved: $_ arrives") for qw(shop.new shop.next);

# sequences are not replicated: a flag registered here takes a number that the
# publisher has used
$control->do(q{TRUNCATE feature_flag RESTART IDENTITY CASCADE});
$control->do(q{SELECT fflag_register('shop.one', true)});
apply();
like(error_of($reader{shop}, q{SELECT fflag_register('shop.local', true)}), qr/duplicate key value violates unique constraint "feature_flag_pkey"/,
	'same id: reported to who registers');
$reader{shop}->do($numbers);
is(error_of($reader{shop}, q{SELECT fflag_register('shop.local', true)}), 'no error', 'numbers out of the way: registered');
is(answers('shop', 'shop.local'), 'full_rollout', 'a flag of its own');
$control->do(q{SELECT fflag_register('shop.two', true)});
apply();
is(answers('shop', 'shop.two'), 'full_rollout', 'beside those of the publisher');

# ---- a column list that leaves out what evaluation needs

$control->do(q{ALTER PUBLICATION mail SET TABLE feature_flag (id, name, enabled), feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation});
$control->do(q{SELECT fflag_register('mail.three', true, 100), fflag_register('mail.four', true, 50, true)});
apply();
is(answers('mail', 'mail.three'), 'no_rollout', 'percentage not in the list: the default of the subscriber, 0');
is(answers('mail', 'mail.four'), 'no_rollout', 'staff_only not in the list: the default of the subscriber, false');
$control->do(q{ALTER PUBLICATION mail SET TABLE feature_flag (id, enabled, staff_only, rollout_percentage), feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation});
like(error_of($control, q{UPDATE feature_flag SET enabled = true}), qr/cannot update table "feature_flag"/, 'replica identity not in the list: reported');
$log = -s $mail->logfile;
$control->do(q{SELECT fflag_register('mail.five', true)});
$mail->wait_for_log(qr/null value in column "name" of relation "feature_flag" violates not-null constraint/, $log);
pass('name not in the list: reported in the log');

# what its tables lack, a subscriber gets by a fresh start
$mail->safe_psql('postgres', 'DROP SUBSCRIPTION mail; TRUNCATE feature_flag CASCADE');
$control->do("ALTER PUBLICATION mail SET TABLE feature_flag ($columns), feature_flag_user, feature_flag_denied_user, feature_flag_variant, feature_flag_relation");
$mail->safe_psql('postgres', sprintf q{CREATE SUBSCRIPTION mail CONNECTION '%s dbname=postgres' PUBLICATION mail}, $publisher->connstr);
$mail->wait_for_subscription_sync($publisher, 'mail');
is(answers('mail', 'mail.three'), 'full_rollout', 'a fresh start: percentage');
is(answers('mail', 'mail.four'), 'staff_only', 'a fresh start: staff_only');
is(answers('mail', 'mail.five'), 'full_rollout', 'a fresh start: the flag that had no name');

# ---- a publication that forgets the relations, as the page warns

$control->do(q{SELECT fflag_register('mail.off'), fflag_require('mail.three', 'mail.off')});
apply();
is(answers('mail', 'mail.three'), 'prerequisite', 'relations are published: nobody gets it');
$control->do('ALTER PUBLICATION mail DROP TABLE feature_flag_relation');
$mail->safe_psql('postgres', 'ALTER SUBSCRIPTION mail REFRESH PUBLICATION');
$control->do(q{SELECT fflag_require('mail.five', 'mail.off')});
apply();
is(answers('mail', 'mail.five'), 'full_rollout', 'they are not: everybody gets what must not be had');
is(ask($control, q{SELECT (fflag_explain('mail.five', 1)).rule}), 'prerequisite', 'which nobody gets on the publisher');
$control->do('ALTER PUBLICATION mail ADD TABLE feature_flag_relation');
$mail->safe_psql('postgres', 'TRUNCATE feature_flag_relation; ALTER SUBSCRIPTION mail REFRESH PUBLICATION');
$mail->wait_for_subscription_sync($publisher, 'mail');
is(answers('mail', $_), 'prerequisite', "published again: $_") for 'mail.three', 'mail.five';

$_->disconnect for ($control, values %reader);
$_->safe_psql('postgres', 'DROP SUBSCRIPTION ' . $_->name) for ($shop, $mail);
$_->stop for ($shop, $mail, $publisher);
done_testing();
