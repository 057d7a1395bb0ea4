# What can be said of the sources without a server: the layout of the C code, the scripts, the
# patches of test/long/naive, how the pages are wrapped, where their links lead, what
# CONTRIBUTING.md and test/README.md list, the metadata for PGXN, and that the archive builds.
#
#   source.pl TOP   PG_CONFIG says with which PostgreSQL; the current folder is for temporary files
use strict;
use warnings;
use Encode qw(decode_utf8);
use JSON::PP;
use Test::More;

my $top = shift or die "usage: source.pl TOP\n";

# Runs a command, and passes if it succeeds and says nothing.
sub is_silent
{
	my ($command, $what) = @_;
	my $said = `($command) 2>&1`;
	return is($said . ($? ? "status $?" : ''), '', $what);
}

sub slurp
{
	my ($file) = @_;
	open my $handle, '<', $file or die "$file: $!\n";
	local $/;
	return scalar <$handle>;
}

# ---- C code

SKIP:
{
	skip 'there is no pg_bsd_indent', 1 if system 'command -v pg_bsd_indent >/dev/null';
	is_silent("'$top/test/format' check-format", 'make check-format');
}

# as the headers of a server of 32 bits are
chomp(my $headers = `'$ENV{PG_CONFIG}' --includedir-server`);
open my $narrow, '>', 'narrow.h' or die;
print $narrow "#include \"postgres.h\"\n#undef USE_FLOAT8_BYVAL\n";
close $narrow;
like(scalar(`\${CC:-cc} -fsyntax-only -I'$headers' -include narrow.h '$top/src/id.c' 2>&1`), qr/needs a PostgreSQL of 64 bits/, 'a server of 32 bits is refused');

# ---- scripts: whatever begins like one, and what they source

