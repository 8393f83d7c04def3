# cdp: builds with PGXS on PostgreSQL 15 to 18.
#
#   make, make install, make installcheck    the usual three
#   make demo [KEEP=1]                       the story on real data, in a throw-away cluster
#   make test [SUITES="unit regress"]        everything, set-up included
#   make lint, make format                   the rules of the house
#   make unit, make fuzz                     core algorithms outside the server
#   make bench                               the figures
#
# All lists are explicit and in dependency order; nothing here is found by wildcard.

MODULE_big = cdp
EXTENSION = cdp

OBJS = \
	src/cdp.o \
	src/column.o \
	src/aggregate.o \
	src/guc.o \
	src/progress.o \
	src/row.o \
	src/row_insert.o \
	src/row_table.o \
	src/store.o \
	src/task.o \
	src/core/text.o \
	src/core/fold.o \
	src/core/email.o \
	src/core/phone_table.o \
	src/core/phone.o \
	src/core/time.o \
	src/core/window.o \
	src/core/affinity.o \
	src/core/affinity_flat.o \
	src/core/affinity_text.o \
	src/core/segexpr.o \
	src/core/words.o \
	src/core/bitmap.o \
	src/core/bitmap_format.o \
	src/core/audience.o \
	src/core/unionfind.o \
	src/core/linkage.o \
	src/core/nodes.o \
	src/core/components.o \
	src/core/bits.o \
	src/core/vendors.o \
	src/core/tcf.o \
	src/core/usp.o \
	src/core/gpp.o \
	src/core/gpp_state.o \
	src/identity/identifier.o \
	src/identity/normalise.o \
	src/identity/platform_hash.o \
	src/identity/identity_set.o \
	src/identity/identity_set_op.o \
	src/identity/identity_set_gin.o \
	src/identity/identity_set_agg.o \
	src/identity/rules.o \
	src/identity/bearer.o \
	src/identity/check.o \
	src/identity/component.o \
	src/identity/components.o \
	src/identity/components_int.o \
	src/identity/components_any.o \
	src/identity/components_spill.o \
	src/identity/components_agg.o \
	src/identity/graph.o \
	src/identity/graph_decide.o \
	src/identity/graph_lock.o \
	src/identity/graph_lookup.o \
	src/identity/graph_edge.o \
	src/identity/graph_write.o \
	src/identity/who.o \
	src/condition/value.o \
	src/condition/pattern.o \
	src/condition/compile.o \
	src/condition/match.o \
	src/condition/matches.o \
	src/segment/clause.o \
	src/segment/eval.o \
	src/segment/json.o \
	src/segment/list.o \
	src/segment/member.o \
	src/segment/predicate.o \
	src/segment/rule.o \
	src/segment/segment.o \
	src/segment/text.o \
	src/segment/timer.o \
	src/segment/segment_query.o \
	src/segment/segment_set.o \
	src/segment/expr.o \
	src/segment/chunk.o \
	src/segment/chunk_fold.o \
	src/segment/chunk_check.o \
	src/segment/audience.o \
	src/segment/audience_io.o \
	src/segment/audience_op.o \
	src/segment/audience_agg.o \
	src/consent/allowed.o \
	src/consent/consent.o \
	src/profile/explain_consent.o \
	src/consent/suppress.o \
	src/consent/audit.o \
	src/consent/selfcheck.o \
	src/profile/column.o \
	src/consent/signal.o \
	src/consent/signal_json.o \
	src/affinity/affinity.o \
	src/affinity/affinity_agg.o \
	src/profile/metric.o \
	src/profile/metric_backfill.o \
	src/profile/dimension.o \
	src/profile/dimension_base.o \
	src/profile/item.o \
	src/profile/affinity_read.o \
	src/profile/metric_affinity.o \
	src/profile/metric_check.o \
	src/profile/metric_filter.o \
	src/profile/metric_state.o \
	src/profile/metric_value.o \
	src/profile/base.o \
	src/profile/base_session.o \
	src/profile/base_trait.o \
	src/profile/due.o \
	src/profile/probe.o \
	src/profile/sequence.o \
	src/profile/sequence_check.o \
	src/profile/sequence_value.o \
	src/profile/session.o \
	src/profile/session_check.o \
	src/profile/session_read.o \
	src/profile/session_row.o \
	src/profile/window.o \
	src/profile/explain.o \
	src/profile/history.o \
	src/profile/algebra.o \
	src/profile/count_match.o \
	src/profile/count_scan.o \
	src/profile/estimate.o \
	src/profile/in_segments.o \
	src/profile/support.o \
	src/profile/members.o \
	src/profile/mark.o \
	src/profile/trait_fold.o \
	src/profile/preview.o \
	src/profile/profile.o \
	src/profile/profile_row.o \
	src/profile/rebuild.o \
	src/profile/restore.o \
	src/profile/resolve.o \
	src/profile/state.o \
	src/profile/survive.o \
	src/profile/tally.o \
	src/profile/trait.o \
	src/profile/trait_backfill.o \
	src/profile/verify.o \
	src/activation/activation.o \
	src/ingest/apply_rules.o \
	src/ingest/apply_timer.o \
	src/ingest/apply_trait.o \
	src/ingest/apply_segment.o \
	src/ingest/attachment.o \
	src/ingest/capture.o \
	src/ingest/captured.o \
	src/ingest/config.o \
	src/ingest/discover.o \
	src/ingest/document.o \
	src/ingest/inbox.o \
	src/ingest/import_audience.o \
	src/ingest/dedupe.o \
	src/ingest/ingest.o \
	src/ingest/mention.o \
	src/ingest/ingest_edges.o \
	src/ingest/apply_signal.o \
	src/ingest/set_jurisdiction.o \
	src/ingest/ingest_sql.o \
	src/ingest/maintain.o \
	src/ingest/mapping_error.o \
	src/ingest/message.o \
	src/ingest/partition.o \
	src/ingest/plan.o \
	src/ingest/refusal.o \
	src/ingest/schema.o \
	src/ingest/replay.o \
	src/ingest/retention.o \
	src/ingest/row_message.o \
	src/ingest/retry.o \
	src/ingest/stats.o \
	src/ingest/unmerge.o \
	src/ingest/suppressed.o \
	src/ingest/subject.o \
	src/ingest/scrub.o \
	src/ingest/view_write.o \
	src/init.o

