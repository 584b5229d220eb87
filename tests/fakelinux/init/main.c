#include <linux/kernel.h>
#include <asm/page.h>
#include <asm/cache.h>
#ifdef CONFIG_SMP
#include <linux/smp.h>
#endif

// Where it all begins.
void start_kernel(void)
{
	printk("Hello");
#ifndef CONFIG_BLK_DEV_INITRD
	panic("no init found");
#endif
}
