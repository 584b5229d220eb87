#include <linux/types.h>
u64 plugged;
