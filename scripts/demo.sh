#!/usr/bin/env bash
#
# kiln's main job, on the example project: configure and build a kernel, match it with a board, boot it there.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

scripts/setup.sh demo
install_rust
say "building kiln"
cargo build --release --locked
scripts/source.sh

kiln=$(realpath "${CARGO_TARGET_DIR:-target}/release/kiln")
# Says what is missing, and which command mends it, before minutes are spent.
"$kiln" doctor >/dev/null || "$kiln" doctor

cd examples/tiny
# One row of the matrix: the arch of this machine.
row='linux-6.1/x86_64/**'

say "kiln build '$row'"
"$kiln" build "$row"

say "kiln build '$row', once more: nothing is to be done"
"$kiln" build "$row"

cat <<END

What now? $kiln is one binary; \`make install\` puts it on the PATH. In examples/tiny:

    kiln plan --all '$row'    what is fresh, and what would run
    kiln why 'kernel:$row'    why
    kiln log 'job:$row'       the console of the boot
    touch a file of the kernel, $ROOT/cache/sources/linux-6.1, and plan: only content counts
    edit one, and plan, and ask why again
    ls out/linux-6.1/x86_64/x86_64-pc/gcc    what was built
    kiln build                               the other eleven arches, in half an hour (first: scripts/setup.sh matrix)
END
