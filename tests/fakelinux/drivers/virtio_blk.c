#include <linux/virtio.h>
int read_sector(struct virtio_device *device, int sector) { return sector; }
