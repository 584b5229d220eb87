#define CACHE_LINE 64
