#include <linux/kernel.h>
#include <linux/types.h>
#include <asm/syscalls.h>
#include "calls.h"
u64 table = "arm64";