# The install script is these fragments, joined in this order.
INSTALL_SQL = \
	sql/install/00_head.sql \
	sql/install/20_identity_type.sql \
	sql/install/21_identity.sql \
	sql/install/22_components.sql \
	sql/install/22_normalise.sql \
	sql/install/23_condition.sql \
	sql/install/24_signal.sql \
	sql/install/30_segment.sql \
	sql/install/31_consent.sql \
	sql/install/33_signal_map.sql \
	sql/install/32_affinity.sql \
	sql/install/32_audience.sql \
	sql/install/40_profile.sql \
	sql/install/41_activation.sql \
	sql/install/42_metric.sql \
	sql/install/45_segment.sql \
	sql/install/46_segment_build.sql \
	sql/install/47_import.sql \
	sql/install/48_describe.sql \
	sql/install/46_segment_sql.sql \
	sql/install/43_session.sql \
	sql/install/44_sequence.sql \
	sql/install/46_dimension.sql \
	sql/install/50_ingest.sql \
	sql/install/51_unmerge.sql \
	sql/install/52_plan.sql \
	sql/install/52_replay.sql \
	sql/install/53_inbox.sql \
	sql/install/54_stats.sql \
	sql/install/55_discover.sql \
	sql/install/56_retention.sql \
	sql/install/57_card.sql \
	sql/install/58_consent_views.sql \
	sql/install/58_subject.sql \
	sql/install/59_erase.sql \
	sql/install/60_provision.sql \
	sql/install/61_selfcheck.sql \
	sql/install/62_audit.sql \
	sql/install/80_init.sql \
	sql/install/90_privileges.sql

REGRESS = \
	setup \
	identity_type \
	components \
	normalise \
	condition \
	signal \
	identity \
	rules \
	rules_isolate \
	identity_time \
	ingest \
	inbox \
	storage \
	attach \
	discover \
	plan \
	profile \
	metric \
	session \
	sequence \
	dimension \
	survivorship \
	replay \
	replay_metric \
	retention \
	retention_law \
	view_write \
	segment \
	audience \
	chunk \
	segment_damage \
	segment_rules \
	segment_time \
	segment_build \
	import \
	describe \
	segment_sql \
	segment_fuzz \
	consent \
	consent_model \
	signal_apply \
	affinity \
	activation \
	subject \
	provision \
	selfcheck \
	audit \
	privileges \
	laws

# Names of specs/<name>.spec; invariants comes first, it installs what the others use.
ISOLATION = \
	invariants \
	first_sight \
	opposite_merge \
	merge_event \
	duplicate_message \
	batch_order \
	withdrawal_read \
	claim_race \
	define_segment \
	redefine_snapshot \
	import_race \
	dependants \
	rolled_back \
	partition_race \
	consent_merge \
	consent_default \
	snapshot_consent \
	config_during_merge \
	remove_identifier \
	acts \
	pairs \
	pairs_snapshot \
	storage_race \
	progress \
	lock_order \
	fold \
	flip \
	late_statement \
	maintain_race \
	item_race

