# fflag: feature flags, evaluated in SQL
#
#   make && sudo make install && make installcheck    PGXS, as usual; PG_CONFIG=...
#   make demo                                         see it work
#   make test                                         everything, in a throwaway cluster
#   make test-naive                                   tests fail if the cache is naive
#   make test-matrix                                  everything, on each PostgreSQL that Debian has
#   make test-assert                                  the same on assert-enabled servers, valgrind, sanitizers
#   make test-upgrade                                 pg_upgrade, with flags in use
#   make test-faults                                  crashes, storms, cancels, no memory
#   make test-fuzz                                    random input
#   make test-django                                  Django and feature-flag-infra
#   make bench                                        ratios, side by side in one run
#   make bench-django                                 the same for a round trip in Django

EXTENSION = fflag
MODULE_big = fflag
# where the sources are, for builds in another folder (VPATH) too
top = $(or $(VPATH),.)
OBJS = $(patsubst $(top)/%.c,%.o,$(sort $(wildcard $(top)/src/*.c)))
DATA = $(patsubst $(top)/%,%,$(wildcard $(top)/sql/fflag--*.sql))

# the environment's, which make would replace by the next line
ONLY := $(REGRESS)
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --encoding=UTF8
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare

EXTRA_CLEAN = results output_iso tmp_check log regression.diffs regression.out

PG_CONFIG ?= pg_config

# These set PostgreSQL up first, so that it need not be there yet.
.DEFAULT_GOAL = all
COMMANDS = demo test test-naive test-faults test-fuzz test-django bench bench-django test-matrix test-assert test-upgrade test-clean
.PHONY: $(COMMANDS)
demo test test-naive test-faults test-fuzz test-django bench bench-django:
	@REGRESS='$(ONLY)' test/run $(@:test-%=%)
test-matrix test-assert test-upgrade test-clean:
	@REGRESS='$(ONLY)' test/long/matrix $(@:test-%=%)

ifneq ($(filter-out $(COMMANDS),$(or $(MAKECMDGOALS),all)),)
ifdef VPATH
$(shell mkdir -p src)
endif
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS does not look at headers
$(OBJS): $(wildcard $(top)/src/*.h)
endif
