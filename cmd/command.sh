#!/bin/sh
exec /usr/bin/env node /usr/lib/sitegen/sitegen.mjs "$@"
