# Programs and unit tests; called by tools/build.sh and tools/unit.sh with
# OUT, CC, OPT, LDOPT, MYSQL_INCS, MYSQL_LIBS set.

OUT        ?= build
PARTIAL    ?= no
INCS        = -Ilib $(MYSQL_INCS)
DEFS        = -D_GNU_SOURCE=
LIB_LIBS    = $(MYSQL_LIBS) -ljansson -lcurl -largon2 -ljwt -lssl -lcrypto \
              -lpthread

lib_src     = $(sort $(wildcard lib/*.c))
sidecar_src = $(sort $(wildcard sidecar/*.c))
kafka_src   = $(sort $(wildcard sidecar/kafka-dev/*.c))
pgsim_src   = $(sort $(wildcard pgsim/*.c))
verify_src  = $(sort $(wildcard tools/verify/*.c))
topics_src  = $(sort $(wildcard tools/topics/*.c))

objs        = $(patsubst %.c,$(OUT)/obj/%.o,$(1))
lib         = $(OUT)/libopay.a

programs    = $(if $(sidecar_src),$(OUT)/bin/opay-sidecar) \
              $(if $(kafka_src),$(OUT)/bin/kafka-dev) \
              $(if $(pgsim_src),$(OUT)/bin/pgsim) \
              $(if $(topics_src),$(OUT)/bin/opay-topics) \
              $(if $(verify_src),$(OUT)/bin/opay-verify)

ifneq ($(PARTIAL),yes)
programs    = $(OUT)/bin/opay-sidecar $(OUT)/bin/kafka-dev $(OUT)/bin/pgsim \
              $(OUT)/bin/opay-topics $(OUT)/bin/opay-verify
endif

all_src     = $(lib_src) $(sidecar_src) $(kafka_src) $(pgsim_src) \
              $(topics_src) $(verify_src)

.PHONY: programs
.SECONDARY:

programs: $(programs)

# t/unit: each file with a main() is one program over lib; *sidecar_*.c and
# *pgsim_*.c also get the objects of their program but its main.

unit_all    = $(sort $(wildcard t/unit/*.c))
unit_src    = $(if $(unit_all),$(shell grep -l '^main\>' $(unit_all)))
unit_common = $(filter-out $(unit_src),$(unit_all))
unit_bin    = $(patsubst t/unit/%.c,$(OUT)/unit/%,$(unit_src))

.PHONY: unit
unit: $(unit_bin)

$(OUT)/obj/%.o: %.c $(OUT)/flags
	@mkdir -p $(@D)
	$(CC) -c -std=gnu11 $(OPT) $(DEFS) $(INCS) -I$(<D) -MMD -MP -o $@ $<

# The list of lib's files is part of the stamp: a removed file must go.
$(OUT)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(OPT) $(LDOPT) $(DEFS) $(INCS) $(LIB_LIBS)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(OUT)/lib.list: FORCE
	@mkdir -p $(@D)
	@echo '$(lib_src)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(lib): $(call objs,$(lib_src)) $(OUT)/lib.list
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)

link = @mkdir -p $(@D); $(CC) $(OPT) $(LDOPT) -o $@.new $(filter %.o %.a,$^) \
       $(1) $(LIB_LIBS) && mv $@.new $@ && echo built $@

$(OUT)/bin/opay-sidecar: $(call objs,$(sidecar_src)) $(lib)
	$(call link,-lrdkafka -lmicrohttpd)

$(OUT)/bin/kafka-dev: $(call objs,$(kafka_src))
	$(call link,-lrdkafka)

$(OUT)/bin/opay-topics: $(call objs,$(topics_src))
	$(call link,-lrdkafka)

$(OUT)/bin/opay-verify: $(call objs,$(verify_src)) $(lib)
	$(call link,)

$(OUT)/bin/pgsim: $(call objs,$(pgsim_src)) $(lib)
	$(call link,-lmicrohttpd -lsqlite3)

$(filter $(OUT)/unit/sidecar% $(OUT)/unit/test_sidecar%,$(unit_bin)): \
    $(OUT)/unit/%: $(OUT)/obj/t/unit/%.o \
    $(call objs,$(unit_common)) \
    $(call objs,$(filter-out %main.c,$(sidecar_src))) $(lib)
	$(call link,-lcmocka -lrdkafka -lmicrohttpd)

$(filter $(OUT)/unit/pgsim% $(OUT)/unit/test_pgsim%,$(unit_bin)): \
    $(OUT)/unit/%: $(OUT)/obj/t/unit/%.o \
    $(call objs,$(unit_common)) \
    $(call objs,$(filter-out %main.c,$(pgsim_src))) $(lib)
	$(call link,-lcmocka -lmicrohttpd -lsqlite3)

$(OUT)/unit/%: $(OUT)/obj/t/unit/%.o $(call objs,$(unit_common)) $(lib)
	$(call link,-lcmocka)

FORCE:

-include $(patsubst %.c,$(OUT)/obj/%.d,$(all_src) $(unit_src) $(unit_common))