my @scripts = sort grep { -f && slurp($_) =~ m{^#!\S*[/ ](?:ba)?sh\b|^# shellcheck shell}m }
  map { glob "$top/$_" } qw(.ci/* *.sh bench/* clients/* test/* test/long/* test/django/*);
cmp_ok(scalar @scripts, '>=', 10, 'scripts: ' . join ' ', map { s{^\Q$top\E/}{}r } @scripts);
SKIP:
{
	skip 'there is no shellcheck', 1 if system 'command -v shellcheck >/dev/null';
	is_silent("cd '$top' && shellcheck -x @scripts", 'shellcheck');
}

# ---- patches: each fits where it was meant for, and the C that it changes compiles

my @patches = glob "$top/test/long/naive/*.patch";
cmp_ok(scalar @patches, '>', 20, scalar(@patches) . ' patches');
my $try = <<'END';
work=naive/$(basename "$1" .patch)
changed=$(sed -n 's,^+++ b/\(src/[^[:space:]]*\).*,\1,p' "$1")
mkdir -p $work/src $work/sql && cp "$TOP"/src/*.[ch] $work/src && cp "$TOP"/sql/* $work/sql &&
	patch -s -F0 -p1 -d $work <"$1" >&2 &&
	if [ "$changed" ]; then
		(cd $work && "${CC:-cc}" -fsyntax-only -Werror=implicit-function-declaration -D_GNU_SOURCE \
			-DFFLAG_VERSION='""' -I"$HEADERS" -include postgres.h -x c $changed)
	fi || echo ${work#*/}
rm -rf $work
END
@ENV{qw(TOP HEADERS TRY)} = ($top, $headers, $try);
is(`printf '%s\\0' '$top'/test/long/naive/*.patch | xargs -0 -n 1 -P "\$(nproc)" sh -c "\$TRY" sh`, '', 'they apply without fuzz, and what they change compiles');

# ---- all pages: prose is wrapped at 100 columns, links lead somewhere

my %text;
for my $file (map { glob "$top/$_" } qw(*.md docs/*.md bench/*.md clients/*/*.md test/*.md test/*/*.md))
{
	my $text = decode_utf8(slurp($file));
	$text =~ s/^ *```.*?^ *```$//gms;
	$text{ substr($file, 1 + length $top) } = $text =~ s/^(    |\t).*//gmr;
}

# What a heading is called in a link.
sub anchor { return lc($_[0]) =~ s/[^\w -]//gr =~ tr/ /-/r; }

for my $page (sort keys %text)
{
	my $prose = $text{$page} =~ s/^\|.*//gmr;
	my @long = grep { s/\]\([^)]*\)/]/gr =~ /.{101}/ } split /\n/, $prose;
	is(join("\n", map { substr(s/[^ -~]/?/gr, 0, 60) } @long), '', "$page: prose is wrapped");

	my ($folder) = $page =~ m{^(.*/)?};
	my @broken;
	for my $link (grep { !/^https?:/ } $text{$page} =~ /\]\(([^)]*)\)/g)
	{
		my ($file, $heading) = $link =~ /^([^#]*)(?:#(.*))?$/;
		my $path = $file eq '' ? $page : ($folder // '') . $file;
		1 while $path =~ s{(^|/)[^/]+/\.\./}{$1};
		push @broken, $link if !-e "$top/$path" ||
			defined $heading && !grep { anchor($_) eq $heading } ($text{$path} // '') =~ /^#+ (.*)/gm;
	}
	is("@broken", '', "$page: links lead somewhere");
}

# ---- a stranger finds each room

my $layout = slurp("$top/CONTRIBUTING.md");
for my $room (map { m{([^/]*)$} } glob "$top/src/*.c")
{
	like($layout, qr{^\|.*`src/\Q$room\E`}m, "CONTRIBUTING.md: what $room owns");
}

# ---- pages: test/README.md names each of these files

my $readme = slurp("$top/test/README.md");
my @files = map { m{([^/]*)\.\w+$} } @patches, map { glob "$top/test/$_" } qw(t/*.pl specs/*.spec long/faults/*.pl long/fuzz/*.pl);
is(join(' ', grep { $readme !~ /`\Q$_\E`/ } @files), '', 'test/README.md has all tests and patches');

# ---- majors: whoever names them means those of test/common.sh

my ($suites) = slurp("$top/test/common.sh") =~ /^declare -A suite=(.*)/m;
my @majors = sort { $a <=> $b } $suites =~ /\[(\d+)\]/g;
my %named = map { my $file = $_; map { ("$file: $_" => 1) } slurp("$top/$file") =~ /PostgreSQL (\d+ to \d+)/g }
  qw(README.md CONTRIBUTING.md Makefile test/README.md test/majors test/long/matrix);
cmp_ok(scalar keys %named, '>', 5, 'ranges of majors: ' . join ', ', sort keys %named);
is(join(', ', grep { !/: (?:$majors[0]|$majors[1]) to $majors[-1]$/ } sort keys %named), '', 'they are those of test/common.sh');
my ($tested) = slurp("$top/README.md") =~ /\bhistory\s+are\s+tested\s+on\s+(.*?),\s+without/s;
is(join(' ', $tested =~ /\b(\d+)/g), "@majors", 'those that README.md says are tested are, too');

# ---- floors: what CONTRIBUTING.md says of the rooms is true of the includes

my (%floor, $floor);
for (slurp("$top/CONTRIBUTING.md") =~ /^(\| (?:\*\*|`src\/).*)/mg)
{
	$floor++ if /^\| \*\*/;
	$floor{$_} = $floor for /^[^|]*\|[^|]*/ && $& =~ m{`src/(\w+)\.[ch]`}g;
}
my %includes;
for my $file (glob "$top/src/*.[ch]")
{
	my ($room) = $file =~ m{(\w+)\.[ch]$};
	push @{ $includes{$room} }, grep { $_ ne $room && -f "$top/src/$_.h" } slurp($file) =~ /^#include "(\w+)\.h"/mg;
}
is(join(' ', grep { !$floor{$_} } sort keys %includes), '', 'CONTRIBUTING.md has a floor for each file of src');
my @down = map { my $room = $_; map { "$room.c: $_.h" } grep { $floor{$_} > $floor{$room} } @{ $includes{$room} } } sort keys %includes;
is(join("\n", @down), '', 'no file includes a header of a floor below its own in that table');

# A room that is reached from itself is in a circle.
sub reached
{
	my ($room, $seen) = @_;
	$seen->{$_}++ || reached($_, $seen) for @{ $includes{$room} };
	return $seen;
}
is(join(' ', grep { reached($_, {})->{$_} } sort keys %includes), '', 'no circle of includes');

# ---- archive

SKIP:
{
	skip 'this is no git work tree', 4 if system "git -C '$top' rev-parse -q --verify HEAD >/dev/null 2>&1";

	is_silent("git clone -q '$top' clone && make -s -C clone dist", 'make dist');
	my ($archive) = glob 'clone/fflag-*.zip';
	my ($version) = slurp('clone/fflag.control') =~ /^default_version = '(.*)'$/m;
	is($archive, "clone/fflag-$version.zip", 'its name');
	is_silent("unzip -q $archive && make -s -C fflag-$version with_llvm=no COPT=-O0 PG_CONFIG='$ENV{PG_CONFIG}' && test -s fflag-$version/fflag.so",
		'it builds');

	# by the rules of https://pgxn.org/spec/, version 1.0.0
	subtest 'META.json' => sub {
		my $meta = decode_json(slurp("fflag-$version/META.json"));
		my $semantic = qr/^(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}$/;
		like($meta->{version}, qr/^\Q$version\E(?:\.0)*$/, 'its version is that of fflag.control');
		is($meta->{'meta-spec'}{version}, '1.0.0', 'the version of the rules');
		is($meta->{name}, 'fflag', 'name');
		like($meta->{$_}, qr/\w/, $_) for qw(abstract maintainer description);
		is($meta->{license}, 'postgresql', 'license');
		like($meta->{release_status}, qr/^(?:stable|testing|unstable)$/, 'release status');
		my %known = map { $_ => 1 } qw(name abstract description version maintainer license release_status
			provides prereqs tags meta-spec generated_by no_index resources);
		is(join(' ', grep { !$known{$_} && !/^x_/i } keys %$meta), '', 'no other keys');
		my @tags = @{ $meta->{tags} };
		is(scalar(grep { length > 0 && length() <= 256 && !m{[[:cntrl:]/\\]} } @tags), scalar @tags, 'tags');

		is(join(' ', keys %{ $meta->{provides} }), 'fflag', 'provides');
		my $extension = $meta->{provides}{fflag};
		like($_, $semantic, "semantic version $_") for ($meta->{version}, $extension->{version});
		ok(-f "fflag-$version/$_", "$_ is there") for ($extension->{file}, $extension->{docfile});

		for my $phase (keys %{ $meta->{prereqs} })
		{
			like($phase, qr/^(?:configure|build|test|runtime|develop)$/, "phase $phase");
			for my $relation (keys %{ $meta->{prereqs}{$phase} })
			{
				like($relation, qr/^(?:requires|recommends|suggests|conflicts)$/, "relation $relation");
				like($_, $semantic, "semantic version $_") for values %{ $meta->{prereqs}{$phase}{$relation} };
			}
		}
	};
}

done_testing();
