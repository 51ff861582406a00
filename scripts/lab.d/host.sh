# shellcheck shell=bash
# What the lab asks of the host: messages, root, packages, locks, processes.

say() { printf 'lab: %s\n' "$*" >&2; }

# fail MESSAGE [HINT]
fail() {
  printf 'lab: error: %s\n' "$1" >&2
  [[ -z ${2-} ]] || printf 'lab: hint: %s\n' "$2" >&2
  exit 1
}

usage_error() {
  printf 'lab: error: %s\nlab: hint: ./scripts/lab --help\n' "$1" >&2
  exit 2
}

# Sourced functions have no other way back to the command that was given.
need_root() {
  ((EUID != 0)) || return 0
  if [[ -z ${SITEGEN_LAB_SUDO-} ]] && command -v sudo >/dev/null; then
    exec sudo SITEGEN_LAB_SUDO=1 ${SITEGEN_LAB_CACHE+"SITEGEN_LAB_CACHE=$SITEGEN_LAB_CACHE"} \
      ${SITEGEN_LAB_ACCEL+"SITEGEN_LAB_ACCEL=$SITEGEN_LAB_ACCEL"} \
      ${SITEGEN_LAB_MIRROR+"SITEGEN_LAB_MIRROR=$SITEGEN_LAB_MIRROR"} "$LAB_SELF" "$@"
  fi
  fail 'must run as root: it mounts, makes network namespaces and boots guests' 'sudo ./scripts/lab …'
}

# need_packages COMMAND:PACKAGE…: installs the packages whose command (or, with
# a slash, file) is missing.
need_packages() {
  local pair missing=()
  for pair in "$@"; do
    if [[ ${pair%%:*} == /* ]]; then
      [[ -e ${pair%%:*} ]] || missing+=("${pair#*:}")
    else
      type -P "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    fi
  done
  ((${#missing[@]})) || return 0
  type -P apt-get >/dev/null ||
    fail "missing on this host: ${missing[*]}" 'install them (the lab does it by itself on Debian and Ubuntu alone)'
  with_lock host
  export DEBIAN_FRONTEND=noninteractive
  step 'reading the package lists' apt-get update
  step "installing ${missing[*]}" apt-get install -y --no-install-recommends "${missing[@]}"
  unlock host
}

# Locks are files that stay; the kernel drops a lock when its holder dies,
# however it dies. What outlives this process must not inherit the descriptor,
# so it is started through no_locks.
declare -A LOCK_FD=()

with_lock() {
  local fd
  mkdir -p "$LAB_LOCKS"
  exec {fd}>"$LAB_LOCKS/$1.lock"
  if ! flock -n "$fd"; then
    say "waiting for another lab that holds the lock '$1'"
    flock "$fd"
  fi
  LOCK_FD[$1]=$fd
}

unlock() {
  local fd=${LOCK_FD[$1]}
  exec {fd}>&-
  unset "LOCK_FD[$1]"
}

no_locks() {
  local fd
  for fd in "${LOCK_FD[@]}"; do exec {fd}>&-; done
  "$@"
}

# step TEXT CMD…: runs a long command quietly, with a dot every five seconds,
# and shows its output when it fails. The command dies with this process: it is
# alone in a PID namespace, so nothing of it stays when the lab is killed.
step() {
  local text=$1 log pid start=$SECONDS dots=0
  shift
  mkdir -p "$LAB_RUN"
  log=$LAB_RUN/step.$$.log
  printf 'lab: %s …' "$text" >&2
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc -- \
    "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.1
    if ((SECONDS - start >= (dots + 1) * 5)); then
      printf '.' >&2
      dots=$((dots + 1))
    fi
  done
  if wait "$pid"; then
    printf ' %d s\n' "$((SECONDS - start))" >&2
    rm -f "$log"
    return 0
  fi
  printf ' failed\n' >&2
  tail -n 30 "$log" >&2
  rm -f "$log"
  fail "failed: $text"
}

# A PID alone may have been given to another process since: the start time
# tells them apart. Prints nothing when there is no such process.
start_time() {
  local line fields
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${line##*) }"
  [[ ${fields[0]} != [ZX] ]] || return 1
  printf -v "$2" '%s' "${fields[19]}"
}

# alive FILE: whether the process that FILE names ("PID START") still runs;
# sets ALIVE_PID.
alive() {
  local pid start now
  ALIVE_PID=
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  start_time "$pid" now && [[ $now == "$start" ]] || return 1
  ALIVE_PID=$pid
}
