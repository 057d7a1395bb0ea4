# fflag: feature flags, evaluated in SQL.  "make help" lists the commands.

EXTENSION = fflag
MODULE_big = fflag
# where the sources are, for builds in another folder (VPATH) too
top = $(or $(VPATH),.)
OBJS = $(patsubst $(top)/%.c,%.o,$(sort $(wildcard $(top)/src/*.c)))
DATA = $(patsubst $(top)/%,%,$(wildcard $(top)/sql/fflag--*.sql))

# said once, in the control file
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'$$/\1/p" $(top)/fflag.control)
PG_CPPFLAGS = -DFFLAG_VERSION='"$(EXTVERSION)"'

# the environment's, which make would replace by the next line
ONLY := $(REGRESS)
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --encoding=UTF8
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

# a function that this major does not declare would only be missed when the library is loaded
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Werror=implicit-function-declaration

PG_CONFIG ?= pg_config

EXTRA_CLEAN = results output_iso tmp_check log regression.diffs regression.out \
	META.json fflag-*.zip clients/dist

.DEFAULT_GOAL = all

# Commands that need no PostgreSQL yet: those that do set it up by themselves.
demo: ## see it work
test: ## all tests, in throwaway servers
test-naive: ## break each rule of the cache in turn; tests must fail
test-matrix: ## the tests on PostgreSQL 15 to 19
test-assert: ## the tests with assertions, valgrind, sanitizers
test-upgrade: ## pg_upgrade, with flags in use
test-faults: ## crashes, connection storms, cancels, no memory
test-fuzz: ## random input
test-django: ## Django and feature-flag-infra
test-citus: ## docs/citus.md, on a PostgreSQL that has Citus
test-packages: ## Debian packages, where there is no compiler
test-cross: ## the hash and the rules on other machines
check-majors: ## compile with the headers of PostgreSQL 16 to 19
test-clean: ## remove the chroots and environments of the tests
bench: ## ratios, into docs/benchmarks.md
bench-django: ## a round trip in Django, into docs/django-package.md
bench-openfeature: ## evaluations a second, into docs/openfeature.md
clients: ## the packages for OpenFeature, into clients/dist
format: ## lay out the C code as PostgreSQL's is
check-format: ## show where it is not
dist: ## an archive of the last commit, for PGXN
deb: ## Debian packages of the last commit
help: ## this list

COMMANDS := $(shell sed -n 's/^\([a-z-]*\): \#\# .*/\1/p' $(firstword $(MAKEFILE_LIST)))
.PHONY: $(COMMANDS)
demo test test-naive test-faults test-fuzz test-django test-citus bench bench-django bench-openfeature:
	@REGRESS='$(ONLY)' test/run $(@:test-%=%)
test-matrix test-assert test-upgrade test-clean:
	@REGRESS='$(ONLY)' test/long/matrix $(@:test-%=%)
test-packages test-cross:
	@test/long/$(@:test-%=%)
format check-format:
	@test/format $@
check-majors:
	@test/majors
clients:
	@clients/build
dist: META.json
	git archive --format=zip --prefix=fflag-$(EXTVERSION)/ --add-file=$< \
		-o fflag-$(EXTVERSION).zip HEAD
deb:
	@debian/build
META.json: META.json.in fflag.control
	sed 's/@VERSION@/$(EXTVERSION)/g' $< >$@
help:
	@echo 'make && sudo make install && make installcheck, with PG_CONFIG=..., as usual; and:'
	@sed -n 's/^\([a-z-]*\): ## \(.*\)/    make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

ifneq ($(filter-out $(COMMANDS) META.json,$(or $(MAKECMDGOALS),all)),)
ifdef VPATH
$(shell mkdir -p src)
endif
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
# "pgxs.mk: No such file" would not say what to install
$(error The headers of PostgreSQL are missing: install postgresql-server-dev-NN, NN being its major \
	version (elsewhere than on Debian: postgresql-devel), or say PG_CONFIG=/path/to/pg_config)
endif
include $(PGXS)

# PGXS does not look at headers
$(OBJS): $(wildcard $(top)/src/*.h)
src/fflag.o: $(top)/fflag.control
endif
