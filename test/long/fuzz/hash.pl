# libFuzzer on src/md5.c, src/bucket_simd.c, src/bucket.c, src/choice.c, src/rules.c and
# src/integer_list.c against the plain versions in fuzz.c; first of all on sources with a mistake each, which it has to find.
#
#   FFLAG_FUZZ_SECONDS   how long, together with sql.pl (30)
use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = ($ENV{FFLAG_FUZZ_SECONDS} // 30) / 2;
my $root = "$FindBin::RealBin/../../..";
my $dir = PostgreSQL::Test::Utils::tempdir;

# Seeds: flag, how to divide, name and user id of the known buckets
mkdir "$dir/seeds" or die;
open my $vectors, '<:raw', "$root/test/data/buckets.tsv" or die;
<$vectors>;
while (<$vectors>)
{
	my ($name, $user) = split /\t/;
	open my $seed, '>:raw', "$dir/seeds/$." or die;
	print $seed pack('v', length $name), chr($. % 256), pack('n', $. * 13 % 65536), chr($. % 251), $name, $user;
	close $seed;
}

sub fuzz
{
	my ($what, $time, $length, @sources) = @_;
	mkdir "$dir/$what" or die;
	system_or_bail('make', '-s', '-B', '-C', "$root/test/long/fuzz", @sources ? "SOURCES=@sources" : ());
	my $status = system "cd '$dir/$what' && '$root/test/long/fuzz/fuzz' -max_total_time=$time -max_len=$length -rss_limit_mb=2048 . ../seeds >../$what.log 2>&1";
	my $log = slurp_file("$dir/$what.log");
	my ($runs) = $log =~ /^Done (\d+) runs/m;
	return ($status, $runs // 0, $log);
}

# ---- mistakes, one a source file

my %mistake = (
	'md5.c' => sub { s/\(uint64_t\) bytes/(uint64_t) (bytes & 511)/ },
	'bucket_simd.c' => sub { s/user_len >= FFLAG_MD5_ROOM - prefix;/user_len > FFLAG_MD5_ROOM - prefix;/ },
	'bucket.c' => sub { s/51616/51617/ },
	'choice.c' => sub { s/logarithms\[i \+ 1\]/logarithms[i]/ },
	'rules.c' => sub { s/flag\) < flag->rollout/flag) <= flag->rollout/ },
	'integer_list.c' => sub { s/\+\+\] = low;/++] = low & 0x7fff;/ },
);
for my $file (sort keys %mistake)
{
	my $source = slurp_file("$root/src/$file");
	$mistake{$file}->() || die "nothing to change in $file" for $source;
	append_to_file("$dir/$file", $source);
	my ($status, undef, $log) = fuzz("mistake-$file", 20, 4096,
		map { $_ eq $file ? "$dir/$file" : "$root/src/$_" } qw(bucket.c md5.c bucket_simd.c choice.c rules.c integer_list.c));
	isnt($status, 0, "a mistake in $file is found");
	ok($log =~ /^differs: /m, 'by comparison');
}

# ---- the sources as they are

for my $run ([ 'short', 0.75, 4096 ], [ 'long', 0.25, 1048576 ])
{
	my ($what, $share, $length) = @$run;
	my ($status, $runs, $log) = fuzz($what, 1 + int($share * $seconds), $length);
	is($status, 0, "inputs of up to $length bytes: no difference, no sanitizer report") or diag substr $log, -3000;
	cmp_ok($runs, '>', 1000, "$runs inputs");
	diag "$runs inputs of up to $length bytes";
}
done_testing();
