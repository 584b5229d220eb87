# Kconfig in small: symbols with a type, a prompt, `default VALUE [if SYMBOL]`, `depends on A && B=y`, and `source`.
# A symbol must be declared after those it depends on.
#
#     awk -v srctree= -v arch= -v srcarch= -v version= -v mode= -v files="FILE .." -f conf.awk >.config
#
# With mode=syncconfig it also writes, as kbuild's does, include/generated/autoconf.h for the compiler,
# include/config/auto.conf.new for make, include/config/auto.conf.cmd with what was read, and an empty include/config/SYMBOL
# for each symbol whose value is not what include/config/auto.conf has: that is what objects depend on.

function die(message) {
	print "*** " message > "/dev/stderr"
	failed = 1
	exit 1
}

function read_kconfig(file,    line, symbol, status) {
	kconfig[++kconfig_count] = file
	while ((status = (getline line < file)) > 0) {
		sub(/^[ \t]+/, "", line)
		if (line ~ /^source /) {
			gsub(/^source "|"$/, "", line)
			sub(/\$\(SRCARCH\)/, srcarch, line)
			read_kconfig(srctree "/" line)
		} else if (line ~ /^config /) {
			symbol = substr(line, 8)
			symbols[++count] = symbol
		} else if (line ~ /^(bool|tristate|string|int|hex)/) {
			type[symbol] = line
			sub(/ .*/, "", type[symbol])
			asked[symbol] = line ~ / "/
		} else if (line ~ /^depends on /) {
			depends[symbol] = substr(line, 12)
		} else if (line ~ /^default /) {
			fallback[symbol] = substr(line, 9)
		}
	}
	if (status < 0)
		die("can't open Kconfig file \"" file "\"")
	close(file)
}

function read_values(file,    line, at, status) {
	while ((status = (getline line < file)) > 0) {
		sub(/\r$/, "", line)
		if (line ~ /^CONFIG_[A-Za-z0-9_]+=/) {
			at = index(line, "=")
			given[substr(line, 8, at - 8)] = substr(line, at + 1)
		} else if (line ~ /^# CONFIG_[A-Za-z0-9_]+ is not set$/) {
			split(line, words, " ")
			given[substr(words[2], 8)] = "n"
		}
	}
	if (status < 0)
		die("can't find configuration \"" file "\"")
	close(file)
}

# The least of what `A && B=y` allows: y, m or n.
function limit(condition,    parts, number, i, pair, result) {
	result = "y"
	number = split(condition, parts, / && /)
	for (i = 1; i <= number; i++) {
		if (split(parts[i], pair, "=") == 2) {
			if (value[pair[1]] != pair[2])
				return "n"
		} else if (value[parts[i]] == "m")
			result = "m"
		else if (value[parts[i]] != "y")
			return "n"
	}
	return result
}

function default_of(symbol,    parts) {
	if (split(fallback[symbol], parts, / if /) == 2)
		return limit(parts[2]) == "n" ? "" : parts[1]
	return fallback[symbol]
}

function decide(symbol,    most, wanted, logical) {
	logical = type[symbol] ~ /bool|tristate/
	most = symbol in depends ? limit(depends[symbol]) : "y"
	if (most == "n")
		return
	if (asked[symbol] && symbol in given)
		wanted = given[symbol]
	else if (asked[symbol] && logical && mode == "allnoconfig")
		wanted = "n"
	else if (asked[symbol] && logical && mode == "allyesconfig" && symbol != "BROKEN")
		wanted = "y"
	else if (asked[symbol] && logical && mode == "randconfig" && symbol != "BROKEN")
		wanted = substr("nmy", 1 + int(3 * rand()), 1)
	else
		wanted = default_of(symbol)
	if (!logical) {
		value[symbol] = wanted
		print "CONFIG_" symbol "=" wanted
		return
	}
	if (wanted != "y" && wanted != "m")
		wanted = "n"
	if (type[symbol] == "bool" && wanted == "m")
		wanted = "y"
	if (type[symbol] == "tristate" && wanted == "y" && most == "m")
		wanted = "m"
	if (wanted == "m" && value["MODULES"] != "y")
		wanted = "y"
	value[symbol] = wanted
	if (wanted != "n")
		print "CONFIG_" symbol "=" wanted
	else if (asked[symbol])
		print "# CONFIG_" symbol " is not set"
}

# A symbol that has a value, for those who build.
function sync(symbol, text) {
	print "CONFIG_" symbol "=" text > "include/config/auto.conf.new"
	if (text == "m")
		print "#define CONFIG_" symbol "_MODULE 1" > "include/generated/autoconf.h"
	else
		print "#define CONFIG_" symbol " " (text == "y" ? 1 : text) > "include/generated/autoconf.h"
	if (before[symbol] != text)
		printf "" > ("include/config/" symbol)
	delete before[symbol]
}

function sync_all(    line, at, i, symbol) {
	while ((getline line < "include/config/auto.conf") > 0) {
		at = index(line, "=")
		before[substr(line, 8, at - 8)] = substr(line, at + 1)
	}
	printf "" > "include/config/auto.conf.new"
	printf "" > "include/generated/autoconf.h"
	for (i = 1; i <= count; i++)
		if (value[symbols[i]] != "" && value[symbols[i]] != "n")
			sync(symbols[i], value[symbols[i]])
	for (symbol in before)
		printf "" > ("include/config/" symbol)
	printf "deps_config := \\\n" > "include/config/auto.conf.cmd"
	for (i = 1; i <= kconfig_count; i++)
		printf "  %s \\\n", kconfig[i] > "include/config/auto.conf.cmd"
	print "\ninclude/config/auto.conf: $(deps_config)\n" > "include/config/auto.conf.cmd"
	printf "ifneq \"$(ARCH) $(KERNELVERSION)\" \"%s %s\"\ninclude/config/auto.conf: FORCE\nendif\n\n", arch, \
		version > "include/config/auto.conf.cmd"
	print "$(deps_config): ;" > "include/config/auto.conf.cmd"
}

BEGIN {
	read_kconfig(srctree "/Kconfig")
	number = split(files, list, " ")
	for (i = 1; i <= number; i++)
		read_values(list[i])
	if (ENVIRON["KCONFIG_SEED"] == "")
		srand()
	else
		srand(ENVIRON["KCONFIG_SEED"])
	# Not a symbol of the configuration: what ARCH= says.
	value["ARCH_" arch] = "y"
	print "#"
	print "# Automatically generated file; DO NOT EDIT."
	print "# Linux/" srcarch " " version " Kernel Configuration"
	print "#"
	for (i = 1; i <= count; i++)
		decide(symbols[i])
	if (mode == "syncconfig")
		sync_all()
}
