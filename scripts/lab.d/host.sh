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

# need_root ARG…: the arguments are those of the whole command.
need_root() {
  ((EUID != 0)) || return 0
  if [[ -z ${LAB_SUDO-} ]] && type -P sudo >/dev/null; then
    LAB_SUDO=1 exec sudo \
      --preserve-env=LAB_SUDO,SITEGEN_LAB_CACHE,SITEGEN_LAB_ACCEL,SITEGEN_LAB_MIRROR \
      env PATH="$PATH:/usr/sbin:/sbin" "$LAB_SELF" "$@"
  fi
  fail 'the lab must run as root: it mounts, makes network namespaces and boots guests' \
    "sudo ./scripts/lab ${1-up}"
}

# need_packages THING:PACKAGE…: installs the packages whose thing, a command or
# the path of a file, is missing.
need_packages() {
  local pair thing missing=()
  for pair in "$@"; do
    thing=${pair%%:*}
    [[ $thing == /* && -e $thing ]] || type -P "$thing" >/dev/null || missing+=("${pair#*:}")
  done
  ((${#missing[@]})) || return 0
  type -P apt-get >/dev/null ||
    fail "missing on this host: ${missing[*]}" 'install them; only on Debian and Ubuntu the lab does it'
  lock host
  export DEBIAN_FRONTEND=noninteractive
  step 'reading the package lists' apt-get update
  step "installing ${missing[*]}" apt-get install -y --no-install-recommends "${missing[@]}"
  unlock host
}

# The kernel drops a lock when its holders have died, however they died. So
# whatever outlives this process must be started through `unlocked`.
declare -A LOCK_FD=()

lock() {
  local fd
  mkdir -p "$LAB_LOCKS"
  exec {fd}>"$LAB_LOCKS/$1"
  if ! flock -w 2 "$fd"; then
    say "waiting for another lab, which holds the lock '$1'"
    flock "$fd"
  fi
  LOCK_FD[$1]=$fd
}

unlock() {
  local fd=${LOCK_FD[$1]}
  exec {fd}>&-
  unset "LOCK_FD[$1]"
}

# unlocked CMD…: in a subshell, so that the caller keeps its locks.
unlocked() (
  for fd in "${LOCK_FD[@]}"; do exec {fd}>&-; done
  LOCK_FD=()
  "$@"
)

# open_log VARIABLE: a descriptor to write to, and to read again through
# /dev/fd. The file has no name, so nobody must remove it.
open_log() {
  local path fd
  path=$(mktemp)
  exec {fd}<>"$path"
  rm "$path"
  printf -v "$1" '%s' "$fd"
}

# step TEXT CMD…: runs a long command quietly, with a dot every five seconds,
# and shows the end of its output when it fails. The command is alone in a PID
# namespace and dies with this process, so a killed lab leaves nothing running.
step() {
  local text=$1 log pid start=$SECONDS dots=0
  shift
  open_log log
  printf 'lab: %s …' "$text" >&2
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc -- \
    "$@" >&"$log" 2>&1 </dev/null &
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
    exec {log}>&-
    return 0
  fi
  printf ' failed\n' >&2
  tail -n 30 "/dev/fd/$log" >&2
  fail "this step failed: $text"
}

# start_time PID VARIABLE: fails when there is no such process.
start_time() {
  local line fields
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${line##*) }"
  [[ ${fields[0]} != [ZX] ]] || return 1
  printf -v "$2" '%s' "${fields[19]}"
}

# alive FILE: whether the process that the file names ("PID START-TIME") still
# runs; sets ALIVE_PID. Without the time it could be another one by now.
alive() {
  local pid start now
  ALIVE_PID=
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  start_time "$pid" now && [[ $now == "$start" ]] || return 1
  # shellcheck disable=SC2034 # for the caller
  ALIVE_PID=$pid
}

children() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }
