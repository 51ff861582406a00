# shellcheck shell=bash
# Container guests: real systemd and Docker on the host's kernel.
