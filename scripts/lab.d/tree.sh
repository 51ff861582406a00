# shellcheck shell=bash
# The working tree, built here and installed in a guest by its own install.sh.

# As the tree's owner, who may not be root, or could not build again.
tree_build() {
  local as=()
  [[ -f $LAB_TREE/package.json ]] || return 0
  need_packages git:git
  if [[ -d $LAB_TREE/dist ]] && ! type -P npm >/dev/null; then
    say 'no npm here: taking dist/ as it is'
    return 0
  fi
  need_packages npm:npm
  [[ -O $LAB_TREE ]] || as=(setpriv --reuid="$(stat -c %u "$LAB_TREE")"
    --regid="$(stat -c %g "$LAB_TREE")" --clear-groups env HOME=/tmp)
  lock build
  [[ -d $LAB_TREE/node_modules ]] || step 'npm ci' "${as[@]}" npm --prefix "$LAB_TREE" ci
  step 'npm run build' "${as[@]}" npm --prefix "$LAB_TREE" run build
  unlock build
}

# What git tracks or does not ignore, as it is in the work tree now, and dist/.
tree_files() {
  local file
  {
    git -c safe.directory="$LAB_TREE" -C "$LAB_TREE" ls-files -z --cached --others --exclude-standard
    [[ ! -d $LAB_TREE/dist ]] || (cd "$LAB_TREE" && find dist -type f -print0)
  } | sort -zu | while IFS= read -r -d '' file; do
    [[ ! -e $LAB_TREE/$file && ! -L $LAB_TREE/$file ]] || printf '%s\0' "$file"
  done
}

# Status 1: a file changed while tar read it, as files of a work tree do.
tree_pack() {
  tree_files | tar -C "$LAB_TREE" -c --null --no-recursion --ignore-failed-read \
    --owner=0 --group=0 -T - || (($? == 1))
}

tree_install() {
  local from=/usr/src/sitegen log
  [[ -f $LAB_TREE/install.sh ]] ||
    fail 'this tree has no install.sh' "./scripts/lab up --bare $NAME"
  say "copying the tree to $NAME:$from"
  in_guest rm -rf "$from.new"
  in_guest mkdir -p "$from.new"
  lock build # another lab's build begins without dist/
  tree_pack | in_guest tar -x -C "$from.new"
  unlock build
  in_guest sh -c "rm -rf $from && mv $from.new $from"
  say "running install.sh in $NAME"
  open_log log
  if ! in_guest "$from/install.sh" --yes >&"$log" 2>&1 </dev/null; then
    cat "/dev/fd/$log" >&2
    fail "install.sh failed in guest '$NAME'" "./scripts/lab exec $NAME -- $from/install.sh --yes"
  fi
  exec {log}>&-
}
