# Counts: each check that is not a Rust test is one, each Rust test binary is as many as it says.
# shellcheck shell=bash

passed=0 failed=0 failures=()

pass() { passed=$((passed + $1)); }

# Counts one failure under the name of what failed. fail NAME REASON
fail() {
  failed=$((failed + 1))
  failures+=("$1: $2")
  echo "FAILED $1: $2" >&2
}

# Runs a command as one test. check NAME COMMAND...
check() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then pass 1; else fail "$name" "status $?"; fi
}

# Runs one test binary in its package's directory, the way cargo would. A library may have no tests; those that are asked
# for by a filter, and those of a test target, must be there.
# rust_tests [--filter=FILTER] KIND NAME DIRECTORY COMMAND...
rust_tests() {
  local filter=()
  if [[ $1 == --filter=* ]]; then filter=("${1#*=}") && shift; fi
  local kind=$1 name=$2 directory=$3 status ran good bad log
  shift 3
  log=$(mktemp "${TMPDIR:-/tmp}/weir-tests.XXXXXX") || return
  echo "== $name ($kind)"
  (cd "$directory" && CARGO_MANIFEST_DIR=$directory "$@" "${filter[@]}" 2>&1) </dev/null | tee "$log"
  status=${PIPESTATUS[0]}
  read -r ran good bad < <(awk '/^test result: / { ran++; good += $4; bad += $6 } END { print ran + 0, good + 0, bad + 0 }' "$log")
  rm -f "$log"
  pass "$good"
  if [ "$bad" -gt 0 ]; then
    failed=$((failed + bad))
    failures+=("$name: $bad failed")
  elif [ "$ran" -eq 0 ]; then
    fail "$name" "ended with status $status and without a test result"
  elif [ "$status" -ne 0 ]; then
    fail "$name" "status $status, though no test says so"
  elif [ "$good" -eq 0 ] && { [ "$kind" = test ] || [ ${#filter[@]} -gt 0 ]; }; then
    fail "$name" "no test ran"
  fi
}

# The last line is the run's verdict, and so is the exit status.
conclude() {
  local failure
  for failure in "${failures[@]}"; do echo "failed: $failure"; done
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
