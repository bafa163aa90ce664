#!/usr/bin/env bash
# Shows files moving through a relay on this machine: three services, two nodes.
#
#   sensor ─▶ outbox ══edge══▶ hub ─▶ inbox ─▶ filter ─▶ outbox ══hub══▶ edge ─▶ inbox ─▶ consumer
#
# Half-way the hub is killed, as a power cut would, and started again. All lies
# in a temporary directory, is gone at the end, and takes about ten seconds.
# Usage: deploy/demo.sh [BINARY]
set -euo pipefail

bin=$(realpath "${1:-bin/bucket-relay}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/bucket-relay-demo.XXXXXX")
pids=()

cleanup() {
  trap - EXIT INT TERM
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'echo; exit 130' INT TERM

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
relay() { # runs a command of the relay and shows it as a user would type it
  printf '%s$ bucket-relay %s%s\n' "$dim" "$*" "$plain"
  "$bin" "$@"
}

wait_for() { # wait_for WHAT COMMAND…: until the command succeeds, at most ten seconds
  local what=$1 end=$((SECONDS + 10))
  shift
  until "$@" &>/dev/null; do
    if ((SECONDS >= end)); then
      printf 'demo: waited in vain for %s\n' "$what" >&2
      cat "$dir"/*.log >&2
      exit 1
    fi
    sleep 0.05
  done
}

free_port() { # a port of this machine that nobody listens on
  local port
  while port=$((20000 + RANDOM % 20000)); do
    (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

start_node() { # start_node NAME: leaves the process in $node
  "$bin" start --config "$dir/$1.yaml" 2>>"$dir/$1.log" &
  node=$!
  pids+=("$node")
  wait_for "node $1" "$bin" status --addr "${addr[$1]}"
}

files() { find "$1" -maxdepth 1 -type f -name '*.json' | wc -l; }
arrived() { [[ $(files "$dir/consumer/in") == "$1" ]]; }

# ---------------------------------------------------------------- the services

sensor() { # sensor FROM TO: writes readings into its outbox
  local n
  for ((n = $1; n <= $2; n++)); do
    printf '{"reading": %d, "celsius": %d.%d}\n' "$n" $((18 + n % 7)) $((n % 10)) >"$dir/sensor/reading-$n.tmp"
    mv "$dir/sensor/reading-$n.tmp" "$dir/sensor/out/reading-$n.json"
  done
}

filter() { # takes what arrives, adds a field, passes it on
  local file name
  shopt -s nullglob
  while sleep 0.05; do
    for file in "$dir"/filter/in/*.json; do
      name=$(basename "$file")
      sed 's/}/, "checked": true}/' "$file" >"$dir/filter/$name.tmp"
      mv "$dir/filter/$name.tmp" "$dir/filter/out/$name"
      rm "$file"
    done
  done
}

# --------------------------------------------------------------- configuration

mkdir -p "$dir"/{sensor,filter}/out "$dir"/{filter,consumer}/in
declare -A addr=([edge]=127.0.0.1:$(free_port) [hub]=127.0.0.1:$(free_port))

cat >"$dir/static.yaml" <<END
clusters:
  filters:   [ { id: filter, address: 127.0.0.1, port: $(free_port) } ]
  consumers: [ { id: consumer, address: 127.0.0.1, port: $(free_port) } ]
END
cat >"$dir/edge.yaml" <<END
name: edge
data_dir: $dir/edge
http: ${addr[edge]}
network: { static: static.yaml }
uploaders:
  - { name: sensor, spool: sensor/out, nexthop: [ { match: '\.json$', cluster: filters } ] }
collectors:
  - { id: consumer, cluster: consumers, spool: consumer/in }
END
cat >"$dir/hub.yaml" <<END
name: hub
data_dir: $dir/hub
http: ${addr[hub]}
network: { static: static.yaml }
uploaders:
  - { name: filter, spool: filter/out, nexthop: [ { match: '', cluster: consumers } ] }
collectors:
  - { id: filter, cluster: filters, spool: filter/in }
END

# -------------------------------------------------------------------- the show

export BUCKET_RELAY_ADDR=${addr[edge]}
say "Two nodes start. Files go sensor -> edge -> hub -> filter -> hub -> edge -> consumer."
cd "$dir"
relay check --config edge.yaml
relay check --config hub.yaml
start_node edge
start_node hub
hub=$node
filter &
pids+=($!)
relay route --config edge.yaml reading-1.json

say "The sensor drops 5 readings into its outbox."
sensor 1 5
wait_for "5 files" arrived 5
printf '%s$ ls consumer/in%s\n' "$dim" "$plain"
ls consumer/in
printf '%s$ cat consumer/in/reading-5.json%s\n' "$dim" "$plain"
cat consumer/in/reading-5.json

say "The hub is killed with SIGKILL while the sensor drops 200 more."
sensor 6 60
kill -KILL "$hub"
wait "$hub" 2>/dev/null || true
sensor 61 205
sleep 1
relay spools

say "The hub starts again. Nobody tells anybody."
start_node hub
wait_for "205 files" arrived 205
relay spools
printf '%s$ ls consumer/in | wc -l%s\n' "$dim" "$plain"
ls consumer/in | wc -l

checked=$(grep -l '"checked": true}$' consumer/in/*.json | wc -l)
say "205 readings dropped, $checked arrived whole and checked, $(ls consumer/in | grep -c '~' || true) twice, $(files sensor/out) left behind."
((checked == 205))
