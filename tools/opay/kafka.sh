#!/bin/bash
#
# Makes the Kafka of the development stack ready to be started: jars by
# Maven, server.properties, the formatted log directory.  Where Maven's
# central repository cannot be reached, kafka-dev takes its place.
# Prints what was chosen into $OPAY_STATE/data/kafka.kind: kafka or kafka-dev.

. "$(dirname "$0")/lib.sh"

pom=$OPAY_ROOT/tools/kafka/pom.xml
libs=$PARTS/kafka
kind=$DATA/kafka.kind

jars() {
    local want log=$LOG/maven.log

    want=$(sha256sum < "$pom") || return 1
    [ "$(cat "$libs/.pom" 2> /dev/null)" = "$want" ] && return

    echo "fetching Kafka's jars with Maven"
    rm -rf "$libs.new"
    mkdir -p "$libs.new"

    timeout "${OPAY_MAVEN_TIMEOUT:-300}" \
        mvn -B -U -ntp -f "$pom" dependency:copy-dependencies \
            -DoutputDirectory="$libs.new" -DincludeScope=runtime \
            ${OPAY_MAVEN_OPTS:-} > "$log" 2>&1 || return 1

    echo "$want" > "$libs.new/.pom"
    rm -rf "$libs"
    mv "$libs.new" "$libs"
}

format() {
    local dir=$DATA/kafka

    [ -f "$dir/meta.properties" ] && return

    mkdir -p "$dir"
    java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" \
        kafka.tools.StorageTool format \
        -t "$(java -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
              -cp "$libs/*" kafka.tools.StorageTool random-uuid)" \
        -c "$CONF/kafka.properties" > "$LOG/kafka-format.log" 2>&1 \
        || { tail -5 "$LOG/kafka-format.log" >&2; return 1; }
}

mkdir -p "$DATA" "$LOG" "$PARTS"

if [ "${OPAY_KAFKA_DEV:-}" = 1 ]; then
    warn "OPAY_KAFKA_DEV=1: kafka-dev is used instead of Kafka"
    echo kafka-dev > "$kind"

elif jars; then
    format || die "kafka.tools.StorageTool could not format $DATA/kafka:" \
                  "$LOG/kafka-format.log"
    echo kafka > "$kind"

elif [ -f "$libs/.pom" ]; then
    warn "Maven could not fetch (see $LOG/maven.log): the jars fetched" \
         "earlier are used"
    format || die "kafka.tools.StorageTool failed: $LOG/kafka-format.log"
    echo kafka > "$kind"

else
    warn "Maven's central repository cannot be reached (see $LOG/maven.log):"
    warn "kafka-dev is used, a broker in memory: topics do not survive its" \
         "restart"
    echo kafka-dev > "$kind"
fi
