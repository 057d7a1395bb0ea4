# fflag: feature flags, evaluated in SQL
#
#   make && sudo make install && make installcheck    PGXS, as usual; PG_CONFIG=...
#   make demo                                         see it work
#   make test                                         everything, in a throwaway cluster
#   make test-naive                                   tests fail if the cache is naive
#   make test-faults                                  crashes, storms, cancels, no memory
#   make test-fuzz                                    random input
#   make bench                                        ratios, side by side in one run

EXTENSION = fflag
MODULE_big = fflag
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = $(wildcard sql/fflag--*.sql)

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --encoding=UTF8
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers

EXTRA_CLEAN = results output_iso tmp_check log regression.diffs regression.out

PG_CONFIG ?= pg_config

# What PostgreSQL is needed for begins here; the commands below set it up first.
ifeq ($(filter demo test test-naive test-faults test-fuzz bench,$(MAKECMDGOALS)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
else
.PHONY: demo test test-naive test-faults test-fuzz bench
demo test test-naive test-faults test-fuzz bench:
	@test/run $(@:test-%=%)
endif
