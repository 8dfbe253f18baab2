# The groups of tests, from the cheapest up.
# shellcheck shell=bash

# Asked for: longer runs, where a group has one.
long=''
groups=(lint unit cluster identity sim grpc page dashboards damage power nft kernel drift drain stream tour crash)

# Test targets that cargo leaves alone unless they are named: they need more than a plain process has.
privileged=(--test 'kernel_*' --test scenarios --test grpc --test page --test dashboards --test power --test damage)
privileged+=(--test traces --test drift --test drain --test stream --test tour --test crash --test planted)

# Groups that keep one core busy for minutes, as `kernel` does: beside it and the rest where each has a kernel of its own; they
# take as long as `kernel`, `drain` and `tour`.
beside_kernel=(drift stream crash)
lane='' lane_groups=() is_faulty_built=''

target_directory() { cargo metadata --no-deps --format-version 1 | jq -r .target_directory; }

# Builds targets and says of each executable: kind, name, its package's directory, path.
# executables test|bench CARGO_OPTION...
executables() {
  cargo "$1" --no-run --message-format=json-render-diagnostics "${@:2}" | jq -r '
    select(.reason == "compiler-artifact" and .executable and (.profile.test or .target.kind[0] == "bench"))
    | [.target.kind[0], .target.name, (.manifest_path | rtrimstr("/Cargo.toml")), .executable] | @tsv'
}

run_group() {
  local good=$passed bad=$failed
  echo "=== $1"
  if need_build; then "group_$1"; else fail "$1" "cannot build here"; fi
  echo "=== $1: $((passed - good)) passed, $((failed - bad)) failed"
}

# Builds one integration test and runs it behind a door. one_test PACKAGE TARGET [DOOR...]
one_test() {
  local built kind name directory executable
  built=$(executables test -p "$1" --test "$2") || { fail "$2" "does not build"; return; }
  IFS=$'\t' read -r kind name directory executable <<<"$built"
  rust_tests "$kind" "$name" "$directory" "${@:3}" "$executable"
}

