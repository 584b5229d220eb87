#include <linux/serial.h>
#ifdef CONFIG_SERIAL_AMBA_PL011_CONSOLE
int console_pl011 = 1;
#endif
struct uart port_pl011;
