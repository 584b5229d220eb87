#include <linux/virtio.h>
struct virtio_device *devices[4];
