#include <linux/kernel.h>
#include <linux/types.h>
#include <compat/endian.h>
#include "digits.h"
#include "features.h"
#if __has_include("errata.h")
#include "errata.h"
#endif
#if __has_include(<linux/errata.h>)
#include <linux/errata.h>
#endif
int strlen(const char *text) { return *text ? 1 + strlen(text + 1) : 0; }
