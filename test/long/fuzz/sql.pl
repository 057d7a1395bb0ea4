# Random arguments for the evaluation functions, in databases of several
# encodings: any characters, lengths up to 1 MB, every overload, every NULL, as
# constants and as parameters.  Each answer is compared with plain SQL.
#
#   FFLAG_FUZZ_SECONDS   how long, together with hash.pl (30)
#   FFLAG_FUZZ_SEED      seed of the random choices (by the clock)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use FflagTest;
use DBD::Pg;
use Encode 'encode';
use Test::More;
use Time::HiRes 'time';

my $seconds = ($ENV{FFLAG_FUZZ_SECONDS} // 30) / 2;
my $seed = $ENV{FFLAG_FUZZ_SEED} // time % 1_000_000;
srand $seed;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "log_statement = none\nlog_min_messages = fatal\njit = off");
$node->start;

# ---- random arguments

my $encoding;

sub one_of { return $_[ rand @_ ]; }

sub character
{
	return chr(1 + rand 255) if $encoding eq 'SQL_ASCII';
	return one_of(map { chr } 1 .. 127) if rand() < 0.4;
	return chr(160 + rand 96) if $encoding eq 'LATIN1';
	my $code = one_of(0x80 + rand 0x780, 0x800 + rand 0xd000, 0xe000 + rand 0x2000, 0x10000 + rand 0x100000);
	return encode('UTF-8', chr $code);
}

# so many characters; a long text repeats itself
sub text
{
	my ($length) = @_;
	my $part = join '', map { character() } 1 .. ($length < 200 ? $length : 200);
	return $part if $length <= 200;
	return substr($part x (1 + $length / 200), 0, $length) if $encoding ne 'UTF8';
	return $part x int($length / length $part);
}

sub random_text
{
	my $kind = rand;
	return text($kind < 0.2 ? rand 4 : $kind < 0.9 ? rand 150 : $kind < 0.98 ? rand 5000 : rand 1_000_000);
}

sub random_bigint
{
	return one_of('0', '-1', '42', '9223372036854775807', '-9223372036854775808', sprintf '%d', (rand() - 0.5) * 2 ** (1 + rand 62));
}

sub random_uuid { return join '', map { sprintf '%02x', rand 256 } 1 .. 16; }

# ---- one database after the other

my %done;
for my $test ([ 'UTF8', 0.6 ], [ 'LATIN1', 0.2 ], [ 'SQL_ASCII', 0.2 ])
{
	($encoding, my $share) = @$test;
	my $db = lc $encoding;
	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	my $session = session($node, dbname => $db);
	$session->do("SET client_encoding = $encoding");
	$session->do($_) for (
		'CREATE EXTENSION fflag',
		$encoding eq 'SQL_ASCII' ? plain_variant() =~ s/convert_to\(value, 'UTF8'\)/value/r : plain_variant(),
		# the bucket and the rules, as the README has them
		sprintf(q{CREATE FUNCTION expected(n text, u text, staff boolean, otherwise boolean)
			RETURNS TABLE (enabled boolean, rule text, bucket int, rollout_percentage numeric, variant text) LANGUAGE sql STABLE AS $$
			SELECT a.enabled, r.rule, b.bucket, trim_scale(f.rollout_percentage),
				CASE WHEN a.enabled THEN (SELECT plain_variant(hashed, u, jsonb_object_agg(v.name, weight)) FROM feature_flag_variant AS v WHERE v.flag_id = f.id) END
			FROM (SELECT) AS nothing LEFT JOIN feature_flag AS f ON f.name = n
				CROSS JOIN LATERAL (SELECT coalesce(f.seed, n) AS hashed) AS seeds
				CROSS JOIN LATERAL (SELECT CASE WHEN n IS NOT NULL AND u IS NOT NULL THEN
					(SELECT sum(get_byte(digest, i) * 256::numeric ^ (15 - i)) FROM decode(md5(%s), 'hex') AS digest, generate_series(0, 15) AS i) END AS h) AS hash
				CROSS JOIN LATERAL (SELECT ((h %% 100) * 1000 + div(h, 100) %% 1000)::int AS bucket) AS b
				CROSS JOIN LATERAL (SELECT CASE WHEN f.id IS NULL THEN 'unknown_flag' WHEN f.staff_only THEN 'staff_only' WHEN NOT f.enabled THEN 'disabled'
					WHEN f.rollout_percentage = 100 THEN 'full_rollout'
					WHEN EXISTS (SELECT FROM feature_flag_user l WHERE l.flag_id = f.id AND l.user_id = u) THEN 'allowlist'
					WHEN f.rollout_percentage = 0 THEN 'no_rollout' WHEN u IS NULL THEN 'no_user' ELSE 'rollout' END AS rule) AS r
				CROSS JOIN LATERAL (SELECT CASE r.rule WHEN 'unknown_flag' THEN coalesce(otherwise, false) WHEN 'staff_only' THEN u IS NOT NULL AND coalesce(staff, false)
					WHEN 'rollout' THEN b.bucket < f.rollout_percentage * 1000 ELSE r.rule IN ('full_rollout', 'allowlist') END AS enabled) AS a $$},
			$encoding eq 'SQL_ASCII' ? q{hashed || ':' || u} : q{convert_to(hashed || ':' || u, 'UTF8')}));

	# what flags are called and who is listed
	my @names = ('f', "\x01", '0', ' ', ':', 'a:b', map { text(1 + rand 150) } 1 .. 40);
	my @users = ('', '1', '-1', ':', map { (random_text(), random_bigint()) } 1 .. 20);
	@users = grep { length($_) < 2000 } @users;

	my ($compared, $wrong, $bytes) = (0, 0, 0);
	my $until = time + $share * $seconds;
	while (time < $until)
	{
		my $kind = rand;
		if ($kind < 0.05)
		{
			my $change = one_of(
				[ 'INSERT INTO feature_flag (name, enabled, staff_only, rollout_percentage) VALUES ($1, random() < 0.8, random() < 0.2, (ARRAY[0, 100, 0.001, 99.999, round(random()::numeric * 100, 3)])[1 + (random() * 4)::int]) ON CONFLICT (name) DO UPDATE SET rollout_percentage = EXCLUDED.rollout_percentage, enabled = EXCLUDED.enabled', one_of(@names) ],
				[ 'UPDATE feature_flag SET seed = $1 WHERE name = $2', one_of(undef, @names), one_of(@names) ],
				[ 'DELETE FROM feature_flag WHERE name = $1 AND random() < 0.3', one_of(@names) ],
				[ 'INSERT INTO feature_flag_variant (flag_id, name, weight) SELECT id, $1, (ARRAY[0, 1, 1, 0.000001, 1000000000])[1 + (random() * 4)::int] FROM feature_flag WHERE random() < 0.3 ON CONFLICT (flag_id, name) DO UPDATE SET weight = EXCLUDED.weight', one_of(@names) ],
				[ 'DELETE FROM feature_flag_variant WHERE random() < 0.1 AND $1 <> \'\'', 'any' ],
				[ 'INSERT INTO feature_flag_user SELECT id, $1 FROM feature_flag WHERE random() < 0.2 ON CONFLICT DO NOTHING', one_of(@users) ]);
			my ($sql, @values) = @$change;
			# a name that the table refuses is asked for all the same
			eval { $session->do($sql, undef, @values); 1 } or $session->errstr =~ /has (?:an invisible character|white space at its)/ or die $session->errstr;
			next;
		}
		my $name = rand() < 0.05 ? undef : rand() < 0.7 ? one_of(@names) : random_text();
		my $type = one_of(qw(bigint uuid text text));
		my $user = rand() < 0.1 ? undef
			: $type eq 'bigint' ? (rand() < 0.5 ? one_of(grep { /^-?\d{1,18}$/ } @users) : random_bigint())
			: $type eq 'uuid' ? random_uuid()
			: rand() < 0.6 ? one_of(@users) : random_text();
		my ($staff, $otherwise) = map { one_of('true', 'false', 'NULL') } (1, 2);
		my $query;
		my @values;
		if ($kind < 0.85)
		{
			$query = qq{SELECT row_to_json(got)::text IS DISTINCT FROM row_to_json(wanted)::text, row_to_json(got), row_to_json(wanted)
				FROM (SELECT fflag_enabled(\$1::text, \$2::$type, $staff, $otherwise) AS called, fflag_bucket(\$1::text, \$2::$type) AS hashed,
						e.enabled, e.rule, e.bucket, e.rollout_percentage, e.variant, fflag_variant(\$1::text, \$2::$type, $staff) AS named
					FROM fflag_explain(\$1::text, \$2::$type, $staff, $otherwise) AS e) AS got,
					(SELECT enabled AS called, bucket AS hashed, e.*, variant AS named FROM expected(\$1::text, (\$2::$type)::text, $staff, $otherwise) AS e) AS wanted};
			@values = ($name, $user);
		}
		else
		{
			my $all = one_of("fflag_flags(\$1::$type, $staff)", "fflag_evaluate(NULL::text[], \$1::$type, $staff)",
				"fflag_evaluate(ARRAY(SELECT name FROM feature_flag ORDER BY random()), \$1::$type, $staff)");
			$query = qq{SELECT count(*) > 0, string_agg(concat_ws(' ', a.enabled, a.variant, a.ctid), ','), string_agg(concat_ws(' ', b.enabled, b.variant), ',')
				FROM (SELECT f.ctid, g.* FROM $all AS g LEFT JOIN feature_flag AS f USING (name)) AS a
					FULL JOIN (SELECT name, e.enabled, e.variant FROM feature_flag, expected(name, (\$1::$type)::text, $staff, false) AS e) AS b USING (name)
				WHERE (a.enabled, a.variant) IS DISTINCT FROM (b.enabled, b.variant)};
			@values = ($user);
		}
		# as parameters, or as constants
		my $statement = $session->prepare($query, { pg_server_prepare => rand() < 0.5 ? 1 : 0 });
		$statement->execute(@values);
		my ($differs, $got, $wanted) = $statement->fetchrow_array;
		$statement->finish;
		$compared++;
		$bytes += length $_ for grep { defined } @values;
		next unless $differs;
		$wrong++;
		diag "$encoding: $query\nwith " . join(', ', map { defined ? unpack('H*', substr $_, 0, 300) : 'NULL' } @values) . "\ngot $got\nnot $wanted" if $wrong < 4;
	}
	is($wrong, 0, "$encoding: $compared calls of each function compared, none wrong");
	cmp_ok($compared, '>', 50, "$encoding: calls");
	diag sprintf '%s: %d statements compared, with arguments of %d kB (seed %d)', $encoding, $compared, $bytes / 1000, $seed;
	$session->disconnect;
}
$node->stop;
done_testing();
