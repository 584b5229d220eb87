#include <linux/kernel.h>
struct virtio_device { int id; };