# Begins those of the named groups that run beside the group kernel. What could change under it is built before.
start_lane() {
  local group chosen=()
  for group in "${beside_kernel[@]}"; do
    if [[ " $* " == *" $group "* ]]; then chosen+=("$group"); fi
  done
  [ ${#chosen[@]} -gt 0 ] && need_build && need_kernel && [ "$kernel" = uml ] || return 0
  if [[ " ${chosen[*]} " == *" crash "* ]]; then
    faulty_agent || return 0
    is_faulty_built=yes
  fi
  lane=$(mktemp -d "${TMPDIR:-/tmp}/weir-lane.XXXXXX") || return 0
  lane_groups=("${chosen[@]}")
  run_lane "${chosen[@]}" >"$lane/log" 2>&1 &
}

# Runs groups in a process of their own, and leaves what was counted.
run_lane() {
  local group
  passed=0 failed=0 failures=()
  for group in "$@"; do run_group "$group"; done
  printf '%s\n' "$passed $failed" "${failures[@]}" >"$lane/tally"
}

in_lane() { [[ " ${lane_groups[*]} " == *" $1 "* ]]; }

# Waits for them, shows what they said and counts them.
end_lane() {
  [ -n "$lane" ] || return 0
  echo "=== beside it: ${lane_groups[*]}"
  wait
  cat "$lane/log"
  local tally=() good bad
  if [ -s "$lane/tally" ] && mapfile -t tally <"$lane/tally"; then
    read -r good bad <<<"${tally[0]}"
    pass "$good"
    failed=$((failed + bad)) failures+=("${tally[@]:1}")
  else
    fail "${lane_groups[*]}" "ended before they were counted"
  fi
  rm -rf "$lane"
}

group_lint() {
  need shellcheck=shellcheck || fail shellcheck "not there"
  check rustfmt cargo fmt --all --check
  check "rustfmt, fuzz targets" rustfmt --edition 2024 --check integration/fuzz/fuzz_targets/*.rs
  check clippy cargo clippy --workspace --all-targets -- -D warnings
  check "clippy, privileged tests" cargo clippy --workspace "${privileged[@]}" -- -D warnings
  check "clippy, faults" cargo clippy --workspace --all-targets --features weir-integration/faults -- -D warnings
  check "clippy, simulation" cargo clippy -p weir-proto -p weir-integration --lib --test sim --bench fleet \
    --features weir-integration/faults,weir-integration/simulated -- -D warnings
  check shellcheck shellcheck --external-sources --check-sourced .ci/run integration/run integration/kernel/{uml,init,native,qemu}
  one_test weir-integration layers
}

group_unit() {
  local built kind name directory executable
  built=$(executables test --workspace) || { fail unit "does not build"; return; }
  while IFS=$'\t' read -r kind name directory executable; do
    # These have groups of their own.
    case $name in layers | cluster | identity) continue ;; esac
    rust_tests "$kind" "$name" "$directory" "$executable"
  done <<<"$built"
  rust_tests doc documentation "$top" cargo test --workspace --doc
}

group_cluster() {
  one_test weir-integration cluster
  cargo build --workspace --bins || { fail traces "does not build"; return; }
  one_test weir-integration traces
}

group_identity() { one_test weir-integration identity; }

# Built apart: tokio takes what it leaves to chance from a seed only with this flag.
group_sim() {
  local built kind name directory executable features=weir-integration/faults,weir-integration/simulated
  local -x RUSTFLAGS="${RUSTFLAGS-} --cfg tokio_unstable" CARGO_TARGET_DIR
  CARGO_TARGET_DIR=$(target_directory)/simulation
  if [ -n "$long" ]; then local -x WEIR_SEEDS=20000; fi
  built=$(executables test -p weir-integration --test sim --features "$features") || { fail sim "does not build"; return; }
  IFS=$'\t' read -r kind name directory executable <<<"$built"
  rust_tests "$kind" "$name" "$directory" "$executable"
}

group_grpc() {
  need_grpcurl || { fail grpc "no grpcurl"; return; }
  cargo build --workspace --bins || { fail grpc "does not build"; return; }
  WEIR_GRPCURL=$grpcurl one_test weir-integration grpc
}

# One browser after the other: each takes both cores and some hundred MB.
group_page() {
  need chromium=chromium chromedriver=chromium-driver || { fail page "no Chromium"; return; }
  need_axe || { fail page "no axe"; return; }
  RUST_TEST_THREADS=1 WEIR_AXE=$axe one_test weir-integration page
}

group_dashboards() {
  need_prometheus || { fail dashboards "no Prometheus"; return; }
  WEIR_PROMETHEUS=$prometheus one_test weir-integration dashboards
}

# A program that writes a journal runs under strace, which records its calls or lets them fail.
group_power() {
  need strace=strace || { fail power "no strace"; return; }
  cargo build --workspace --bins || { fail power "does not build"; return; }
  one_test weir-integration power
}

group_damage() {
  local reason
  [ "$(id -u)" -eq 0 ] || { fail damage "must be root, to mount small file systems"; return; }
  need strace=strace ip=iproute2 unshare=util-linux mount=mount || { fail damage "programs are missing"; return; }
  reason=$(integration/kernel/native true 2>&1) || {
    fail damage "no namespaces or no tmpfs to be had here: ${reason//$'\n'/; }"
    return
  }
  cargo build --workspace --bins || { fail damage "does not build"; return; }
  # root of its own mount namespace: it makes small file systems, and some that are read-only
  one_test weir-integration damage "$top/integration/kernel/native"
}

# The rule that the agent writes through nf_tables, tried with the programs that do the same.
nft_probe='
  ipset create probe hash:ip,port,ip &&
  iptables-nft -t nat -A POSTROUTING -m set --match-set probe dst,dst,src -j MASQUERADE'

group_nft() {
  need ip=iproute2 ipset=ipset iptables-nft=iptables nft=nftables conntrack=conntrack || { fail nft "programs are missing"; return; }
  local reason
  reason=$(integration/kernel/native sh -c "$nft_probe" 2>&1) || {
    fail nft "this machine's kernel lacks nf_tables for ip, ip_set or xt_set: ${reason//$'\n'/; }"
    return
  }
  one_test weir-agent kernel_nft "$top/integration/kernel/native"
  one_test weir-agent kernel_lockdown "$top/integration/kernel/native"
  one_test weir-agent kernel_conntrack "$top/integration/kernel/native"
}

group_kernel() {
  need_kernel || { fail kernel "no kernel with ip_vs to be had"; return; }
  cargo build --workspace --bins || { fail kernel "does not build"; return; }
  echo "kernel with ip_vs: $kernel"
  one_test weir-agent kernel_capabilities in_kernel
  one_test weir-agent kernel_codec in_kernel
  one_test weir-agent kernel_contract in_kernel
  one_test weir-agent kernel_lockdown in_kernel
  one_test weir-agent kernel_counts in_kernel
  one_test weir-agent kernel_numbers in_kernel
  one_test weir-agent kernel_vips in_kernel
  one_test weir-agent kernel_flows in_kernel
  one_test weir-agent kernel_conntrack in_kernel
  one_test weir-integration scenarios in_kernel
}

# Builds the agent that can be made to fail and puts it aside; the programs as they are shipped stay in their place.
faulty_agent() (
  agent=$(target_directory)/debug/weir-agent
  # unless all goes well there is none: the next build puts the shipped one back
  trap 'rm -f "$agent"' EXIT
  cargo build --workspace --bin weir-agent --features weir-integration/faults &&
    install -m 755 "$agent" "$agent-faults" &&
    cargo build --workspace --bins || exit
  trap - EXIT
)

group_crash() {
  need_kernel || { fail crash "no kernel with ip_vs to be had"; return; }
  # where it runs beside others, not while they run the agent
  [ -n "$is_faulty_built" ] || faulty_agent || { fail crash "does not build"; return; }
  local crate directory executable tests=()
  for crate in proto agent; do
    IFS=$'\t' read -r _ _ directory executable < <(executables test -p "weir-$crate" --lib --features faults)
    [ -n "$executable" ] || { fail crash "the tests of weir-$crate do not build with faults"; return; }
    tests+=("WEIR_TESTS_${crate^^}=$executable")
    # how faults are ordered: the group unit builds without them
    if [ "$crate" = proto ]; then rust_tests --filter=faults:: lib "weir_proto, faults" "$directory" "$executable"; fi
  done
  one_test weir-integration planted env "${tests[@]}"
  # some five minutes where nothing else runs
  local guest_seconds=2400
  if [ -n "$long" ]; then
    guest_seconds=$long_seconds
    local -x WEIR_CRASH_ROUNDS=1000
  fi
  one_test weir-integration crash in_kernel
}

group_drift() { group_of_scenarios drift; }

group_drain() { group_of_scenarios drain; }

group_stream() { group_of_scenarios stream; }

group_tour() { group_of_scenarios tour; }

# Scenarios that are a group of their own. group_of_scenarios TARGET
group_of_scenarios() {
  need_kernel || { fail "$1" "no kernel with ip_vs to be had"; return; }
  cargo build --workspace --bins || { fail "$1" "does not build"; return; }
  one_test weir-integration "$1" in_kernel
}
