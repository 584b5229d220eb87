#!/bin/sh
# syscalltbl.sh TABLE HEADER: a macro for each line `NUMBER NAME` of a table.
set -eu
{
	echo "// Made from ${1##*/}."
	sed -n 's/^\([0-9][0-9]*\)[[:space:]]\{1,\}\([a-z0-9_]\{1,\}\).*/#define __NR_\2 \1/p' "$1"
} >"$2"
