// What everything includes.
#ifdef CONFIG_PRINTK
#include <linux/printk.h>
#endif
#define HZ CONFIG_HZ
void panic(const char *why);
