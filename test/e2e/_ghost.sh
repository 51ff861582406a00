#!/usr/bin/env bash
# Debian, Node, and two versions of Ghost from npm in /opt/ghost-VERSION. Takes some ten minutes. See _image.sh.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=_image.sh
source "$(dirname "$(readlink -f "$0")")/_image.sh"

node=22.23.3
# Between them Ghost changes its database.
versions=(5.118.1 5.130.6)

fetch=$tree/templates/apps/ghost/fetch
work=$LAB_CACHE/images/ghost.work

# Node's own build, as upstream's images have it.
get_node() {
  local arch
  arch=$(uname -m)
  arch=${arch/x86_64/x64}
  mkdir -p "$work/node"
  cd "$work"
  npm pack --silent "node-linux-${arch/aarch64/arm64}@$node"
  tar -xzf node-linux-*.tgz --strip-components=1 -C node
}

# The driver of the database usually comes from GitHub, built already.
compile_driver() {
  local root=$work/build driver=opt/ghost-${versions[0]}/node_modules/sqlite3 version
  cp -r "$work/node/bin" "$work/node/include" "$root/usr/local/"
  cp -a "$work"/opt/. "$root/opt/"
  chroot "$root" sh -euc "cd /$driver; npm_config_nodedir=/usr/local node ../node-gyp/bin/node-gyp.js rebuild"
  for version in "${versions[@]}"; do
    mkdir -p "$work/opt/ghost-$version/node_modules/sqlite3/build/Release"
    cp "$root/$driver/build/Release/node_sqlite3.node" "$work/opt/ghost-$version/node_modules/sqlite3/build/Release/"
  done
}

tidy() {
  rm -rf "$work"/opt/*/node_modules/@img/*musl* "$work"/opt/*/node_modules/sqlite3/deps
  hardlink --quiet "$work/opt"
}

build() {
  need_packages npm:npm hardlink:util-linux
  export work node
  rm -rf "$work"
  mkdir -p "$work/opt"
  trap 'rm -rf "$work"' EXIT
  export -f get_node compile_driver tidy
  step "fetching Node $node from npm" bash -euc get_node
  for version in "${versions[@]}"; do
    # The machine's Node may be another than Ghost asks for.
    step "fetching Ghost $version from npm" env PATH="$work/node/bin:$PATH" "$fetch" "$version" "$work/opt/ghost-$version" --ignore-scripts
  done
  step 'preparing to compile' bash -euc "debian build-essential,python3,python3-setuptools '$work/build'"
  step 'compiling the driver of its database' bash -euc "versions=(${versions[*]}); compile_driver"
  step 'putting it together' bash -euc tidy
  # shellcheck disable=SC2016 # mmdebstrap's shell expands it
  step 'building the image of Ghost' bash -euc "debian ca-certificates,sqlite3,libstdc++6,libatomic1 '$1' \
    --customize-hook='chroot \"\$1\" useradd --uid 1000 --create-home node; cp \"\$work/node/bin/node\" \"\$1/usr/local/bin/\"; cp -a \"\$work/opt/.\" \"\$1/opt/\"; chown -R 0:0 \"\$1/opt\"'"
}

cached ghost build "$fetch"
