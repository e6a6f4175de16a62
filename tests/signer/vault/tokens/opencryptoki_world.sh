#!/bin/sh
# Runs a command beside a pkcsslotd of its own, on an empty token store that dies with it.
#
# openCryptoki has one daemon and one token store a machine, in /run and /var/lib.  Run this in name spaces of
# its own: unshare --mount --ipc --pid --fork --kill-child --mount-proc sh opencryptoki_world.sh COMMAND...
set -eu

for directory in /run /var/lib/opencryptoki; do mount -t tmpfs tmpfs "$directory"; done
mkdir -p /run/lock/opencryptoki/swtok /run/opencryptoki /var/lib/opencryptoki/swtok/TOK_OBJ
chgrp -R pkcs11 /run/lock/opencryptoki /run/opencryptoki /var/lib/opencryptoki
chmod -R 770 /run/lock/opencryptoki /run/opencryptoki /var/lib/opencryptoki
pkcsslotd   # returns when its socket and its shared memory are there
ACME_SERVER_TEST_OPENCRYPTOKI=1 exec "$@"
