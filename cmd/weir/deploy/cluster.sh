#!/bin/sh
# Starts a cluster of brokers on loopback, each in a rack of its own, with one directory for their write-ahead logs and one
# for objects, and waits for Ctrl-C. Clients may bootstrap at any of them.
#
#	BROKERS=3 PORT=19091 DIR=data/cluster sh cmd/weir/deploy/cluster.sh [--set key=value ...]
#
# The brokers listen on PORT, PORT+1, ..., and for each other on PORT+100, PORT+101, ... What they log is in DIR.
set -eu

BROKERS=${BROKERS:-3}
PORT=${PORT:-19091}
DIR=${DIR:-data/cluster}
WEIR=${WEIR:-./bin/weir}

voters=
n=1
while [ "$n" -le "$BROKERS" ] && [ "$n" -le 3 ]; do
	voters="$voters${voters:+,}$n@127.0.0.1:$((PORT + 99 + n))"
	n=$((n + 1))
done

pids=
trap 'kill $pids 2>/dev/null; wait' INT TERM EXIT
mkdir -p "$DIR"
n=1
while [ "$n" -le "$BROKERS" ]; do
	"$WEIR" server --set node.id="$n" --set broker.rack="zone-$n" \
		--set "listeners=PLAINTEXT://127.0.0.1:$((PORT + n - 1)),CONTROLLER://127.0.0.1:$((PORT + 99 + n))" \
		--set controller.listener.names=CONTROLLER --set "controller.quorum.voters=$voters" \
		--set broker.session.timeout.ms=2000 \
		--set weir.data.dir="$DIR/broker-$n" --set weir.object.store="file:$DIR/objects" \
		--set weir.wal.shared=true --set weir.wal.path="$DIR/wal" "$@" >"$DIR/broker-$n.log" 2>&1 &
	pids="$pids $!"
	echo "broker $n: 127.0.0.1:$((PORT + n - 1)), process $!, log $DIR/broker-$n.log"
	n=$((n + 1))
done
wait
