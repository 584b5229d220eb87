// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Packs one program as an initramfs: a newc cpio archive of /dev, /dev/console and /init.
 *
 *     pack INIT ARCHIVE
 *
 * cpio(1) reads names from its standard input, takes owners and times from the file system, and cannot make a
 * device node out of nothing. This writes the same bytes for the same program, whoever runs it and when.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIRECTORY = 0040000, CHARACTER_DEVICE = 0020000, REGULAR = 0100000 };

struct entry {
	const char *name;
	unsigned mode;
	unsigned links;
	unsigned major, minor; /* of the device it stands for */
	const unsigned char *data;
	size_t size;
};

static void fail(const char *what, const char *name)
{
	fprintf(stderr, "pack: %s ", what);
	perror(name);
	exit(1);
}

/* Headers with their names, and data, start at multiples of four. */
static void pad(FILE *out, size_t written)
{
	while (written++ % 4)
		putc(0, out);
}

static void put(FILE *out, const struct entry *entry)
{
	static unsigned inode;
	size_t name_size = strlen(entry->name) + 1;
	/* 0: owner and group are root, the time is the epoch, the archive's device is none. */
	int length = fprintf(out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", inode++, entry->mode,
			     0, 0, entry->links, 0, (unsigned)entry->size, 0, 0, entry->major, entry->minor,
			     (unsigned)name_size, 0, entry->name);

	putc(0, out);
	pad(out, (size_t)length + 1);
	if (entry->size) {
		fwrite(entry->data, 1, entry->size, out);
		pad(out, entry->size);
	}
}

int main(int argc, char **argv)
{
	static unsigned char program[16 << 20];
	struct entry entries[] = {
		{ "dev", DIRECTORY | 0755, 2, 0, 0, NULL, 0 },
		/* Made in the archive so that the packer need not be root. */
		{ "dev/console", CHARACTER_DEVICE | 0600, 1, 5, 1, NULL, 0 },
		{ "init", REGULAR | 0755, 1, 0, 0, program, 0 },
		{ "TRAILER!!!", 0, 1, 0, 0, NULL, 0 },
	};
	size_t count = sizeof(entries) / sizeof(entries[0]);
	FILE *file;

	if (argc != 3) {
		fputs("usage: pack INIT ARCHIVE\n", stderr);
		return 2;
	}
	file = fopen(argv[1], "rb");
	if (!file)
		fail("cannot open", argv[1]);
	entries[2].size = fread(program, 1, sizeof(program), file);
	if (ferror(file))
		fail("cannot read", argv[1]);
	if (entries[2].size == 0 || entries[2].size == sizeof(program)) {
		fprintf(stderr, "pack: %s is empty, or larger than 16 MiB\n", argv[1]);
		return 1;
	}
	fclose(file);

	file = fopen(argv[2], "wb");
	if (!file)
		fail("cannot create", argv[2]);
	for (size_t i = 0; i < count; i++)
		put(file, &entries[i]);
	if (ferror(file) || fclose(file))
		fail("cannot write", argv[2]);
	return 0;
}
