#include <linux/kernel.h>
#error this driver does not compile
