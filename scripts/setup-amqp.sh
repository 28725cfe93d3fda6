#!/usr/bin/env bash
# Brings the jars of two AMQP 1.0 brokers, Apache ActiveMQ Artemis and Apache Qpid Broker-J, at the versions pinned in scripts/amqp/,
# from Maven's registry into the cache that setup-interop.sh uses. A second run does nothing and takes a moment.
#
#   scripts/setup-amqp.sh           fetch what is missing; prints only what it does
#   scripts/setup-amqp.sh --where   print libs=FOLDER if the jars are there; fetches nothing
exec "$(dirname "${BASH_SOURCE[0]}")/jars.sh" amqp "AMQP brokers" "$@"
