#include <linux/serial.h>
#ifdef CONFIG_SERIAL_8250_CONSOLE
int console_8250 = 1;
#endif
#ifdef PORTS
struct uart port_8250;
#endif
