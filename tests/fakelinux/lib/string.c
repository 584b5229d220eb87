#include <linux/kernel.h>
#include <linux/types.h>
#include <compat/endian.h>
int strlen(const char *text) { return *text ? 1 + strlen(text + 1) : 0; }
