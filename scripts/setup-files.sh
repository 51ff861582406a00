# shellcheck shell=bash
# For setup.sh, whose folder is `here`: what a version has where, and the accounts and folders that it needs.
# shellcheck disable=SC2154 # setup.sh sets here
code=/usr/lib/sitegen
versions=/usr/lib/sitegen-versions
users=(sitegen sitegen-router sitegen-responder sitegen-mail)

# outside DIR: what the version there has outside its folder, a line each: file, tab, its place.
outside() {
  local file
  for file in "$1"/units/*.{service,slice,socket,timer,path}; do printf '%s\t/usr/lib/systemd/system/%s\n' "$file" "${file##*/}"; done
  for file in "$1"/units/*.d/*.conf; do printf '%s\t/usr/lib/systemd/system/%s\n' "$file" "${file#"$1"/units/}"; done
  printf '%s\t%s\n' "$1/units/60-sitegen.conf" /usr/lib/sysctl.d/60-sitegen.conf "$1/bin/sitegen" /usr/bin/sitegen \
    "$1/completion/bash" /usr/share/bash-completion/completions/sitegen "$1/completion/zsh" /usr/share/zsh/vendor-completions/_sitegen \
    "$1/man/sitegen.8" /usr/share/man/man8/sitegen.8 "$1/man/sitegen.yaml.5" /usr/share/man/man5/sitegen.yaml.5
}

# place DIR ROOT: copies that.
place() {
  local file target mode
  rm -f "$2"/usr/lib/systemd/system/{,*.d/}*.sitegen-new "$2"/usr/{lib/sysctl.d,bin,share/{bash-completion/completions,zsh/vendor-completions,man/man8,man/man5}}/*.sitegen-new
  while IFS=$'\t' read -r file target; do
    [[ -f $file ]] || continue
    cmp -s "$file" "$2$target" && continue
    mode=644
    [[ $target != */bin/* ]] || mode=755
    # Whoever is interrupted leaves no half of a file.
    install -D -m "$mode" "$file" "$2$target.sitegen-new"
    mv -f "$2$target.sitegen-new" "$2$target"
  done < <(outside "$1")
}

# drop OLD NEW: takes away what only the version OLD has outside.
drop() {
  local target unit
  comm -23 <(outside "$1" | cut -f2 | sort) <(outside "$2" | cut -f2 | sort) | while read -r target; do
    unit=${target##*/}
    [[ $target != /usr/lib/systemd/system/* || $unit == *@* || $unit == *.conf ]] || disable "$unit"
    rm -f "$target"
  done
}

link() {
  ln -sfnT "${versions##*/}/${1##*/}" "$code.new"
  mv -T "$code.new" "$code"
}

accounts_and_folders() {
  local user
  for user in "${users[@]}"; do
    getent passwd "$user" >/dev/null || useradd --system --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin --user-group "$user"
  done
  install -d -m 755 /etc/sitegen /etc/sitegen/sites /etc/sitegen/apps /var/lib/sitegen /var/lib/sitegen/{sites,router,router/maps}
  # Services that write there see what is there as they start: one that is made by the first alarm would be read-only
  # for whoever runs by then, and a push that has worked would fail.
  install -d -m 755 /var/lib/sitegen/{alarms,egress}
  install -d -m 700 /var/lib/sitegen/{certs,acme,backup,git,rehearsal} /etc/sitegen/keys
  install -d -m 700 -o sitegen-router -g sitegen-router /var/lib/sitegen/router/certs
  # The intake may write what delivery, which is root without its powers, reads by its group.
  install -d -m 755 /var/lib/sitegen/mail
  install -d -m 750 -g sitegen-mail /var/lib/sitegen/mail/{sites,spool,spool/queue}
  install -d -m 2770 -o sitegen-mail -g root /var/lib/sitegen/mail/spool/{tmp,in}
  install -m 644 "$here/templates/example-site.yaml" /etc/sitegen/example-site.yaml
  [[ -e /etc/sitegen/sitegen.yaml ]] || install -m 600 "$here/templates/sitegen.yaml" /etc/sitegen/sitegen.yaml
}

# Copies this version to its folder; sets `target`. What is there already and differs is left to who uses it.
target=''
copy_version() {
  target=$versions/$(<"$here/VERSION")
  [[ $here != "$versions"/* ]] || { target=$here; return 0; }
  while [[ -e $target ]] && ! diff -qr "$here" "$target" >/dev/null; do target+=+; done
  [[ ! -e $target ]] || return 0
  say "installing $(<"$here/VERSION") to $target"
  rm -rf "$versions/.new"
  mkdir -p "$versions/.new"
  cp -r "$here/." "$versions/.new/"
  chown -R 0:0 "$versions/.new"
  chmod -R u=rwX,go=rX "$versions/.new"
  # A folder that was renamed before its files were written has empty ones after a power cut.
  sync -f "$versions/.new"
  mv -T "$versions/.new" "$target"
}

# Versions up to 0.1.0 had one folder, and units among the admin's own.
from_one_folder() {
  local file place own before=$versions/0
  [[ -d $code && ! -L $code ]] || return 0
  if [[ ! -d $before ]]; then
    rm -rf "$before.new"
    cp -r "$code" "$before.new"
    outside "$here" | while IFS=$'\t' read -r file place; do
      own=${place/#\/usr\/lib\/s/\/etc\/s}
      [[ $own == "$place" || ! -f $own || -L $own ]] || install -D -m 644 "$own" "$before.new/units/${file#"$here"/units/}"
    done
    sync -f "$before.new"
    mv -T "$before.new" "$before"
  fi
  place "$before" ''
  outside "$before" | cut -f2 | while read -r place; do [[ $place != /usr/lib/s* ]] || rm -f "${place/#\/usr\/lib\/s/\/etc\/s}"; done
  mv "$code" "$code.old"
  link "$before"
  rm -rf "$code.old"
}
