int printk(const char *text);
