#!/bin/sh
# merge_config.sh -m -O DIRECTORY BASE FRAGMENT...: writes DIRECTORY/.config, where the last to set a symbol wins.
set -eu

out=.
while getopts mO: option; do
	case $option in
	m) ;; # to merge only is all this can do
	O) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

for file; do
	[ -r "$file" ] || { echo "The merge file '$file' does not exist.  Exit." >&2; exit 1; }
done

awk '
	{ sub(/\r$/, "") }
	/^CONFIG_[A-Za-z0-9_]+=/ { symbol = substr($0, 1, index($0, "=") - 1) }
	/^# CONFIG_[A-Za-z0-9_]+ is not set$/ { symbol = $2 }
	symbol == "" { next }
	{
		if (!(symbol in line))
			order[++count] = symbol
		else if (line[symbol] != $0)
			print "Value of " symbol " is redefined by fragment " FILENAME > "/dev/stderr"
		line[symbol] = $0
		symbol = ""
	}
	END { for (i = 1; i <= count; i++) print line[order[i]] }
' "$@" >"$out/.config.merged"
mv "$out/.config.merged" "$out/.config"
echo "#
# merged configuration written to $out/.config (needs make)
#"
