# For scripts of the tests: wait_until SECONDS COMMAND... waits until the command succeeds, and fails after this time.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}
