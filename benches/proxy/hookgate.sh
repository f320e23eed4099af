#!/bin/sh
# Starts hookgate for a comparison with other proxies: everything on that a route can check, logging of what is accepted
# off. Limits are set so high that they are kept but never reached.
# usage: hookgate.sh BINARY LISTEN UPSTREAM CERT KEY FOLDER WORKERS
set -eu
binary=$1 listen=$2 upstream=$3 cert=$4 key=$5 folder=$6
cat >"$folder/hookgate.toml" <<END
[server]
listen = ["$listen"]
max_connections = 20000
max_connections_per_source = 20000
max_in_flight = 4096
per_source_rate_limit = { per_second = 100000000, burst = 100000000 }
idle_timeout = "10m"

[tls]
cert = "$cert"
key = "$key"

[admin]
listen = "unix:$folder/admin.sock"

[log]
accepted = false

[routes.hook]
path = "/hook"
provider = "github"
secret = { env = "HOOKGATE_BENCH_SECRET" }
upstream = "http://$upstream/hook"
allow_ips = ["127.0.0.0/8"]
rate_limit = { per_second = 100000000, burst = 100000000 }
END
HOOKGATE_BENCH_SECRET="It's a Secret to Everybody" exec "$binary" run --config "$folder/hookgate.toml"
