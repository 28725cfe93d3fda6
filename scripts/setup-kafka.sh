#!/usr/bin/env bash
# Brings the jars of a real Apache Kafka broker and of MirrorMaker 2, at the versions pinned in scripts/kafka/pom.xml,
# from Maven's registry into the cache that setup-interop.sh uses. A second run does nothing and takes a moment.
#
#   scripts/setup-kafka.sh           fetch what is missing; prints only what it does
#   scripts/setup-kafka.sh --where   print libs=FOLDER if the jars are there; fetches nothing
#
# HUBFERRY_KAFKA=4.1.1 takes that version instead, also where tests look for the jars.
exec "$(dirname "${BASH_SOURCE[0]}")/jars.sh" kafka "Kafka broker and MirrorMaker 2${HUBFERRY_KAFKA:+, $HUBFERRY_KAFKA}" \
  ${HUBFERRY_KAFKA:+"-Dkafka.version=$HUBFERRY_KAFKA"} "$@"
