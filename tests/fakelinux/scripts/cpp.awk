# A preprocessor in small: #include <FILE>, #ifdef and #ifndef CONFIG_X, #else, #endif, #error, #warning, // comments,
# and the values of CONFIG_ symbols. Writes what it read to OBJECT's .d file, in make's language.
#
#     awk -v srctree= -v object= -f cpp.awk FILE.c

function config(    line, at) {
	while ((getline line < "include/config/auto.conf") > 0) {
		at = index(line, "=")
		if (line ~ /^CONFIG_/)
			value[substr(line, 1, at - 1)] = substr(line, at + 1)
	}
}

function name(file) {
	return substr(file, 1, length(srctree) + 1) == srctree "/" ? substr(file, length(srctree) + 2) : file
}

function complain(file, number, what, line) {
	sub(/^#[a-z]+ */, "", line)
	printf "%s:%d:2: %s: #%s %s\n", name(file), number, what, what, line > "/dev/stderr"
}

function preprocess(file,    line, number, depth, off, status, symbol) {
	if (file in seen)
		return
	seen[file] = 1
	while ((status = (getline line < file)) > 0) {
		number++
		if (line ~ /^#ifn?def /) {
			symbol = line
			sub(/^#ifn?def /, "", symbol)
			depth++
			if (!off && (symbol in value) == (line ~ /^#ifndef/))
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
		} else if (line ~ /^#include </) {
			gsub(/^#include <|>.*$/, "", line)
			preprocess(srctree "/include/" line)
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
	config()
	preprocess(ARGV[1])
	dependencies = object
	sub(/o$/, "d", dependencies)
	for (file in seen)
		# The second line lets a header go away without make giving up.
		printf "%s: %s\n%s:\n", object, file, file > dependencies
	exit failed
}
