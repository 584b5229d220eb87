# A preprocessor in small: #include <FILE> and "FILE", #ifdef and #ifndef, #if __has_include(..), #else, #endif, #error, #warning, // comments,
# and the values of CONFIG_ symbols, which come from include/generated/autoconf.h.
#
#     target=T source=S cmdfile=.T.d savedcmd=.. awk -v roots='DIR ..' -v flags='-DX ..' -f cc.awk FILE.c
#
# Writes `cmdfile` as kbuild's fixdep does: the command, and every file that was opened, but for autoconf.h, in place of
# which it depends on include/config/SYMBOL for each symbol that those files name.

function config(    line, words, count, i) {
	while ((getline line < "include/generated/autoconf.h") > 0) {
		split(line, words, " ")
		if (words[1] == "#define")
			value[words[2]] = substr(line, length(words[1] words[2]) + 3)
	}
	count = split(flags, words, " ")
	for (i = 1; i <= count; i++)
		if (words[i] ~ /^-D/)
			value[substr(words[i], 3)] = "1"
}

# Relative to the tree, where it comes from there.
function name(file,    tree) {
	tree = ENVIRON["srctree"]
	return substr(file, 1, length(tree) + 1) == tree "/" ? substr(file, length(tree) + 2) : file
}

function complain(file, number, what, line) {
	sub(/^#[a-z]+ */, "", line)
	printf "%s:%d:2: %s: #%s %s\n", name(file), number, what, what, line > "/dev/stderr"
}

# Finds by opening, as compilers do. A directory is passed over. Once is enough: to close a file that is being read, as one
# that includes itself is, would be to begin it anew.
function can_open(file,    line) {
	if (!(file in openable)) {
		openable[file] = (getline line < file) >= 0
		close(file)
	}
	return openable[file]
}

function find(header, here,    i) {
	if (here != "" && can_open(here header))
		return here header
	for (i = 1; i <= root_count; i++)
		if (can_open(root[i] "/" header))
			return root[i] "/" header
	return ""
}

function include(line, file, number,    here, header) {
	here = line ~ /^#include "/ ? file : ""
	sub(/[^\/]*$/, "", here)
	gsub(/^#include [<"]|[>"].*$/, "", line)
	header = find(line, here)
	if (header != "") {
		preprocess(header)
		return
	}
	printf "%s:%d:2: fatal error: %s: No such file or directory\n", name(file), number, line > "/dev/stderr"
	failed = 1
}

# Whether a header can be found that `#if __has_include(..)` asks for. It is not opened, as far as the records say.
function has_include(line, file,    here) {
	here = line ~ /\("/ ? file : ""
	sub(/[^\/]*$/, "", here)
	gsub(/^[^<"]*[<"]|[>"].*$/, "", line)
	return find(line, here) != ""
}

function symbols(line) {
	while (match(line, /CONFIG_[A-Z0-9_]+/)) {
		symbol[substr(line, RSTART + 7, RLENGTH - 7)] = 1
		line = substr(line, RSTART + RLENGTH)
	}
}

function preprocess(file,    line, number, depth, off, status, macro) {
	if (file in seen)
		return
	seen[file] = openable[file] = 1
	order[++count] = file
	while ((status = (getline line < file)) > 0) {
		number++
		symbols(line)
		if (line ~ /^#ifn?def /) {
			macro = line
			sub(/^#ifn?def /, "", macro)
			depth++
			if (!off && (macro in value) == (line ~ /^#ifndef/))
				off = depth
		} else if (line ~ /^#if __has_include\(/) {
			depth++
			if (!off && !has_include(line, file))
				off = depth
		} else if (line ~ /^#else/) {
			if (off == depth)
				off = 0
			else if (!off)
				off = depth
		} else if (line ~ /^#endif/) {
			if (off == depth)
				off = 0
			depth--
		} else if (off || line ~ /^ *\/\// || line ~ /^ *$/) {
			continue
		} else if (line ~ /^#include [<"]/) {
			include(line, file, number)
		} else if (line ~ /^#error/) {
			complain(file, number, "error", line)
			failed = 1
		} else if (line ~ /^#warning/) {
			complain(file, number, "warning", line)
		} else {
			while (match(line, /CONFIG_[A-Z0-9_]+/))
				line = substr(line, 1, RSTART - 1) value[substr(line, RSTART, RLENGTH)] \
					substr(line, RSTART + RLENGTH)
			print line
		}
	}
	if (status < 0) {
		printf "fatal error: %s: No such file or directory\n", name(file) > "/dev/stderr"
		failed = 1
	}
	close(file)
}

BEGIN {
	root_count = split(roots, root, " ")
	config()
	preprocess(ARGV[1])
	if (failed)
		exit 1
	target = ENVIRON["target"]
	cmdfile = ENVIRON["cmdfile"]
	printf "savedcmd_%s := %s\n\nsource_%s := %s\n\ndeps_%s := \\\n", target, ENVIRON["savedcmd"], target, \
		ENVIRON["source"], target > cmdfile
	for (i in symbol)
		printf "  $(wildcard include/config/%s) \\\n", i > cmdfile
	for (i = 2; i <= count; i++)
		printf "  %s \\\n", order[i] > cmdfile
	# The last line lets a header go away without make giving up.
	printf "\n%s: $(deps_%s)\n\n$(deps_%s):\n", target, target, target > cmdfile
	exit 0
}