# The top of the source tree: with a trailing slash, or empty when we build inside it.
cdp_top := $(dir $(firstword $(MAKEFILE_LIST)))
cdp_src := $(if $(filter ./,$(cdp_top)),,$(cdp_top))

# The version is written once, in the control file; C code sees it as the macro CDP_VERSION.
CDP_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(cdp_src)cdp.control)

DATA_built = sql/cdp--$(CDP_VERSION).sql

# Unused parameters are the price of callback signatures (fcinfo, hooks), so -Wextra comes without them.
# Server headers count as system headers: their own warnings are not ours to fix.
PG_CPPFLAGS = -I$(cdp_top)src -isystem $(includedir_server) -MMD -MP -DCDP_VERSION='"$(CDP_VERSION)"'
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter $(CDP_CFLAGS)

# PostgreSQL was configured with gcc; clang is told to pass over the flags it does not know.
ifneq ($(findstring clang,$(CC)),)
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

EXTRA_CLEAN = $(OBJS:.o=.d) sql/cdp--$(CDP_VERSION).sql.tmp tmp_check tmp_check_iso output_iso results log \
	regression.diffs regression.out tools/unit/build

# No bitcode unless asked for (make with_llvm=yes): the build then needs no clang.
ifneq ($(origin with_llvm),command line)
override with_llvm = no
endif

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# TAP tests start clusters of their own, so they need IPC::Run and a user other than root.
ifneq ($(filter installcheck,$(MAKECMDGOALS)),)
ifneq ($(origin TAP_TESTS),command line)
ifeq ($(shell perl -MIPC::Run -e 'print "yes" if $$> != 0' 2>/dev/null),yes)
TAP_TESTS = 1
else
$(info note: TAP tests are left out (they need perl's IPC::Run and a user other than root))
endif
endif
endif

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# Sources come from the source tree, but never somebody's objects left in it.
ifneq ($(cdp_src),)
VPATH =
vpath %.c $(cdp_top)
vpath %.control $(cdp_top)
endif

ifdef SANITIZE
override CPPFLAGS := $(filter-out -D_FORTIFY_SOURCE=2,$(CPPFLAGS)) -U_FORTIFY_SOURCE
override CFLAGS := $(filter-out -fwrapv,$(CFLAGS)) -O1 -g3 -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
override SHLIB_LINK += -fsanitize=$(SANITIZE)
endif

ifdef COVERAGE
override CFLAGS += --coverage -O0 -fprofile-update=atomic
override SHLIB_LINK += --coverage
EXTRA_CLEAN += $(OBJS:.o=.gcno) $(OBJS:.o=.gcda)
endif

$(OBJS): $(cdp_src)Makefile $(cdp_src)cdp.control | $(sort $(dir $(OBJS)))

$(sort $(dir $(OBJS))):
	mkdir -p $@

sql/cdp--$(CDP_VERSION).sql: $(addprefix $(cdp_src),$(INSTALL_SQL)) $(cdp_src)Makefile $(cdp_src)cdp.control
	@mkdir -p $(@D)
	cat $(addprefix $(cdp_src),$(INSTALL_SQL)) > $@.tmp
	mv $@.tmp $@

-include $(OBJS:.o=.d)

else # no PostgreSQL here yet

all install uninstall installcheck:
	@echo "PostgreSQL's build files are missing ($(PG_CONFIG) --pgxs names none)." >&2
	@echo "Run $(cdp_top)tools/setup.sh, or give PG_CONFIG=/path/to/pg_config." >&2
	@false

clean:
	rm -rf cdp.so $(DATA_built) $(OBJS) $(EXTRA_CLEAN)

endif

.DEFAULT_GOAL := all

# These set up what they need by themselves; PostgreSQL need not be there before.
demo:
	@$(cdp_top)tools/setup.sh
	@KEEP='$(KEEP)' $(cdp_top)demo/run.sh

test:
	@$(cdp_top)tools/setup.sh test
	@SUITES='$(SUITES)' $(cdp_top)tools/test.sh

bench:
	@$(cdp_top)tools/setup.sh
	@$(cdp_top)bench/run.sh

unit:
	@$(cdp_top)tools/unit/run.sh

fuzz:
	@$(cdp_top)tools/unit/run.sh fuzz

lint:
	@$(cdp_top)tools/lint.sh

format:
	@$(cdp_top)tools/format.sh

# For the scripts: the words of one of the lists above.
print-%:
	@echo $($*)

.PHONY: all demo test bench unit fuzz lint format
