# shellcheck shell=bash disable=SC2004,SC2154
# The guests of scripts/test: which tests they run, and how.

# files_for GUEST: sets `files` to those of guest_files that it gets.
files_for() {
  local file
  files=()
  for file in "${guest_files[@]}"; do
    if [[ $1 == test-bookworm ]]; then
      [[ $SITEGEN_LONG == 1 || -n $some ]] || of_old_versions "${file##*/}" || continue
    else
      [[ $1 == $(guest_of "${file##*/}") ]] || continue
    fi
    files+=("$file")
  done
}

# guest_of FILE: the one with Debian 13 that runs it.
guest_of() {
  case $1 in
  certs* | haproxy.ts | responder.ts | router* | static*) echo test-router ;;
  backup* | dump.ts) echo test-backup ;;
  adopt* | move* | rehearse.ts | rename.ts | restore.ts) echo test-data ;;
  apps* | compose.ts | doctor.ts | egress.ts | hardening.ts | init.ts | mail.ts | process.ts | quota.ts | release.ts) echo test-apps ;;
  burst.ts | cycles.ts | firewalls.ts | idle* | jobs.ts | kills.ts | listen.ts | steps.ts | top.ts | vanished.ts) echo test-sleep ;;
  *) echo test-trixie ;;
  esac
}

# True for what is about the versions of programs, rather than about ours alone.
of_old_versions() {
  case $1 in
  backup.ts | haproxy.ts | idle.ts | life.ts | release.ts | router.ts | wake.ts) ;;
  *) return 1 ;;
  esac
}

# Those that a failing test gets anew; the virtual machine is not among them.
declare -A SUITE_OF=()

# A guest with a mark was started by a run of this script, maybe one that was killed.
marks=/run/sitegen-test

there() { unlocked "$LAB" addr "$1" &>/dev/null; }

# prepare GUEST OPTION…: begins to boot it.
prepare() {
  local guest=$1
  if there "$guest"; then
    if [[ -e $marks/$guest && -z $keep ]]; then
      unlocked "$LAB" down "$guest"
    else
      say "$guest is there already and is used as it is"
    fi
  else
    rm -f "$marks/$guest"
  fi
  there "$guest" || : >"$marks/$guest"
  rm -rf "${SITEGEN_FAILURES:?}/$guest"
  begin "$guest" "${low[@]}" "$LAB" up "$guest" "${@:2}"
}

# take_down GUEST: with those that its tests have started beside it, had they no time to end them.
take_down() {
  local beside
  for beside in $(unlocked "$LAB" list | awk -v of="$1-" 'index($1, of) == 1 { print $1 }'); do unlocked "$LAB" down "$beside"; done
  unlocked "$LAB" down "$1"
}

# guest_tests GUEST FILE…: begins to run them in a guest, one at a time. They keep
# the lock, so that no other run begins while they outlive a killed one.
guest_tests() {
  local guest=$1
  shift
  set -m
  run_in "$guest" "$@" </dev/null &
  set +m
  JOB_PID[tests-$guest]=$!
}

run_in() {
  run_files "$@" | prefixed "${1#test-}"
}

# run_files GUEST FILE…: one run of ava each, so that one that hangs keeps no other.
# What counts is the last run of a file.
run_files() {
  local guest=$1 file since status=0
  for file in "${@:2}"; do
    printf '%s\n' "$file"
    since=$SECONDS
    run_file "$guest" "$file" || again "$guest" "$file" || status=1
    printf '%s took %s\n' "$file" "$(elapsed "$since")"
    cat "$JOBS_DIR/run-$guest" >>"$JOBS_DIR/tests-$guest"
  done
  return "$status"
}

run_file() {
  local longest=10m # without a test that ends
  ((SITEGEN_LONG == 0)) || longest=4h
  SITEGEN_GUEST=$1 "${ava[@]}" --timeout="$longest" "$2" 2>&1 | tee "$JOBS_DIR/run-$1"
}

# again GUEST FILE: a second run of what has failed, unless somebody wants to look at the guest.
again() {
  [[ -z $keep ]] || return 1
  printf 'once more: %s\n' "$2"
  anew "$1" 2>&1 || true
  run_file "$@" || return 1
  printf '%s in %s\n' "$2" "$1" >>"$JOBS_DIR/twice"
}

# anew GUEST: with nothing of a failed test left in it. One at a time, as each builds
# the tree in the same place.
anew() {
  local options=()
  (
    lock scripts-test-anew
    if [[ -e $marks/$1 && -n ${SUITE_OF[$1]-} ]]; then
      take_down "$1"
      options=(--suite "${SUITE_OF[$1]}")
    fi
    unlocked "$LAB" up "$1" "${options[@]}"
  )
}

# prefixed TEXT: puts it before each line, and shows that something goes on when nothing comes.
prefixed() {
  local line part='' since=$SECONDS before=''
  while :; do
    if IFS= read -r -t 30 line; then
      line=$part$line part=
      [[ -z $line$before ]] || printf '%-8s │ %s\n' "$1" "$line"
      before=$line
    elif (($? > 128)); then
      part+=$line
      printf '%-8s │ … %s\n' "$1" "$(elapsed "$since")"
    else
      [[ -z $part$line ]] || printf '%-8s │ %s\n' "$1" "$part$line"
      return 0
    fi
  done
}

# end_tests MOST: waits until no more guests than that have tests that run.
end_tests() {
  local job pid status pids
  while :; do
    pids=()
    for job in "${!JOB_PID[@]}"; do
      [[ $job != tests-* ]] || pids+=("${JOB_PID[$job]}")
    done
    ((${#pids[@]} > $1)) || return 0
    status=0
    wait -n -p pid "${pids[@]}" || status=$?
    for job in "${!JOB_PID[@]}"; do
      [[ $job == tests-* && ${JOB_PID[$job]} == "$pid" ]] || continue
      unset "JOB_PID[$job]"
      count "$status" "$JOBS_DIR/$job"
    done
  done
}
