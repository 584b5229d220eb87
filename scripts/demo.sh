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

kiln=${CARGO_TARGET_DIR:-target}/release/kiln
# Says what is missing, and which command mends it, before minutes are spent.
"$kiln" doctor >/dev/null || "$kiln" doctor

say "kiln build"
"$kiln" build

say "kiln build, once more: nothing is to be done"
"$kiln" build

cat <<END

What now? $kiln is one binary; \`make install\` puts it on the PATH. In this directory:

    kiln plan --all                             what is fresh, and what would run
    kiln why 'kernel:*'                         why
    kiln log 'job:*'                            the console of the boot
    touch a file of cache/sources/linux-6.1     and plan: only content counts
    edit one                                    and plan, and ask why again
    ls out/linux-6.1/x86_64/tiny-pc/gcc         what was built
END
