#!/usr/bin/env bash
# Prints the path of a tar with Debian, Node, and two versions of Ghost from npm in
# /opt/ghost-VERSION, made in the lab's cache if it is missing there: for guests that
# reach no registry. Takes some ten minutes.
set -euo pipefail

suite=trixie
node=22.23.3
# Between them Ghost changes its database.
versions=(5.118.1 5.130.6)

self=$(readlink -f "${BASH_SOURCE[0]}")
tree=${self%/test/e2e/*}
fetch=$tree/templates/apps/ghost/fetch
LAB_D=$tree/scripts/lab.d
LAB_CACHE=${SITEGEN_LAB_CACHE:-/var/cache/sitegen-lab}
# shellcheck disable=SC2034 # host.sh reads it
LAB_LOCKS=/run/sitegen-lab
# shellcheck source=/dev/null
source "$LAB_D/host.sh"

sum=$(cat "$self" "$fetch" | sha256sum)
tar=$LAB_CACHE/images/ghost-${sum:0:12}.tar.zst
work=$LAB_CACHE/images/ghost.work

# debian PACKAGES TARGET [OPTION…]
debian() {
  mmdebstrap --mode=root --variant=minbase --include="$1" \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "${@:3}" "$suite" "$2" ${SITEGEN_LAB_MIRROR:+"$SITEGEN_LAB_MIRROR"}
}

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

export work node suite tree
if [[ ! -e $tar ]]; then
  need_packages mmdebstrap:mmdebstrap zstd:zstd npm:npm hardlink:util-linux \
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
  mkdir -p "${tar%/*}"
  lock image-ghost
  if [[ ! -e $tar ]]; then
    rm -rf "$LAB_CACHE"/images/ghost-* "$work"
    mkdir -p "$work/opt"
    trap 'rm -rf "$work"' EXIT
    export -f debian get_node compile_driver tidy
    step "fetching Node $node from npm" bash -euc get_node
    for version in "${versions[@]}"; do
      # The machine's Node may be another than Ghost asks for.
      step "fetching Ghost $version from npm" env PATH="$work/node/bin:$PATH" "$fetch" "$version" "$work/opt/ghost-$version" --ignore-scripts
    done
    step 'preparing to compile' bash -euc "debian build-essential,python3,python3-setuptools '$work/build'"
    step 'compiling the driver of its database' bash -euc "versions=(${versions[*]}); compile_driver"
    step 'putting it together' bash -euc tidy
    # shellcheck disable=SC2016 # mmdebstrap's shell expands it
    step 'building the image of Ghost' bash -euc "debian ca-certificates,sqlite3,libstdc++6,libatomic1 '$tar.tmp.tar.zst' \
      --customize-hook='chroot \"\$1\" useradd --uid 1000 --create-home node; cp \"\$work/node/bin/node\" \"\$1/usr/local/bin/\"; cp -a \"\$work/opt/.\" \"\$1/opt/\"; chown -R 0:0 \"\$1/opt\"; rm -rf \"\$1\"/var/lib/apt/lists/* \"\$1\"/var/cache/apt/*'"
    mv "$tar.tmp.tar.zst" "$tar"
  fi
  unlock image-ghost
fi
echo "$tar"
