#!/bin/sh
# What sshd runs for the keys of others, and root's "sitegen buddy" as their account.
exec /usr/bin/env node --max-old-space-size=128 /usr/lib/sitegen/buddy-serve.mjs "$@"
