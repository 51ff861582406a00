# shellcheck shell=bash
# What scripts/try and scripts/test have in common. SELF is the path of the
# script that sources this; its name stands before each of its messages.

TREE=${SELF%/scripts/*}
ME=${SELF##*/}
# shellcheck disable=SC2034 # for the caller
LAB=$TREE/scripts/lab
# The lab finds missing packages, and its locks keep two builds apart.
LAB_D=$TREE/scripts/lab.d
# shellcheck disable=SC2034 # host.sh reads it
LAB_LOCKS=/run/sitegen-lab
# shellcheck source-path=SCRIPTDIR source=lab.d/host.sh
source "$LAB_D/host.sh"

say() { printf '%s: %s\n' "$ME" "$*" >&2; }

# fail MESSAGE [HINT]
fail() {
  printf '%s: error: %s\n' "$ME" "$1" >&2
  [[ -z ${2-} ]] || printf '%s: hint: %s\n' "$ME" "$2" >&2
  exit 1
}

# become_root ARG…: the arguments are those of the whole command. sudo's own
# PATH may lack the Node that the caller has.
become_root() {
  ((EUID != 0)) || return 0
  if [[ -z ${SITEGEN_SUDO-} ]] && type -P sudo >/dev/null; then
    SITEGEN_SUDO=1 exec sudo \
      --preserve-env=SITEGEN_SUDO,SITEGEN_FAILURES,SITEGEN_LAB_CACHE,SITEGEN_LAB_ACCEL,SITEGEN_LAB_MIRROR,CI \
      env PATH="$PATH:/usr/sbin:/sbin" "$SELF" "$@"
  fi
  fail 'this must run as root: it boots guests' "sudo ./scripts/$ME"
}

need_node() {
  local major minor version
  # shellcheck disable=SC2016 # the reader's shell expands it
  version=$(node -p process.versions.node 2>/dev/null) || fail 'there is no Node here' \
    'install Node 20.19 or later; if only root lacks it: sudo env PATH="$PATH" ./scripts/'"$ME"
  IFS=. read -r major minor _ <<<"$version"
  ((major > 20 || (major == 20 && minor >= 19))) ||
    fail "Node $version is too old" 'install Node 20.19 or later'
  need_packages npm:npm git:git
}

# npm_ci: as the tree's owner, who may not be root, or could not build again.
AS_OWNER=()
npm_ci() {
  local uid
  if [[ ! -O $TREE ]]; then
    uid=$(stat -c %u "$TREE")
    AS_OWNER=(setpriv --reuid="$uid" --regid="$(stat -c %g "$TREE")" --clear-groups
      env HOME="$(getent passwd "$uid" | cut -d: -f6)")
  fi
  lock build
  if [[ ! $TREE/node_modules/.package-lock.json -nt $TREE/package-lock.json ]]; then
    begin npm-ci "${AS_OWNER[@]}" npm ci --no-audit --no-fund
    finish npm-ci 'npm ci' || fail 'npm ci failed'
  fi
  unlock build
}

# Long commands run quietly in a process group of their own, so that nothing of
# them is left when this script is interrupted.
JOBS_DIR=
declare -A JOB_PID=()

# begin JOB CMD…: starts it. Its output is in $JOBS_DIR/JOB.
begin() {
  local job=$1
  shift
  [[ -n $JOBS_DIR ]] || JOBS_DIR=$(mktemp -d)
  rm -f "$JOBS_DIR/$job.status"
  set -m
  unlocked timed "$job" "$@" >"$JOBS_DIR/$job" 2>&1 </dev/null &
  set +m
  JOB_PID[$job]=$!
}

# timed JOB CMD…: leaves beside its output how long it took, as nobody may be waiting for its end, and how it
# ended: of a child whose number another process has got since, bash forgets that.
timed() {
  local since=$SECONDS status=0
  "${@:2}" || status=$?
  elapsed "$since" >"$JOBS_DIR/$1.time"
  echo "$status" >"$JOBS_DIR/$1.status"
  return "$status"
}

# await JOB TEXT: waits for it, with a dot every five seconds, and says how long it took.
await() {
  local job=$1 next=$((SECONDS + 5)) status=0 result=''
  printf '%s: %s …' "$ME" "$2" >&2
  while [[ ! -s $JOBS_DIR/$job.status ]] && kill -0 "${JOB_PID[$job]}" 2>/dev/null; do
    sleep 0.1
    if ((SECONDS >= next)); then
      printf '.' >&2
      next=$((SECONDS + 5))
    fi
  done
  if [[ -s $JOBS_DIR/$job.status ]]; then
    read -r status <"$JOBS_DIR/$job.status"
  else
    wait "${JOB_PID[$job]}" || status=$?
  fi
  ((status == 0)) || result=' failed after'
  printf '%s %s\n' "$result" "$(cat "$JOBS_DIR/$job.time" 2>/dev/null)" >&2
  unset "JOB_PID[$job]"
  return "$status"
}

# finish JOB TEXT: the same, and shows the end of its output when it failed.
finish() {
  await "$1" "$2" || {
    tail -n 60 "$JOBS_DIR/$1" | sed 's/^/    /' >&2
    return 1
  }
}

# end_jobs: for the end of the script, however it comes.
end_jobs() {
  local job
  for job in "${!JOB_PID[@]}"; do
    kill -TERM -- "-${JOB_PID[$job]}" 2>/dev/null || true
    wait "${JOB_PID[$job]}" 2>/dev/null || true
  done
  [[ -z $JOBS_DIR ]] || rm -rf "$JOBS_DIR"
}

# elapsed SINCE: in words, since $SECONDS was that.
elapsed() {
  local seconds=$((SECONDS - $1))
  if ((seconds < 60)); then printf '%d s' "$seconds"; else printf '%d min %02d s' $((seconds / 60)) $((seconds % 60)); fi
}
