# Sessions for the TAP tests.  Most of what there is to prove concerns sessions
# that stay open while something happens elsewhere, so these are DBI handles
# and not one psql run each.
package FflagTest;

use strict;
use warnings;

use DBI;
use DBD::Pg;
use Exporter 'import';
use File::Basename;
use File::Copy;
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(session ask is_on is_off sees_restrictions error_of no_crash watch_for versions script_folder write_script next_script second_opinion catalog code_blocks plain_variant statements run_block);

# Opens a session.  Statements are sent as they are: prepared ones are spelled
# out where a test is about them.
sub session
{
	my ($node, %options) = @_;
	my $dsn = sprintf 'dbi:Pg:host=%s;port=%d;dbname=%s', $node->host, $node->port,
	  $options{dbname} // 'postgres';
	my $session = DBI->connect($dsn, $options{user} // '', '',
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 0 });
	$session->{pg_server_prepare} = 0;
	$session->{pg_expand_array} = 0;
	$session->do('SET client_min_messages = error');
	return $session;
}

# The first value that a query returns.
sub ask
{
	my ($session, $query) = @_;
	return ($session->selectrow_array($query))[0];
}

# Is flag "f" on, or off, for user 1 in this session?  An error is a wrong answer.
sub is_on
{
	my ($session, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(eval { ask($session, q{SELECT fflag_enabled('f', 1)}) } // $session->errstr, 1, $what);
}

sub is_off
{
	my ($session, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(eval { ask($session, q{SELECT fflag_enabled('f', 1)}) } // $session->errstr, 0, $what);
}

# Does a session see each change of a flag's relations, of whom it denies and of its
# variants?  Another one writes; apply() waits until the change is where the first is.
sub sees_restrictions
{
	my ($reader, $writer, $apply) = @_;
	my $query = q{SELECT concat_ws(' ', fflag_enabled('child', 1), fflag_variant('child', 1, default_variant => 'none'), fflag_variant_payload('child', 1), rule) FROM fflag_explain('child', 1)};
	$writer->do(q{SELECT fflag_register('parent', true), fflag_register('child', true), fflag_register('holdout', true), fflag_group('group', 1)});
	$reader->do('BEGIN');
	for ([ 'no variants', q{SELECT fflag_enable('child')}, 't none full_rollout' ],
		[ 'variants', q{SELECT fflag_variants('child', '{"a": 1}')}, 't a full_rollout' ],
		[ 'a payload', q{UPDATE feature_flag_variant SET payload = '"p"'}, 't a "p" full_rollout' ],
		[ 'a requirement', q{SELECT fflag_require('child', 'parent')}, 't a "p" full_rollout' ],
		[ 'the required flag', q{SELECT fflag_rollout('parent', 0)}, 'f none prerequisite' ],
		[ 'its allowlist', q{SELECT fflag_allow('parent', 1)}, 't a "p" full_rollout' ],
		[ 'its denylist', q{SELECT fflag_deny('parent', 1)}, 'f none prerequisite' ],
		[ 'and back', q{SELECT fflag_undeny('parent', 1)}, 't a "p" full_rollout' ],
		[ 'another variant', q{INSERT INTO feature_flag_variant SELECT flag_id, 'A', 1000000000 FROM feature_flag_variant}, 't A full_rollout' ],
		[ 'what it excludes', q{SELECT fflag_exclude('child', 'holdout')}, 'f none excluded' ],
		[ 'the excluded flag', q{SELECT fflag_disable('holdout')}, 't A full_rollout' ],
		[ 'what it includes, which pins', q{SELECT fflag_include('child', 'group', 'a')}, 't a "p" full_rollout' ],
		[ 'included', q{SELECT fflag_rollout('child', 0)}, 't a "p" included' ],
		[ 'a variant of the included flag', q{SELECT fflag_variants('group', '{"x": 1}'), fflag_include('child', 'group', NULL, 'x')}, 't A included' ],
		[ 'the variant of another name', q{UPDATE feature_flag_variant SET name = 'y' WHERE name = 'x'}, 't A included' ],
		[ 'the group', q{SELECT fflag_disallow('group', 1)}, 'f none no_rollout' ],
		[ 'no relations', q{DELETE FROM feature_flag_relation WHERE kind <> 'requires'}, 'f none no_rollout' ],
		[ 'and to all', q{SELECT fflag_rollout('child', 100)}, 't A full_rollout' ],
		[ 'the denylist', q{SELECT fflag_deny('child', 1)}, 'f none denied' ],
		[ 'TRUNCATE', 'TRUNCATE feature_flag_denied_user, feature_flag_variant, feature_flag_relation', 't none full_rollout' ],
		[ 'one statement deletes both', q{DELETE FROM feature_flag WHERE name IN ('parent', 'child')}, 'f none unknown_flag' ])
	{
		my ($what, $change, $answer) = @$_;
		$writer->do($change);
		$apply->();
		is(eval { ask($reader, $query) } // $reader->errstr, $answer, "in a transaction: $what");
	}
	$reader->do('COMMIT');
	return;
}

# The error of a command that must fail; the transaction is left as it is.
sub error_of
{
	my ($session, $command) = @_;
	return eval { $session->do($command); 1 } ? 'no error' : $session->errstr;
}

# Has any server process crashed?  To the clients that looks like a lost connection,
# so the server's log is asked.  A signal that the test itself has sent may be named.
# The server must log what is of level LOG, which log_min_messages = fatal leaves out.
sub no_crash
{
	my ($node, $own_signal) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $log = slurp_file($node->logfile);
	return fail($node->name . ': the log does not have what tells of crashes') unless $log =~ /ready to accept/;
	my @crashes = grep { !defined $own_signal || !/by signal $own_signal\b/ }
	  $log =~ /^.*(?:terminated by signal|TRAP:|PANIC:).*$/gm;
	return is("@crashes", '', $node->name . ': no server process has crashed');
}

# Asks for flag "f" and reads its row in the same statement, again and again,
# until the row is as wanted: the first statement whose snapshot includes a
# change is one of these.  Returns how many statements that took, and how many
# of them had an answer that was not the row's.
sub watch_for
{
	my ($session, $wanted) = @_;
	my ($asked, $wrong, $row) = (0, 0, '');
	my $until = time + 60;
	while ($row ne $wanted)
	{
		die "flag \"f\" does not become $wanted\n" if time > $until;
		(my $answer, $row) = $session->selectrow_array(
			q{SELECT fflag_enabled('f', 1), coalesce((SELECT enabled FROM feature_flag WHERE name = 'f'), false)});
		$asked++;
		$wrong += $answer ne $row;
	}
	return ($asked, $wrong);
}

# The code blocks of a page, a path below the top of the repository, that are
# marked with these words after the backquotes.
sub code_blocks
{
	my ($page, $mark) = @_;
	my $text = slurp_file(dirname(__FILE__) . "/../../$page");
	my @blocks = $text =~ /^```\Q$mark\E\n(.*?)^```$/gms;
	die "$page has no block \"$mark\"\n" unless @blocks;
	return @blocks;
}

# The functions of docs/reference.md that find a variant in plain SQL.
sub plain_variant
{
	my ($functions) = join('', code_blocks('docs/reference.md', 'sql')) =~ /^(CREATE FUNCTION plain_hash.*^CREATE FUNCTION plain_variant.*?;\n)/ms;
	return $functions;
}

# The statements of a block, each with what its "=>" comments say that it
# returns.  A statement ends with a line that ends with a semicolon; another
# comment may follow.
sub statements
{
	my ($block) = @_;
	my @statements;
	while ($block =~ /\G((?:\$\$.*?\$\$|(?!\$\$).)*?;)[^\n;]*\n((?:-- => [^\n]*\n)*)/gcs)
	{
		my ($text, $comments) = ($1, $2);
		push @statements, [ $text, map { s/^-- => //r } split /\n/, $comments ];
	}
	die "no statement: $1\n" if substr($block, pos($block) // 0) =~ /(\S.*)/s;
	return @statements;
}

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

# Runs the statements of a block and compares what they return with what their "=>"
# comments say; the others must not fail.  Returns how many it has compared.
sub run_block
{
	my ($session, $page, $block) = @_;
	my $compared = 0;
	for (statements($block))
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
	return $compared;
}

# The extension's version, and all that there are.
sub versions
{
	my $top = dirname(__FILE__) . '/../..';
	my ($current) = slurp_file("$top/fflag.control") =~ /default_version = '(.*)'/;
	my %version = map { $_ => 1 } map { m{/fflag--(.*)\.sql$} ? split /--/, $1 : () } glob "$top/sql/*.sql";
	return ($current, sort keys %version);
}

# Lets a server look for the extension's scripts in a temporary folder, and returns that folder:
# undef if the server cannot be told.
sub script_folder
{
	my ($node) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	chomp(my $sharedir = $node->config_data('--sharedir'));
	chomp(my $libdir = $node->config_data('--pkglibdir'));
	my %setting = map { @$_ } @{ session($node)->selectall_arrayref(q{SELECT name, setting FROM pg_settings WHERE name ~ '^extension_'}) };
	my ($to, @from);
	if (defined(my $prefix = $setting{extension_destdir}))
	{
		$to = "$dir$sharedir/extension";
		@from = "$prefix$sharedir/extension";
		make_path("$dir$libdir");
		copy($_, "$dir$libdir/") or die "$!" for glob "$prefix$libdir/fflag.*";
		$node->append_conf('postgresql.conf', "extension_destdir = '$dir'");
	}
	elsif (defined(my $path = $setting{extension_control_path}))
	{
		$to = "$dir/extension";
		@from = map { ($_ eq '$system' ? $sharedir : $_) . '/extension' } split /:/, $path;
		$node->append_conf('postgresql.conf', "extension_control_path = '$dir:$path'");
	}
	else
	{
		return;
	}
	make_path($to);
	my ($from) = grep { -f "$_/fflag.control" } @from;
	copy($_, $to) or die "$!" for glob "$from/fflag*";
	$node->restart;
	return $to;
}

# Writes an update script from the current version to another one.
sub write_script
{
	my ($folder, $version, $text) = @_;
	my ($current) = versions();
	open my $out, '>', "$folder/fflag--$current--$version.sql" or die "$!";
	print $out $text;
	close $out or die "$!";
	return;
}

# The update script of a next version, which is made up.
sub next_script
{
	return slurp_file(dirname(__FILE__) . '/../data/next.sql');
}

# Creates functions that say in plain SQL who gets which flag, and compare: answers(), result().
sub second_opinion
{
	return plain_variant() . slurp_file(dirname(__FILE__) . '/../data/opinions.sql');
}

# Everything that belongs to the extension, as text.  A default that differs from one database to
# the other, by which the history knows them, counts as the same.
my $catalog = q{
	SELECT pg_describe_object(classid, objid, objsubid) || ': ' || concat_ws('; ', obj_description(objid, classid::regclass::name),
		CASE classid WHEN 'pg_proc'::regclass THEN (SELECT (to_jsonb(p) - '{oid,pronamespace,prosupport,proargtypes,proallargtypes,proacl}'::text[])::text
				|| p.prosupport::text || pg_get_function_arguments(p.oid) || (SELECT coalesce(string_agg(a::text, ',' ORDER BY a::text), '') FROM unnest(p.proacl) AS a)
				FROM pg_proc p WHERE p.oid = objid)
			WHEN 'pg_class'::regclass THEN (SELECT concat_ws('; ', c.relkind, c.relowner::regrole, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))::text,
				(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attcollation::regcollation,
					col_description(attrelid, attnum), regexp_replace(pg_get_expr(adbin, adrelid), '''[0-9a-f-]{36}''', 'a uuid')), ', ' ORDER BY attnum)
					FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = objid AND attnum > 0),
				(SELECT string_agg(pg_get_triggerdef(t.oid) || t.tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger t WHERE tgrelid = objid AND NOT tgisinternal),
				(SELECT string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY conname) FROM pg_constraint k WHERE conrelid = objid),
				(SELECT string_agg(pg_get_indexdef(indexrelid), ', ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = objid))
				FROM pg_class c WHERE c.oid = objid) END)
	FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fflag') AND deptype = 'e'
	UNION ALL SELECT extname || extversion || extrelocatable || (SELECT string_agg(c::regclass::text || d, ',' ORDER BY c::regclass::text)
		FROM unnest(extconfig, extcondition) AS config (c, d)) FROM pg_extension WHERE extname = 'fflag'
	ORDER BY 1};

sub catalog
{
	my ($session) = @_;
	return join "\n", map { $_->[0] } @{ $session->selectall_arrayref($catalog) };
}

1;
