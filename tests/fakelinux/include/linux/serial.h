// Only drivers of serial ports read this.
#include <linux/kernel.h>
struct uart { int line; };
