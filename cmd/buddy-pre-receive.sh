#!/bin/sh
# Decides on a push to a repository that is kept for others, once all its objects have come and
# before any of them counts (githooks(5)): what is refused leaves nothing. Only "main" moves, and
# only forward; what else comes is put beside it, once. Nothing that is there ever goes.
# SITEGEN_OWNER_DIR, SITEGEN_QUOTA: the owner's folder, and how many bytes may be in it.

refuse() {
  echo "error: $1" >&2
  exit 1
}

while read -r old new ref; do
  case $new in
  *[!0]*) ;;
  *) refuse "$ref is not deleted here: only the admin of this server removes backups" ;;
  esac
  case $ref in
  refs/heads/main) what=main ;;
  refs/heads/recover/?*) what=recover ;;
  *) refuse "only \"main\" and new branches below \"recover/\" are taken, not $ref" ;;
  esac
  case $old in
  *[!0]*)
    [ "$what" = main ] || refuse "$ref is there already, and stays what it is"
    git merge-base --is-ancestor "$old" "$new" || refuse "main only goes forward, and $new does not come after $old"
    ;;
  esac
done

used=$(du -s -B1 -- "$SITEGEN_OWNER_DIR" | cut -f 1)
[ "$used" -le "$SITEGEN_QUOTA" ] || refuse "the quota is used up: with this push it would be $used bytes of $SITEGEN_QUOTA"
